"""Key frames of one clip over the waveforms and log-mel spectrograms of several sounds.

All sounds stand on one time axis, under each other. Lines through all of them are the instants at
which they should set in; triangles under a waveform are those at which it does.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from v2s_jax.evaluation.mel import SOUND, band_levels_db
from v2s_jax.evaluation.sound_library import librosa
from v2s_jax.figures.pictures import draw_pictures, picture_sizes_inches
from v2s_jax.figures.style import EVENT, INK, LEADER, ONSET
from v2s_jax.figures.titles import printable
from v2s_jax.figures.waveform import draw_waveform
from v2s_jax.io import atomic_write

DOTS_PER_INCH = 120
INCHES = {
    **{"left": 0.55, "plot": 7.8, "right": 0.15},
    # From the top down; the pictures' own height comes between `times` and `leader`.
    **{"key": 0.3, "times": 0.2, "leader": 0.2},
    # Of each sound, and what is below the last.
    **{"name": 0.27, "waveform": 0.5, "gap": 0.04, "spectrogram": 0.85, "bottom": 0.42},
}
"""Sizes of the figure's parts; widths in the first line, then heights."""
MAX_PICTURE_INCHES = 0.95
SCALE = SOUND._replace(hop_sec=0.008)
"""What sounds are compared on, at twice as many instants."""
TICKS_KHZ = (0.5, 1, 2, 4)
RANGE_DB = 60.0
"""Shown above the floor, in all sounds alike, so that they can be compared: up to 10 dB, since a
tone lies above noise as loud."""
WEBP_QUALITY = 70
"""Of 100: letters stay sharp, and a figure of four sounds takes about 50 kB."""

WIDTH_INCHES = INCHES["left"] + INCHES["plot"] + INCHES["right"]
PLOT_FROM, PLOT_ACROSS = INCHES["left"] / WIDTH_INCHES, INCHES["plot"] / WIDTH_INCHES
"""Where time begins, and what share of the width it takes."""


class Sound(NamedTuple):
    """One sound of the clip."""

    name: str
    waveform: Float32[np.ndarray, " samples"]
    onsets_sec: Float64[np.ndarray, " onsets"]


class Instants(NamedTuple):
    """When sounds should set in."""

    name: str
    times_sec: Float64[np.ndarray, " instants"]


class KeyFrames(NamedTuple):
    """Pictures in order of their times."""

    pictures: Sequence[UInt8[np.ndarray, "height width 3"]]
    times_sec: Sequence[float]


def clip_figure(
    path: Path, frames: KeyFrames, sounds: Sequence[Sound], wanted: Instants, sample_rate_hz: int
) -> None:
    """Draw one clip's sounds, of any lengths, as WebP; the axis is as long as the longest.

    Raises InputError when `path` cannot be written.
    """
    duration_sec = max(len(sound.waveform) for sound in sounds) / sample_rate_hz
    sizes_inches = picture_sizes_inches(frames.pictures, INCHES["plot"], MAX_PICTURE_INCHES)
    row_inches = max((height for _, height in sizes_inches), default=0.0)
    above = INCHES["key"] + (row_inches + INCHES["times"] + INCHES["leader"]) * bool(sizes_inches)
    of_sound = sum(INCHES[name] for name in ("name", "waveform", "gap", "spectrogram"))
    height = above + of_sound * len(sounds) + INCHES["bottom"]
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DOTS_PER_INCH)

    def panel(top: float, tall: float) -> Axes:
        """Add axes of this height, their upper edge so far below the figure's."""
        return figure.add_axes((PLOT_FROM, 1 - (top + tall) / height, PLOT_ACROSS, tall / height))

    _draw_key(figure, wanted, INCHES["key"] / height)
    if sizes_inches:
        pictures = panel(INCHES["key"], row_inches + INCHES["times"])
        places = [min(time / duration_sec, 1.0) * INCHES["plot"] for time in frames.times_sec]
        labels = [f"{time:.2f} s" for time in frames.times_sec]
        draw_pictures(pictures, frames.pictures, sizes_inches, places, labels, INCHES["leader"])
    for number, sound in enumerate(sounds):
        top = above + of_sound * number + INCHES["name"]
        waveform = panel(top, INCHES["waveform"])
        spectrogram = panel(top + INCHES["waveform"] + INCHES["gap"], INCHES["spectrogram"])
        waveform.set_title(
            printable(sound.name), loc="left", fontsize=9, pad=3, color=INK, parse_math=False
        )
        _draw_waveform(waveform, sound, wanted, sample_rate_hz)
        _draw_spectrogram(spectrogram, sound, wanted, sample_rate_hz)
        for axes in (waveform, spectrogram):
            axes.set_xlim(0, duration_sec)
            axes.tick_params(labelsize=7, labelbottom=False)
            axes.spines[["top", "right"]].set_visible(False)
    spectrogram.tick_params(labelbottom=True)
    spectrogram.set_xlabel("time (s)", fontsize=8, color=INK)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="webp", pil_kwargs={"quality": WEBP_QUALITY})


def _draw_key(figure: Figure, wanted: Instants, share: float) -> None:
    handles = [
        Line2D([], [], color=EVENT, linewidth=1.4, label=wanted.name),
        Line2D([], [], color=ONSET, linestyle="", marker="^", label="onsets found in each sound"),
        Line2D([], [], color=LEADER, linewidth=0.8, label="from a key frame to its instant"),
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


def _draw_waveform(axes: Axes, sound: Sound, wanted: Instants, sample_rate_hz: int) -> None:
    draw_waveform(axes, sound.waveform, sample_rate_hz)
    axes.set_ylabel("")
    peak = math.ceil(100 * float(np.abs(sound.waveform).max())) / 100
    axes.set_yticks([0.0, peak] if peak else [0.0])
    whole_height = axes.get_xaxis_transform()
    axes.vlines(
        wanted.times_sec, 0, 1, transform=whole_height, color=EVENT, linewidth=1.0, zorder=2.5
    )
    axes.plot(
        sound.onsets_sec,
        np.zeros(len(sound.onsets_sec)),
        transform=whole_height,
        color=ONSET,
        linestyle="",
        marker="^",
        markersize=6,
        clip_on=False,
        zorder=3,
    )


def _draw_spectrogram(axes: Axes, sound: Sound, wanted: Instants, sample_rate_hz: int) -> None:
    levels = band_levels_db(sound.waveform, sample_rate_hz, SCALE)
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
    axes.vlines(wanted.times_sec, 0, bands, color="#8fe39a", linewidth=0.8, linestyle=(0, (3, 3)))
