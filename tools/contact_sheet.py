"""Pictures and spectrograms of one clip of each category, to be looked at.

python -m tools.contact_sheet --out docs/synthetic
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from v2s_jax.cli.run import run_cli
from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.clip import SyntheticClip
from v2s_jax.datasets.synthetic.generator import CATEGORIES, make_clip
from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write, check_writable

PICTURES, SPECTROGRAMS = "pictures.png", "spectrograms.png"
COLUMNS = 6  # pictures of a clip, evenly spaced
WINDOW = 512  # samples of a spectrum: 32 ms
RANGE_DB = (-100.0, -20.0)  # from below the background to a loud partial
DPI = 80


@dataclass(frozen=True)
class SheetArgs:
    """What is drawn."""

    out: Path
    """Folder for pictures.png and spectrograms.png; those that are there are replaced."""
    index: int = 0
    """Which clip of the test split."""
    seed: int = 0
    """Seed of the clips."""
    video_frames: int = 32
    """Pictures of a clip; 32 last 2 s."""


def main() -> None:
    """Draw what the command line names."""
    args = tyro.cli(SheetArgs, prog="python -m tools.contact_sheet", description=__doc__)
    if args.video_frames < COLUMNS:
        raise InputError(f"--video-frames {args.video_frames}: at least {COLUMNS} are drawn")
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: use a whole number from 0 on")
    check_writable(args.out)
    clock = Clock()
    clips = [
        make_clip(category, "test", args.index, args.seed, clock, args.video_frames)
        for category in CATEGORIES
    ]
    _save(pictures(clips, clock), args.out / PICTURES)
    _save(spectrograms(clips, clock), args.out / SPECTROGRAMS)


def pictures(clips: list[SyntheticClip], clock: Clock) -> Figure:
    """Draw a row of pictures for each clip, with their times."""
    figure, rows = plt.subplots(
        len(clips), COLUMNS, figsize=(1.5 * COLUMNS, 1.6 * len(clips)), layout="constrained"
    )
    for clip, row in zip(clips, rows, strict=True):
        shown = np.linspace(0, len(clip.frames) - 1, COLUMNS).round().astype(int)
        for axes, video_frame in zip(row, shown, strict=True):
            axes.imshow(clip.frames[video_frame])
            axes.set_xticks([], [])
            axes.set_yticks([], [])
            time_sec = float(clock.picture_time_sec(int(video_frame)))
            axes.set_xlabel(f"{time_sec:.2f} s", fontsize=7)
        row[0].set_ylabel(clip.category.replace("_", "\n"), fontsize=8)
    figure.suptitle("synthetic clips: pictures")
    return figure


def spectrograms(clips: list[SyntheticClip], clock: Clock) -> Figure:
    """Draw the spectrogram of each clip, its events as lines."""
    figure, grid = plt.subplots(
        -(-len(clips) // 2), 2, figsize=(10, 1.8 * -(-len(clips) // 2)), layout="constrained"
    )
    for clip, axes in zip(clips, grid.ravel(), strict=False):
        _spectrogram(axes, clip, clock.sample_rate_hz)
    for axes in grid.ravel()[len(clips) :]:
        axes.remove()
    figure.suptitle("synthetic clips: spectrograms, events as lines above")
    return figure


def _spectrogram(axes: Axes, clip: SyntheticClip, rate_hz: int) -> None:
    axes.specgram(
        clip.waveform + 1e-9,  # silence has no logarithm
        NFFT=WINDOW,
        Fs=rate_hz,
        noverlap=3 * WINDOW // 4,
        vmin=RANGE_DB[0],
        vmax=RANGE_DB[1],
    )
    axes.vlines(clip.events_sec, 0.9 * rate_hz / 2, rate_hz / 2, color="white")
    axes.set_title(clip.category, fontsize=8)
    axes.set_xlim(0, len(clip.waveform) / rate_hz)
    axes.tick_params(labelsize=6)
    axes.set_ylabel("Hz", fontsize=6)


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png")
    plt.close(figure)
    print(path)


if __name__ == "__main__":
    run_cli(main)
