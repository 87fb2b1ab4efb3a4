"""The page of `v2s demo`: what can be chosen, and what is shown of the result."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from v2s_jax import media
from v2s_jax.cli.demo_server import page_message
from v2s_jax.config import MAX_SEED
from v2s_jax.errors import InputError
from v2s_jax.examples import EXAMPLE_VIDEO
from v2s_jax.features.adjustment import MAX_OFFSET
from v2s_jax.pretrained import default_temperature
from v2s_jax.sampling.progress import show_activity
from v2s_jax.sonification import GeneratedFiles, Report, SampleOptions, generate_sound, sonify

if TYPE_CHECKING:
    import gradio as gr

MIN_TEMPERATURE, MAX_TEMPERATURE, TEMPERATURE_STEP = 0.1, 1.5, 0.05
"""Range of the slider (ours): from almost silent to noise."""
MAX_LOUDNESS_GAIN, LOUDNESS_STEP = 3.0, 0.05
"""Range of the slider (ours): from a flat curve to one that is mostly clipped."""
SHIFT_STEP_MS = 16
"""One part of a video frame at the default clock."""
MAX_SLIDER_SHIFT_MS = 60 * SHIFT_STEP_MS
"""About a second either way (ours)."""
MIN_SEC, DEFAULT_SEC, SEC_STEP = 0.5, 5.0, 0.5
"""Length of a sound without a video (ours)."""
BROWSER_CODEC = "h264"
"""The one video codec that every browser plays."""
UPLOAD_HEIGHT_PX = 160
RESULT_HEIGHT = "40vh"
"""Height of the video: a portrait one leaves room for the audio on the screen."""
AS_SEEN = "what is in the picture"
"""Choice of a sound that leaves the category to the model."""

INTRODUCTION = """# v2s_jax: sound for silent video

Choose a video and press **Generate**: the model looks at the video frames and generates the audio,
sample by sample. You get the video with this audio, the audio itself, and a figure of both.

`real` knows fourteen sounds, such as dog, drum and rain. An image classifier tells it what is in
the video, or you choose a sound. The other pretrained models know ten drawn categories and no
real videos. Everything stays on this machine."""


class Model(NamedTuple):
    """A model to choose on the page."""

    path: Path
    categories: tuple[str, ...]
    """Sounds to choose from; none unless the model was trained on sounds."""


class Shown(NamedTuple):
    """What the page shows of a result: paths of files, and texts."""

    video: str | None
    wav: str
    seen: str
    figure: str
    again: str


def build_page(
    models: Mapping[str, Model], folder: Path, max_mb: int, max_sec: float
) -> "gr.Blocks":
    """Build the page; its results are written to `folder`."""
    import gradio as gr  # slow, and reads its environment variables

    def generate(
        video: str | None,
        model: str,
        seed: float | None,
        temperature: float,
        sound: str,
        gain: float,
        offset: float,
        shift_ms: float,
        seconds: float,
        _: object = gr.Progress(track_tqdm=True),
    ) -> Shown:
        try:
            options = _options(models[model], seed, temperature, sound, gain, offset, shift_ms)
            if video is None and options.category is not None:
                shown, warnings = _generate_without_video(seconds, options, folder)
            else:
                shown, warnings = _generate(video, options, max_sec, folder)
        except InputError as error:
            message = page_message(str(error), folder)
            raise gr.Error(message, duration=None, print_exception=False) from error
        for warning in warnings:
            gr.Warning(page_message(warning, folder))
        return shown

    def offer_controls(model: str) -> list[Any]:
        categories = models[model].categories
        sounds = gr.update(choices=[AS_SEEN, *categories], value=AS_SEEN)
        shown = [gr.update(visible=bool(categories))] * 2
        return [sounds, *shown, default_temperature(models[model].path)]

    first = next(iter(models))
    categories = models[first].categories
    with gr.Blocks(title="v2s_jax", analytics_enabled=False) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column():
                # gr.Video refuses files to which the browser gives no type, such as IMG_0042.MOV.
                video = gr.File(
                    label=f"Video, up to {max_sec:g} s and {max_mb} MB", height=UPLOAD_HEIGHT_PX
                )
                model = gr.Dropdown([*models], value=first, label="Model", elem_id="model")
                with gr.Group(visible=bool(categories), elem_id="controls") as group:
                    sound, *curves = _add_controls(gr, categories, max_sec)
                seed, temperature, button = _add_sampling(gr, models[first])
                gr.Examples([[str(EXAMPLE_VIDEO)]], [video], label="Example", cache_examples=False)
            with gr.Column():
                results = _add_results(gr, bool(categories))
        button.click(
            generate,
            [video, model, seed, temperature, sound, *curves],
            results,
            concurrency_limit=1,  # further requests wait in a queue, and see their position
        )
        model.change(
            offer_controls,
            model,
            [sound, group, results[Shown._fields.index("seen")], temperature],
            api_visibility="private",
        )
    return page


def _add_controls(gr: Any, categories: tuple[str, ...], max_sec: float) -> list[Any]:
    """Add what only models of controls read: the sound, its curves and, without a video, length."""
    return [
        gr.Dropdown([AS_SEEN, *categories], value=AS_SEEN, label="Sound", elem_id="sound"),
        gr.Slider(
            0,
            MAX_LOUDNESS_GAIN,
            value=1,
            step=LOUDNESS_STEP,
            label="Loudness: gain around the mean of the category",
            elem_id="gain",
        ),
        gr.Slider(
            -MAX_OFFSET,
            MAX_OFFSET,
            value=0,
            step=LOUDNESS_STEP,
            label="Loudness: offset",
            elem_id="offset",
        ),
        gr.Slider(
            -MAX_SLIDER_SHIFT_MS,
            MAX_SLIDER_SHIFT_MS,
            value=0,
            step=SHIFT_STEP_MS,
            label="Loudness and onsets: ms later (negative: earlier)",
            elem_id="shift",
        ),
        gr.Slider(
            min(MIN_SEC, max_sec),
            max_sec,
            value=min(DEFAULT_SEC, max_sec),
            step=SEC_STEP,
            label="Sound without a video: seconds (choose a sound and no video)",
            elem_id="seconds",
        ),
    ]


def _add_sampling(gr: Any, model: Model) -> list[Any]:
    """Add what every model reads: seed, temperature, and the button."""
    return [
        gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED),
        gr.Slider(
            MIN_TEMPERATURE,
            MAX_TEMPERATURE,
            value=default_temperature(model.path),
            step=TEMPERATURE_STEP,
            label="Temperature (lower is more predictable)",
        ),
        gr.Button("Generate", variant="primary", elem_id="generate"),
    ]


def _add_results(gr: Any, shows_seen: bool) -> list[Any]:
    """Add where results are shown, in the order of `Shown`."""
    return [
        gr.Video(label="Video with generated audio", elem_id="generated", height=RESULT_HEIGHT),
        gr.Audio(label="Audio", type="filepath", elem_id="wav"),
        gr.Textbox(label="What was seen", elem_id="seen", visible=shows_seen),
        gr.Image(label="Key frames, waveform and spectrogram", elem_id="figure"),
        gr.Textbox(label="The same again with v2s sample", elem_id="again"),
    ]


def _options(
    model: Model,
    seed: float | None,
    temperature: float,
    sound: str,
    gain: float,
    offset: float,
    shift_ms: float,
) -> SampleOptions:
    if seed is None:
        raise InputError(f"no seed: give a whole number from 0 to {MAX_SEED}")
    options = SampleOptions(checkpoint=model.path, seed=int(seed), temperature=float(temperature))
    if not model.categories:
        return options
    return replace(
        options,
        category=None if sound == AS_SEEN else sound,
        loudness_gain=float(gain),
        loudness_offset=float(offset),
        controls_shift_ms=float(shift_ms),
    )


def _generate(
    video: str | None, options: SampleOptions, max_sec: float, folder: Path
) -> tuple[Shown, list[str]]:
    """Generate audio for a video; return what to show, and warnings."""
    if video is None:
        raise InputError("no video yet: choose one first")
    path = Path(video)
    path.touch()  # it stays for as long as this takes
    duration_sec = media.probe(path).duration_sec
    if duration_sec > max_sec:
        raise InputError(
            f"{path.name}: lasts {float(duration_sec):.1f} s: use at most {max_sec:g} s"
        )
    files = _only_files(sonify(path, tempfile.mkdtemp(dir=folder), options))
    assert files.video is not None
    shown, warnings = files.video, list(files.warnings)
    if (codec := media.probe(shown).codec) != BROWSER_CODEC:
        shown = _encode_for_browsers(shown)
        warnings.append(
            f"{codec} video does not play in every browser: shown as H.264; v2s sample keeps it"
        )
    return _shown(files, str(shown), files.settings.flags(), options), warnings


def _generate_without_video(
    seconds: float, options: SampleOptions, folder: Path
) -> tuple[Shown, list[str]]:
    """Generate a sound of the chosen category; return what to show, and warnings."""
    out = Path(tempfile.mkdtemp(dir=folder))
    files = _only_files(generate_sound(out, float(seconds), options))
    again = f"--seconds {float(seconds)!r} {files.settings.flags()}"
    return _shown(files, None, again, options), list(files.warnings)


def _only_files(report: Report) -> GeneratedFiles:
    if report.failed:
        raise InputError(next(iter(report.failed.values())))
    (files,) = report.generated
    return files


def _shown(files: GeneratedFiles, video: str | None, again: str, options: SampleOptions) -> Shown:
    seen = files.seen or ("" if options.category is None else f"chosen: {options.category}")
    return Shown(video, str(files.wav), seen, str(files.figure), again)


def _encode_for_browsers(path: Path) -> Path:
    """Encode a result again, as H.264 and AAC in MP4."""
    video = media.probe(path)
    target = path.with_name(f"{path.stem}_h264.mp4")
    with show_activity("encoding as H.264"):
        media.write_part(video, 0.0, float(video.duration_sec), target)
    return target
