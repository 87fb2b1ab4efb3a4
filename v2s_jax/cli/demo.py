"""A web page on this machine to try the models: upload a video, get it back with audio.

The page can only be opened on this machine (127.0.0.1), and no data leaves it. Videos and results
are kept in a temporary folder for an hour, at most until the program ends.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jax

from v2s_jax.checkpoints import load_params, unique_model_name
from v2s_jax.cli.arguments import parse_args
from v2s_jax.cli.demo_page import Model, build_page
from v2s_jax.cli.demo_server import Ended, LocalOnly, start_cleaning, temporary_folder
from v2s_jax.cli.device import use_device
from v2s_jax.errors import InputError, require_extra
from v2s_jax.figures import FigureProcess
from v2s_jax.kernels.build import build, why_not_built
from v2s_jax.pretrained import PRETRAINED
from v2s_jax.sampling.progress import show_activity

if TYPE_CHECKING:
    import gradio as gr

HOST = "127.0.0.1"
BYTES_PER_MB = 10**6


@dataclass(frozen=True)
class DemoArgs:
    """Arguments of `v2s demo`."""

    checkpoint: tuple[Path, ...] = tuple(PRETRAINED.values())
    """Models to choose from: .safetensors files, the --workdir of training runs, or the pretrained
    models real, aligned, frame, seq and flow; by default the pretrained models."""
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
            page = build_page(models, folder, args.max_mb, args.max_sec)
            start_cleaning(folder, lambda: _files_of_page(page))
            serve(page, args)
            FigureProcess.close_shared()  # before its folder goes
    except Ended as ended:
        code = ended.code
    FigureProcess.close_shared()
    sys.stdout.flush()
    os._exit(code)  # the interpreter's own end aborts where a thread still generates


def name_models(checkpoints: Sequence[Path]) -> dict[str, Model]:
    """Return checkpoints by their names on the page; raise InputError if one cannot be read."""
    names: list[str] = []
    models = {}
    for path in checkpoints:
        config, _ = load_params(path)
        names.append(unique_model_name(path, names))
        name = f"{names[-1]} ({config.model.variant}, {config.extractor})"
        models[name] = Model(path, config.extraction.categories or ())
    return models


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
