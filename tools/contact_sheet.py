"""Draw video frames and spectrograms of one clip of each category.

python -m tools.contact_sheet --out docs/synthetic
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from v2s_jax.cli.arguments import parse_args
from v2s_jax.cli.run import run_cli
from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.generator import CATEGORIES, SyntheticClip, make_clip
from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write, check_writable

COLUMNS = 6  # video frames of a clip, evenly spaced
WINDOW = 512  # samples of a spectrum: 32 ms
RANGE_DB = (-100.0, -20.0)  # from below the background to a loud partial
DPI = 80
INDEX, SEED = 0, 0


@dataclass(frozen=True)
class SheetArgs:
    """Clips to draw."""

    out: Path
    """Folder for pictures.png and spectrograms.png, which are replaced."""
    video_frames: int = 32
    """Length of the clips; 32 video frames last 2 s."""


def main() -> None:
    """Write both figures."""
    args = parse_args(SheetArgs, "python -m tools.contact_sheet", __doc__)
    if args.video_frames < COLUMNS:
        raise InputError(f"--video-frames {args.video_frames}: must be at least {COLUMNS}")
    check_writable(args.out)
    clock = Clock()
    clips = [
        make_clip(category, "test", INDEX, SEED, clock, args.video_frames)
        for category in CATEGORIES
    ]
    for figure, name in (
        (draw_frames(clips, clock), "pictures.png"),
        (draw_spectrograms(clips, clock), "spectrograms.png"),
    ):
        with atomic_write(args.out / name) as temporary:
            figure.savefig(temporary, dpi=DPI, format="png")
        plt.close(figure)
        print(args.out / name)


def draw_frames(clips: list[SyntheticClip], clock: Clock) -> Figure:
    """Draw a row of video frames with their times for each clip."""
    figure, rows = plt.subplots(
        len(clips), COLUMNS, figsize=(1.5 * COLUMNS, 1.6 * len(clips)), layout="constrained"
    )
    for clip, row in zip(clips, rows, strict=True):
        selected = np.linspace(0, len(clip.frames) - 1, COLUMNS).round().astype(int)
        for axes, frame in zip(row, selected, strict=True):
            axes.imshow(clip.frames[frame])
            axes.set_xticks([], [])
            axes.set_yticks([], [])
            time_sec = float(clock.video_frame_time_sec(int(frame)))
            axes.set_xlabel(f"{time_sec:.2f} s", fontsize=7)
        row[0].set_ylabel(clip.category.replace("_", "\n"), fontsize=8)
    figure.suptitle("synthetic clips: video frames")
    return figure


def draw_spectrograms(clips: list[SyntheticClip], clock: Clock) -> Figure:
    """Draw the spectrogram of each clip, with its events as lines."""
    rows, rate_hz = -(-len(clips) // 2), clock.sample_rate_hz
    figure, grid = plt.subplots(rows, 2, figsize=(10, 1.8 * rows), layout="constrained")
    for clip, axes in zip(clips, grid.ravel(), strict=True):
        axes.specgram(
            clip.waveform + 1e-9,  # the logarithm of silence
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
    figure.suptitle("synthetic clips: spectrograms, events as lines above")
    return figure


if __name__ == "__main__":
    run_cli(main)
