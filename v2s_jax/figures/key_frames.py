"""The paper's figure 4: key frames over a waveform and its spectrogram, on one time axis."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from v2s_jax.features.controls import Curves
from v2s_jax.figures.panels import (
    MAX_COLUMNS,
    draw_curves,
    draw_frames,
    draw_waveform,
    frame_sizes_inches,
)
from v2s_jax.figures.style import EVENT, INK, LEADER, ONSET, printable_title
from v2s_jax.figures.tags import png_text
from v2s_jax.io import atomic_write
from v2s_jax.media import NO_TAGS, Tags

_DOTS_PER_INCH = 150
_COMPRESS_LEVEL = 4  # of zlib, 0 to 9: half the time of the default 6, and 3 % more bytes
_INCHES: dict[str, float] = {
    # Widths, from left to right.
    **{"left": 0.85, "plot": 9.3, "bar_gap": 0.12, "bar": 0.14, "right": 0.75},
    # Heights, from the bottom up; the video frames' own height comes between `leader` and `times`.
    **{"bottom": 0.55, "spectrogram": 2.3, "gap": 0.14, "waveform": 1.25},
    **{"curves": 0.6, "leader": 0.3, "times": 0.2, "title": 0.45},
}
_MAX_FRAME_INCHES = 1.7  # height
_WINDOW_SEC = 0.032  # resolves harmonics 60 Hz apart, and still onsets
_HOPS_PER_WINDOW = 4
_FLOOR_DB = -120.0  # below the rounding of 16-bit audio
_RANGE_DB = 80.0  # shown below the loudest point
_LEADER_ON_DARK = "#ffffffa0"


class Marks(NamedTuple):
    """Times to mark on the waveform."""

    events_sec: Sequence[float]
    """Audible events of the video; marked in the upper half."""
    onsets_sec: Sequence[float]
    """Onsets of the audio in the figure; marked in the lower half."""


def key_frame_figure(
    path: Path,
    frames: Sequence[UInt8[np.ndarray, "height width 3"]],
    frame_times_sec: Sequence[float],
    waveform: Float32[np.ndarray, " samples"],
    sample_rate_hz: int,
    title: str,
    marks: Marks | None = None,
    curves: Curves | None = None,
    tags: Tags = NO_TAGS,
) -> None:
    """Draw key frames over a waveform and its spectrogram, as a PNG.

    Each key frame is as near to its time as its neighbours allow, with a line to the time itself.

    Args:
        path: The PNG to write.
        frames: RGB key frames, possibly none.
        frame_times_sec: The time of each, ascending.
        waveform: Amplitudes in [-1, 1], at least one.
        sample_rate_hz: Sample rate of the waveform.
        title: Any text; it is not parsed as mathematics.
        marks: Events and onsets; where both agree, their marks join into one line.
        curves: Loudness and onset strength that a model of controls read; drawn under the frames.
        tags: Text to store in the file.

    Raises:
        InputError: `path` cannot be written.
    """
    figure = _draw(frames, frame_times_sec, waveform, sample_rate_hz, title, marks, curves)
    with atomic_write(path) as temporary:
        compression = {"compress_level": _COMPRESS_LEVEL}
        figure.savefig(temporary, format="png", metadata=png_text(tags), pil_kwargs=compression)


def waveform_image(
    waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int, title: str
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a waveform in [-1, 1] over its spectrogram, as RGB pixels."""
    canvas = FigureCanvasAgg(_draw([], [], waveform, sample_rate_hz, title))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def _draw(
    frames: Sequence[UInt8[np.ndarray, "height width 3"]],
    frame_times_sec: Sequence[float],
    waveform: Float32[np.ndarray, " samples"],
    sample_rate_hz: int,
    title: str,
    marks: Marks | None = None,
    curves: Curves | None = None,
) -> Figure:
    if len(frames) != len(frame_times_sec):
        raise ValueError(f"{len(frames)} frames but {len(frame_times_sec)} times")
    if not len(waveform):
        raise ValueError("the waveform is empty")
    duration_sec = len(waveform) / sample_rate_hz
    sizes_inches = frame_sizes_inches(frames, _INCHES["plot"], _MAX_FRAME_INCHES)
    panels = _lay_out(max((height for _, height in sizes_inches), default=0.0), curves is not None)
    draw_waveform(panels.waveform, waveform, sample_rate_hz)
    image = _draw_spectrogram(panels.spectrogram, waveform, sample_rate_hz)
    panels.figure.colorbar(image, cax=panels.bar).set_label("level (dB re full scale)", color=INK)
    on_white = [panels.waveform]
    if panels.curves is not None and curves is not None:
        draw_curves(panels.curves, curves)
        on_white.append(panels.curves)
    for axes in (*on_white, panels.spectrogram):
        color = _LEADER_ON_DARK if axes is panels.spectrogram else LEADER
        axes.set_xlim(0, duration_sec)
        axes.spines[["top", "right"]].set_visible(False)
        whole_height = axes.get_xaxis_transform()
        axes.vlines(frame_times_sec, 0, 1, transform=whole_height, color=color, linewidth=0.8)
    if marks is not None:
        _draw_marks(panels.waveform, marks)
    panels.figure.align_ylabels([*on_white, panels.spectrogram])
    # The middle of the last video frame may be behind the end of the audio.
    anchors_inches = [min(time / duration_sec, 1.0) * _INCHES["plot"] for time in frame_times_sec]
    decimals = max(2, 2 - math.floor(math.log10(duration_sec)))
    labels = [f"{time:.{decimals}f} s" for time in frame_times_sec]
    draw_frames(panels.frames, frames, sizes_inches, anchors_inches, labels, _INCHES["leader"])
    panels.frames.set_title(printable_title(title), loc="left", color=INK, parse_math=False)
    return panels.figure


class _Panels(NamedTuple):
    figure: Figure
    frames: Axes
    curves: Axes | None
    waveform: Axes
    spectrogram: Axes
    bar: Axes


def _lay_out(frame_inches: float, has_curves: bool) -> _Panels:
    """Make a figure with room for a row of frames of this height, and for curves under it."""
    left, plot = _INCHES["left"], _INCHES["plot"]
    spectrogram = _INCHES["bottom"]
    waveform = spectrogram + _INCHES["spectrogram"] + _INCHES["gap"]
    curves = waveform + _INCHES["waveform"] + _INCHES["gap"]
    top = curves + _INCHES["curves"] if has_curves else waveform + _INCHES["waveform"]
    frames = top + _INCHES["leader"]
    frame_row = frame_inches + _INCHES["times"]
    bar = left + plot + _INCHES["bar_gap"]
    width = bar + _INCHES["bar"] + _INCHES["right"]
    height = frames + frame_row + _INCHES["title"]
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH)

    def panel(x: float, y: float, across: float, up: float) -> Axes:
        return figure.add_axes((x / width, y / height, across / width, up / height))

    return _Panels(
        figure,
        panel(left, frames, plot, frame_row),
        panel(left, curves, plot, _INCHES["curves"]) if has_curves else None,
        panel(left, waveform, plot, _INCHES["waveform"]),
        panel(left, spectrogram, plot, _INCHES["spectrogram"]),
        panel(bar, spectrogram, _INCHES["bar"], _INCHES["spectrogram"]),
    )


def _draw_marks(axes: Axes, marks: Marks) -> None:
    """Draw events from the middle up, onsets from the middle down, and a legend."""
    halves = (
        ("true events", marks.events_sec, 0.5, EVENT),
        ("onsets of this audio", marks.onsets_sec, 0.0, ONSET),
    )
    for name, times_sec, foot, color in halves:
        axes.vlines(
            times_sec,
            foot,
            foot + 0.5,
            transform=axes.get_xaxis_transform(),
            color=color,
            linewidth=1.6,
            label=f"{name}: {len(times_sec)}",
        )
    # At the bottom, where it covers neither marks nor a long title.
    figure = axes.get_figure(root=True)
    assert figure is not None
    corner = (axes.get_position().x1, 0.0)
    figure.legend(
        loc="lower right", bbox_to_anchor=corner, fontsize=8, ncols=2, frameon=False, borderpad=0.3
    )


def _spectrogram_db(
    waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int
) -> tuple[Float32[np.ndarray, "frequencies columns"], float]:
    """Return the power spectrogram in dB, and the time step between its columns in s.

    0 dB is a full-scale sine. A column is the mean over all windows that fall in it; column c is
    centred at c times the step. There are at most `MAX_COLUMNS`.
    """
    window_samples = max(2, round(_WINDOW_SEC * sample_rate_hz))
    hop = max(1, window_samples // _HOPS_PER_WINDOW)
    windows = 1 + len(waveform) // hop
    per_column = math.ceil(windows / MAX_COLUMNS)
    columns = math.ceil(windows / per_column)
    # Half a window and half a column before the first sample, so that columns are centred.
    before = window_samples // 2 + (per_column - 1) * hop // 2
    needed = (columns * per_column - 1) * hop + window_samples
    padded = np.pad(waveform, (before, max(0, needed - before - len(waveform))))
    blocks = np.lib.stride_tricks.sliding_window_view(padded, window_samples)[::hop]
    # Hann, periodic. SciPy has the same, and takes half a second to import.
    shape = np.hanning(window_samples + 1)[:-1].astype(np.float32)
    levels = np.empty((window_samples // 2 + 1, columns), np.float32)
    for column in range(columns):
        block = blocks[column * per_column : (column + 1) * per_column]
        power = np.mean(np.abs(np.fft.rfft(block * shape) * (2 / shape.sum())) ** 2, axis=0)
        levels[:, column] = 10 * np.log10(power + 10 ** (_FLOOR_DB / 10))
    return levels, per_column * hop / sample_rate_hz


def _draw_spectrogram(
    axes: Axes, waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int
) -> AxesImage:
    levels, step_sec = _spectrogram_db(waveform, sample_rate_hz)
    nyquist_khz = sample_rate_hz / 2_000
    loudest_db = max(float(levels.max()), _FLOOR_DB + _RANGE_DB)
    image = axes.imshow(
        levels,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(-step_sec / 2, (levels.shape[1] - 0.5) * step_sec, 0, nyquist_khz),
        vmin=loudest_db - _RANGE_DB,
        vmax=loudest_db,
    )
    axes.set_ylabel("frequency (kHz)", color=INK)
    axes.set_xlabel("time (s)", color=INK)
    return image
