"""Play sound for a camera, or for a video file at its own pace, while it is made.

The default model reads pictures that are still to come, so its sound lags by as many video frames
as it looks ahead. `--checkpoint frame` looks ahead by none.
"""

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from tqdm import tqdm

from v2s_jax.cli.arguments import parse_args
from v2s_jax.cli.compilation_cache import enable_compilation_cache
from v2s_jax.cli.device import use_device
from v2s_jax.cli.sample import what_ran
from v2s_jax.errors import InputError, printable
from v2s_jax.features.adjustment import MS_PER_SEC
from v2s_jax.features.extractor import WeightFiles
from v2s_jax.kernels.interface import EngineOption, WeightOption
from v2s_jax.media.live import LiveInput, PlayerName, find_player, open_camera, open_file
from v2s_jax.pretrained import DEFAULT_CHECKPOINT
from v2s_jax.sampling.progress import show_activity
from v2s_jax.sonification import SampleOptions
from v2s_jax.sonification.live import Delays, LiveModel


@dataclass(frozen=True)
class LiveArgs:
    """Arguments of `v2s live`."""

    video: tyro.conf.Positional[Path | None] = None
    """A video file; without it the camera."""
    camera: str | None = None
    """The camera: a device such as /dev/video1, on macOS its number; the first one by default."""
    player: PlayerName | None = None
    """Program that plays: ffplay or aplay, the first one that is there by default; none is for
    measuring."""
    seconds: float | None = None
    """Stop after so much video; by default at the end of the file, or at Ctrl-C."""
    checkpoint: Path = DEFAULT_CHECKPOINT
    """As for `v2s sample`: real, aligned, frame, or a model of your own of these variants."""
    seed: int = 0
    """Another seed gives other audio."""
    temperature: float | None = None
    """Below 1 likely levels are preferred; 1 samples from the model as it is. By default 0.9 for
    the pretrained model real, and 1 for others."""
    category: str | None = None
    """For a model trained on sounds: generate this category, whatever is in the video."""
    engine: EngineOption = "auto"
    """What runs the model, as for `v2s sample`."""
    weights: WeightOption = "auto"
    """Format of the weights in memory, as for `v2s sample`."""
    device: str | None = None
    """Platform to run on: cpu, gpu or tpu; the best one available by default."""
    weight_files: WeightFiles = field(default_factory=WeightFiles)
    """Weights of the vgg19 extractor, if they are not in the default place."""

    def source(self) -> LiveInput:
        """Find the camera or the file; raise InputError where there is none."""
        if self.video is not None and self.camera is not None:
            raise InputError("--camera with a video file: give one")
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds > 0):
            raise InputError(f"--seconds {self.seconds}: use a number above 0, such as 60")
        found = open_camera(self.camera) if self.video is None else open_file(self.video)
        return found if self.seconds is None else found.shortened(self.seconds)

    def options(self) -> SampleOptions:
        """Return how to generate."""
        return SampleOptions(
            checkpoint=self.checkpoint,
            seed=self.seed,
            temperature=self.temperature,
            category=self.category,
            engine=self.engine,
            weights=self.weights,
            weight_files=self.weight_files,
        )


def main() -> None:
    """Run `v2s live`."""
    args = parse_args(LiveArgs, "v2s live", __doc__)
    source, player = args.source(), find_player(args.player)
    use_device(args.device)
    enable_compilation_cache()
    with show_activity("compiling"):
        model = LiveModel(args.options())
    delays = Delays(model.config)
    print(f"{printable(source.name)}: {delays.foresight()}; Ctrl-C ends", file=sys.stderr)
    try:
        with tqdm(desc="live", unit=" video frames", dynamic_ncols=True) as bar:
            for block in model.play(source, player):
                bar.update()
                if block.delay is not None:
                    delays.add(block.delay)
                    bar.set_postfix_str(
                        f"{MS_PER_SEC * block.delay.total_sec:.0f} ms", refresh=False
                    )
                if block.degeneracy is not None:
                    bar.write(f"warning: {block.degeneracy}", file=sys.stderr)
    finally:
        print(delays)
        if model.seen is not None and model.seen.frames:
            print(f"seen: {model.seen}")
            if warning := model.seen.warning():
                print(f"warning: {printable(source.name)}: {warning}", file=sys.stderr)
        print(what_ran(model.settings, model.note))
