"""A web page on this machine to try the models: upload a video, get it back with audio.

The page can only be opened on this machine (127.0.0.1), and no data leaves it. Videos and results
are kept in a temporary folder for an hour, at most until the program ends.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jax

from v2s_jax import media
from v2s_jax.checkpoints import load_params, unique_model_name
from v2s_jax.cli.arguments import parse_args
from v2s_jax.cli.demo_server import Ended, LocalOnly, page_message, start_cleaning, temporary_folder
from v2s_jax.cli.device import use_device
from v2s_jax.config import MAX_SEED
from v2s_jax.errors import InputError, require_extra
from v2s_jax.examples import EXAMPLE_VIDEO
from v2s_jax.kernels.build import build, why_not_built
from v2s_jax.pretrained import PRETRAINED
from v2s_jax.sampling.progress import show_activity
from v2s_jax.sonification import SampleOptions, sonify

if TYPE_CHECKING:
    import gradio as gr

HOST = "127.0.0.1"
MIN_TEMPERATURE, MAX_TEMPERATURE, TEMPERATURE_STEP = 0.1, 1.5, 0.05
"""Range of the slider (ours): from almost silent to noise."""
BYTES_PER_MB = 10**6
BROWSER_CODEC = "h264"
"""The one video codec that every browser plays."""
UPLOAD_HEIGHT_PX = 160
RESULT_HEIGHT = "40vh"
"""Height of the video: a portrait one leaves room for the audio on the screen."""

INTRODUCTION = """# v2s_jax: sound for silent video

Choose a video and press **Generate**: the model looks at the video frames and generates the audio,
sample by sample. You get the video with this audio, the audio itself, and a figure of both.

The pretrained models were trained on synthetic videos of ten categories, such as drums and water.
They do not know real videos. Everything stays on this machine."""


@dataclass(frozen=True)
class DemoArgs:
    """Arguments of `v2s demo`."""

    checkpoint: tuple[Path, ...] = tuple(PRETRAINED.values())
    """Models to choose from: .safetensors files, the --workdir of training runs, or the pretrained
    models aligned, frame, seq and flow; by default the pretrained models."""
    port: int = 7860
    """Port of the page; 0 takes any free one."""
    max_mb: int = 100
    """Largest video, in MB."""
    max_sec: float = 60.0
    """Longest video, in seconds."""
    device: str | None = None
    """Platform to run on: cpu, gpu or tpu; the best one available by default."""
    no_browser: bool = False
    """Do not open the page in a browser."""

    def __post_init__(self) -> None:
        if self.max_mb < 1 or not self.max_sec > 0:
            raise InputError(f"--max-mb {self.max_mb}, --max-sec {self.max_sec:g}: use more than 0")
        if not 0 <= self.port < 2**16:
            raise InputError(f"--port {self.port}: use 0 to {2**16 - 1}")


def main() -> None:
    """Serve the page until Ctrl-C, SIGTERM or SIGHUP."""
    args = parse_args(DemoArgs, "v2s demo", __doc__)
    require_extra("demo", "gradio")
    use_device(args.device)
    models = name_models(args.checkpoint)
    if why_not_built() is None and jax.default_backend() == "cpu":
        # Now, so that the same engine runs for as long as the page is served.
        with suppress(InputError), show_activity("looking for the C++ engine, or building it"):
            build()
    code = 0
    try:
        with temporary_folder() as folder:
            os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
            os.environ["GRADIO_TEMP_DIR"] = str(folder / "page")
            page = build_page(args, models, folder)
            start_cleaning(folder, lambda: _files_of_page(page))
            serve(page, args)
    except Ended as ended:
        code = ended.code
    sys.stdout.flush()
    os._exit(code)  # the interpreter's own end aborts where a thread still generates


def name_models(checkpoints: Sequence[Path]) -> dict[str, Path]:
    """Return checkpoints by their names on the page; raise InputError if one cannot be read."""
    names: list[str] = []
    models = {}
    for path in checkpoints:
        config, _ = load_params(path)
        names.append(unique_model_name(path, names))
        models[f"{names[-1]} ({config.model.variant}, {config.extractor})"] = path
    return models


def build_page(args: DemoArgs, models: dict[str, Path], folder: Path) -> "gr.Blocks":
    """Build the page; its results are written to `folder`."""
    import gradio as gr  # slow, and reads its environment variables

    def generate(
        video: str | None,
        model: str,
        seed: float | None,
        temperature: float,
        _: object = gr.Progress(track_tqdm=True),
    ) -> tuple[str, str, str, str]:
        try:
            if seed is None:
                raise InputError(f"no seed: give a whole number from 0 to {MAX_SEED}")
            options = SampleOptions(
                checkpoint=models[model], seed=int(seed), temperature=float(temperature)
            )
            generated, warnings = _generate(video, options, args.max_sec, folder)
        except InputError as error:
            message = page_message(str(error), folder)
            raise gr.Error(message, duration=None, print_exception=False) from error
        for warning in warnings:
            gr.Warning(page_message(warning, folder))
        return generated

    with gr.Blocks(title="v2s_jax", analytics_enabled=False) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column():
                # gr.Video refuses files to which the browser gives no type, such as IMG_0042.MOV.
                video = gr.File(
                    label=f"Video, up to {args.max_sec:g} s and {args.max_mb} MB",
                    height=UPLOAD_HEIGHT_PX,
                )
                model = gr.Dropdown([*models], value=next(iter(models)), label="Model")
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED)
                temperature = gr.Slider(
                    MIN_TEMPERATURE,
                    MAX_TEMPERATURE,
                    value=1.0,
                    step=TEMPERATURE_STEP,
                    label="Temperature (lower is more predictable)",
                )
                button = gr.Button("Generate", variant="primary", elem_id="generate")
                gr.Examples([[str(EXAMPLE_VIDEO)]], [video], label="Example", cache_examples=False)
            with gr.Column():
                generated = gr.Video(
                    label="Video with generated audio", elem_id="generated", height=RESULT_HEIGHT
                )
                wav = gr.Audio(label="Audio", type="filepath", elem_id="wav")
                figure = gr.Image(label="Key frames, waveform and spectrogram", elem_id="figure")
                again = gr.Textbox(label="The same again with v2s sample", elem_id="again")
        button.click(
            generate,
            [video, model, seed, temperature],
            [generated, wav, figure, again],
            concurrency_limit=1,  # further requests wait in a queue, and see their position
        )
    return page


def serve(page: "gr.Blocks", args: DemoArgs) -> None:
    """Serve the page until Ctrl-C; raise InputError if the port is taken."""
    try:
        page.queue().launch(
            server_name=HOST,
            server_port=args.port or None,
            inbrowser=not args.no_browser,
            max_file_size=args.max_mb * BYTES_PER_MB,
            share=False,
            footer_links=[],
            quiet=True,
            ssr_mode=False,
            app_kwargs={"middleware": [(LocalOnly, (), {})]},  # as Starlette stores them
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise InputError(f"--port {args.port}: is taken: choose another one, or 0") from error
    with suppress(KeyboardInterrupt):  # before Gradio waits for it
        print(f"http://{HOST}:{page.server_port} (stop with Ctrl-C)", flush=True)
        page.block_thread()


def _files_of_page(page: "gr.Blocks") -> set[str]:
    """Return the files that the page needs as long as it is served, such as its example."""
    return {file for block in page.blocks.values() for file in getattr(block, "keep_in_cache", ())}


def _generate(
    video: str | None, options: SampleOptions, max_sec: float, folder: Path
) -> tuple[tuple[str, str, str, str], list[str]]:
    """Return the files of the video with generated audio, the audio and the figure, and what ran;
    warnings."""
    if video is None:
        raise InputError("no video yet: choose one first")
    path = Path(video)
    path.touch()  # it stays for as long as this takes
    duration_sec = media.probe(path).duration_sec
    if duration_sec > max_sec:
        raise InputError(
            f"{path.name}: lasts {float(duration_sec):.1f} s: use at most {max_sec:g} s"
        )
    report = sonify(path, tempfile.mkdtemp(dir=folder), options)
    if report.failed:
        raise InputError(next(iter(report.failed.values())))
    (files,) = report.generated
    assert files.video is not None
    shown, warnings = files.video, list(files.warnings)
    if (codec := media.probe(shown).codec) != BROWSER_CODEC:
        shown = _encode_for_browsers(shown)
        warnings.append(
            f"{codec} video does not play in every browser: shown as H.264; v2s sample keeps it"
        )
    return (str(shown), str(files.wav), str(files.figure), files.settings.flags()), warnings


def _encode_for_browsers(path: Path) -> Path:
    """Encode a result again, as H.264 and AAC in MP4."""
    video = media.probe(path)
    target = path.with_name(f"{path.stem}_h264.mp4")
    with show_activity("encoding as H.264"):
        media.write_part(video, 0.0, float(video.duration_sec), target)
    return target
