"""Key frames of one clip over the waveforms and log-mel spectrograms of several waveforms.

All waveforms share one time axis. Lines through all of them are the instants at which sounds should
start; triangles under a waveform are the onsets that were detected in it.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from v2s_jax.evaluation.mel import AUDIO_SCALE, band_levels_db, librosa
from v2s_jax.evaluation.statistics import Waveform
from v2s_jax.figures.panels import draw_frames, draw_waveform, frame_sizes_inches
from v2s_jax.figures.style import EVENT, INK, LEADER, ONSET, printable_title
from v2s_jax.io import atomic_write

DOTS_PER_INCH = 120
INCHES = {
    **{"left": 0.55, "plot": 7.8, "right": 0.15},
    # From the top down; the height of the frames comes between `times` and `leader`.
    **{"key": 0.3, "times": 0.2, "leader": 0.2},
    # Of each waveform, and what is below the last.
    **{"name": 0.27, "waveform": 0.5, "gap": 0.04, "spectrogram": 0.85, "bottom": 0.42},
}
"""Sizes of the figure's parts; widths in the first line, then heights."""
MAX_FRAME_INCHES = 0.95
SCALE = AUDIO_SCALE._replace(hop_sec=0.008)
"""The scale of the metrics, at twice as many instants."""
TICKS_KHZ = (0.5, 1, 2, 4)
RANGE_DB = 60.0
"""Shown above the floor, the same for all waveforms, so that they can be compared: up to 10 dB,
since a tone exceeds noise of the same loudness."""
TARGET_ON_SPECTROGRAM = "#8fe39a"
WEBP_QUALITY = 70
"""Of 100: letters stay sharp, and a figure of four waveforms takes about 50 kB."""

WIDTH_INCHES = INCHES["left"] + INCHES["plot"] + INCHES["right"]
PLOT_FROM, PLOT_ACROSS = INCHES["left"] / WIDTH_INCHES, INCHES["plot"] / WIDTH_INCHES
"""Where the time axis begins, and its share of the width."""


class NamedAudio(NamedTuple):
    """One waveform of the clip."""

    name: str
    waveform: Waveform
    onsets_sec: Float64[np.ndarray, " onsets"]


class Targets(NamedTuple):
    """When sounds should start."""

    name: str
    times_sec: Float64[np.ndarray, " instants"]


class KeyFrames(NamedTuple):
    """Video frames in order of their times."""

    frames: Sequence[UInt8[np.ndarray, "height width 3"]]
    times_sec: Sequence[float]


def clip_figure(
    path: Path,
    frames: KeyFrames,
    audio: Sequence[NamedAudio],
    targets: Targets,
    sample_rate_hz: int,
) -> None:
    """Draw one clip's waveforms, of any lengths, as WebP; the axis is as long as the longest.

    Raises InputError when `path` cannot be written.
    """
    duration_sec = max(len(one.waveform) for one in audio) / sample_rate_hz
    sizes_inches = frame_sizes_inches(frames.frames, INCHES["plot"], MAX_FRAME_INCHES)
    row_inches = max((height for _, height in sizes_inches), default=0.0)
    above = INCHES["key"]
    if sizes_inches:
        above += row_inches + INCHES["times"] + INCHES["leader"]
    per_waveform = sum(INCHES[name] for name in ("name", "waveform", "gap", "spectrogram"))
    height = above + per_waveform * len(audio) + INCHES["bottom"]
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DOTS_PER_INCH)

    def panel(top: float, tall: float) -> Axes:
        """Add axes of height `tall` whose upper edge is `top` below that of the figure."""
        return figure.add_axes((PLOT_FROM, 1 - (top + tall) / height, PLOT_ACROSS, tall / height))

    _draw_key(figure, targets, INCHES["key"] / height)
    if sizes_inches:
        row = panel(INCHES["key"], row_inches + INCHES["times"])
        anchors = [min(time / duration_sec, 1.0) * INCHES["plot"] for time in frames.times_sec]
        labels = [f"{time:.2f} s" for time in frames.times_sec]
        draw_frames(row, frames.frames, sizes_inches, anchors, labels, INCHES["leader"])
    for number, one in enumerate(audio):
        top = above + per_waveform * number + INCHES["name"]
        waveform = panel(top, INCHES["waveform"])
        spectrogram = panel(top + INCHES["waveform"] + INCHES["gap"], INCHES["spectrogram"])
        waveform.set_title(
            printable_title(one.name), loc="left", fontsize=9, pad=3, color=INK, parse_math=False
        )
        _draw_waveform(waveform, one, targets, sample_rate_hz)
        _draw_spectrogram(spectrogram, one, targets, sample_rate_hz)
        for axes in (waveform, spectrogram):
            axes.set_xlim(0, duration_sec)
            axes.tick_params(labelsize=7, labelbottom=False)
            axes.spines[["top", "right"]].set_visible(False)
    spectrogram.tick_params(labelbottom=True)
    spectrogram.set_xlabel("time (s)", fontsize=8, color=INK)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="webp", pil_kwargs={"quality": WEBP_QUALITY})


def _draw_key(figure: Figure, targets: Targets, share: float) -> None:
    handles = [
        Line2D([], [], color=EVENT, linewidth=1.4, label=targets.name),
        Line2D([], [], color=ONSET, linestyle="", marker="^", label="detected onsets"),
        Line2D([], [], color=LEADER, linewidth=0.8, label="from a key frame to its time"),
    ]
    figure.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(PLOT_FROM, 1 - share / 2),
        fontsize=8,
        ncols=len(handles),
        frameon=False,
        borderpad=0.0,
        borderaxespad=0.0,
    )


def _draw_waveform(axes: Axes, audio: NamedAudio, targets: Targets, sample_rate_hz: int) -> None:
    draw_waveform(axes, audio.waveform, sample_rate_hz)
    axes.set_ylabel("")
    peak = math.ceil(100 * float(np.abs(audio.waveform).max())) / 100
    axes.set_yticks([0.0, peak] if peak else [0.0])
    full_height = axes.get_xaxis_transform()
    axes.vlines(
        targets.times_sec, 0, 1, transform=full_height, color=EVENT, linewidth=1.0, zorder=2.5
    )
    axes.plot(
        audio.onsets_sec,
        np.zeros(len(audio.onsets_sec)),
        transform=full_height,
        color=ONSET,
        linestyle="",
        marker="^",
        markersize=6,
        clip_on=False,
        zorder=3,
    )


def _draw_spectrogram(axes: Axes, audio: NamedAudio, targets: Targets, sample_rate_hz: int) -> None:
    levels = band_levels_db(audio.waveform, sample_rate_hz, SCALE)
    step_sec, bands = SCALE.hop_sec, SCALE.bands
    axes.imshow(
        levels,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(-step_sec / 2, (levels.shape[1] - 0.5) * step_sec, 0, bands),
        vmin=SCALE.floor_db,
        vmax=SCALE.floor_db + RANGE_DB,
    )
    top_mel = librosa().hz_to_mel(sample_rate_hz / 2)
    ticks = [khz for khz in TICKS_KHZ if khz * 1_000 < sample_rate_hz / 2]
    axes.set_yticks(
        [float(librosa().hz_to_mel(khz * 1_000) / top_mel) * bands for khz in ticks],
        [f"{khz:g} kHz" for khz in ticks],
    )
    axes.vlines(
        targets.times_sec,
        0,
        bands,
        color=TARGET_ON_SPECTROGRAM,
        linewidth=0.8,
        linestyle=(0, (3, 3)),
    )
