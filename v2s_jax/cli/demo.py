"""A local page to try the models: drop a video, hear what a model makes of it.

Only this machine can open it (127.0.0.1), and nothing is sent anywhere. Videos and sounds lie in a
temporary folder that goes when the program ends.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from v2s_jax import media
from v2s_jax.checkpoints import load_params
from v2s_jax.cli.device import use_device
from v2s_jax.config import MAX_SEED
from v2s_jax.errors import InputError
from v2s_jax.evaluation.model_names import unique_model_name
from v2s_jax.examples import EXAMPLE_VIDEO
from v2s_jax.pretrained import PRETRAINED
from v2s_jax.sonification import sonify

HOST = "127.0.0.1"
TEMPERATURES = (0.1, 1.5)
"""From nearly silent certainty to noise (ours)."""
BYTES_PER_MB = 10**6
STEP = 0.05
"""Of the slider of the temperature."""


@dataclass(frozen=True)
class DemoArgs:
    """What demo.py takes."""

    checkpoint: tuple[Path, ...] = tuple(PRETRAINED.values())
    """Models to choose from: .safetensors files, the --workdir of training runs, or frame, seq or
    flow, which ship; all that ship unless given."""
    port: int = 7860
    """Port of the page; 0 takes any that is free."""
    max_mb: int = 100
    """Largest video, in MB."""
    max_sec: float = 60.0
    """Longest video, in seconds."""
    device: str | None = None
    """Platform to run on: cpu, gpu or tpu; the best one there is unless given."""
    no_browser: bool = False
    """Do not open the page in a browser."""

    def __post_init__(self) -> None:
        if self.max_mb < 1 or not self.max_sec > 0:
            raise InputError(f"--max-mb {self.max_mb}, --max-sec {self.max_sec:g}: use more than 0")
        if not 0 <= self.port < 2**16:
            raise InputError(f"--port {self.port}: use 0 to {2**16 - 1}")


def main() -> None:
    """Serve the page until Ctrl-C."""
    args = tyro.cli(DemoArgs, prog="v2s demo", description=__doc__)
    use_device(args.device)
    with tempfile.TemporaryDirectory(prefix="v2s_jax-demo-") as folder:
        serve(args, Path(folder))


def serve(args: DemoArgs, folder: Path) -> None:
    """Serve the page; everything that is uploaded and made lies in `folder`.

    Raises InputError when a checkpoint cannot be read, or the port is taken.
    """
    models = named_models(args.checkpoint)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "page")
    import gradio as gr

    def sound(
        video: str | None,
        model: str,
        seed: float,
        temperature: float,
        _: object = gr.Progress(track_tqdm=True),
    ) -> tuple[str, str, str]:
        try:
            return _sound(video, models[model], int(seed), temperature, args.max_sec, folder)
        except InputError as error:
            raise gr.Error(str(error), duration=None) from error

    with gr.Blocks(title="v2s_jax", analytics_enabled=False) as page:
        gr.Markdown("# v2s_jax: sound for silent video")
        with gr.Row():
            with gr.Column():
                video = gr.Video(label=f"Video, up to {args.max_sec:g} s", sources=["upload"])
                model = gr.Dropdown([*models], value=next(iter(models)), label="Model")
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED)
                temperature = gr.Slider(*TEMPERATURES, value=1.0, step=STEP, label="Temperature")
                button = gr.Button("Sound it", variant="primary", elem_id="sound")
                gr.Examples(
                    [[str(EXAMPLE_VIDEO)]], [video], label="An example", cache_examples=False
                )
            with gr.Column():
                generated = gr.Video(label="With its sound", elem_id="sounded")
                wav = gr.Audio(label="The sound alone", type="filepath", elem_id="wav")
                figure = gr.Image(
                    label="Key frames over waveform and spectrogram", elem_id="figure"
                )
        button.click(
            sound,
            [video, model, seed, temperature],
            [generated, wav, figure],
            concurrency_limit=1,  # those who come meanwhile wait in a queue, and see their place
        )
    try:
        page.queue().launch(
            server_name=HOST,
            server_port=args.port or None,
            inbrowser=not args.no_browser,
            max_file_size=args.max_mb * BYTES_PER_MB,
            share=False,
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise InputError(f"--port {args.port}: is taken: choose another one, or 0") from error
    print(f"http://{HOST}:{page.server_port} (Ctrl-C ends it)", flush=True)
    page.block_thread()


def named_models(checkpoints: Sequence[Path]) -> dict[str, Path]:
    """Return checkpoints by what the page calls them; raise InputError for one that is none."""
    names: list[str] = []
    models = {}
    for path in checkpoints:
        config, _ = load_params(path)
        names.append(unique_model_name(path, names))
        models[f"{names[-1]} ({config.model.variant}, {config.extractor})"] = path
    return models


def _sound(
    video: str | None, checkpoint: Path, seed: int, temperature: float, max_sec: float, folder: Path
) -> tuple[str, str, str]:
    """Return the video with its sound, the sound, and the picture of both."""
    if video is None:
        raise InputError("no video yet: drop one first")
    path = Path(video)
    lasts = media.probe(path).duration_sec
    if lasts > max_sec:
        raise InputError(f"{path.name}: lasts {float(lasts):.1f} s: use at most {max_sec:g} s")
    out = Path(tempfile.mkdtemp(dir=folder))
    report = sonify(path, out, checkpoint=checkpoint, seed=seed, temperature=temperature)
    if report.failed:
        raise InputError(next(iter(report.failed.values())))
    (made,) = report.generated
    return str(made.video), str(made.wav), str(made.figure)
