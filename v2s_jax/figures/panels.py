"""Panels that several figures share: a row of video frames, and a waveform over time."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.axes import Axes

from v2s_jax.features.controls import Curves
from v2s_jax.figures.style import INK, LEADER, LOUDNESS, ONSET, WAVE

MAX_COLUMNS = 1_600
"""Columns of a plot: about its width in pixels."""
_LABEL_INCHES = 0.7  # width of the time above a frame
_FRAME_FILL = 0.94  # of a frame's share of the width; the rest keeps neighbours apart


def draw_waveform(
    axes: Axes, waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int
) -> None:
    """Draw the waveform; a long one as the minimum and maximum of each column."""
    per_column = math.ceil(len(waveform) / MAX_COLUMNS)
    starts = np.arange(0, len(waveform), per_column)
    lowest = np.minimum.reduceat(waveform, starts)
    highest = np.maximum.reduceat(waveform, starts)
    if per_column == 1:
        axes.plot(starts / sample_rate_hz, waveform, color=WAVE, linewidth=0.8)
    else:
        # A column reaches to the next one's first sample, so that the outline has no holes.
        low = np.minimum(lowest, np.append(highest[1:], np.inf))
        high = np.maximum(highest, np.append(lowest[1:], -np.inf))
        times_sec = (starts + per_column / 2) / sample_rate_hz
        axes.fill_between(times_sec, low, high, color=WAVE, linewidth=0.3)
    peak = float(np.abs(waveform).max())
    axes.set_ylim(-1.1 * (peak or 1.0), 1.1 * (peak or 1.0))
    axes.set_ylabel("amplitude\n(full scale = 1)", color=INK)
    axes.tick_params(labelbottom=False)


def draw_curves(axes: Axes, curves: Curves) -> None:
    """Draw loudness as an area and onsets as lines; long ones as the maxima of each column."""
    parts = len(curves.loudness)
    per_column = math.ceil(parts / MAX_COLUMNS)
    starts = np.arange(0, parts, per_column)
    edges_sec = np.append(starts, parts) * curves.part_sec
    loudness, onset = (
        np.maximum.reduceat(curve.astype(np.float32), starts) for curve in curves[:2]
    )
    axes.stairs(loudness, edges_sec, fill=True, color=LOUDNESS, label="loudness")
    begins = onset > 0
    axes.vlines(
        edges_sec[:-1][begins], 0, onset[begins], color=ONSET, linewidth=1.0, label="onsets"
    )
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("controls", color=INK)
    axes.tick_params(labelbottom=False)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(1.0, 0.0),
        fontsize=7,
        frameon=False,
        handlelength=1.0,
        borderaxespad=0.3,
    )


def frame_sizes_inches(
    frames: Sequence[UInt8[np.ndarray, "height width 3"]], row_inches: float, max_inches: float
) -> list[tuple[float, float]]:
    """Return the (width, height) of every frame, undistorted, so that all fit into one row.

    The row is `row_inches` wide and at most `max_inches` high.
    """
    sizes = []
    for frame in frames:
        height_px, width_px, _ = frame.shape
        share = row_inches / len(frames) * _FRAME_FILL
        inches_per_px = min(share / width_px, max_inches / height_px)
        sizes.append((width_px * inches_per_px, height_px * inches_per_px))
    return sizes


def draw_frames(
    axes: Axes,
    frames: Sequence[UInt8[np.ndarray, "height width 3"]],
    sizes_inches: Sequence[tuple[float, float]],
    anchors_inches: Sequence[float],
    labels: Sequence[str],
    leader_inches: float,
) -> None:
    """Draw a row of frames, each with a line down to its anchor.

    An anchor is `anchors_inches` from the left and `leader_inches` below the axes. Each frame is
    as near to its anchor as its neighbours allow.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    width_inches, height_inches = axes.get_position().size * figure.get_size_inches()
    axes.axis("off")
    axes.set_xlim(0, width_inches)
    axes.set_ylim(0, height_inches)
    axes.set_autoscale_on(False)
    # A box is at least as wide as the label above its frame, if the row is wide enough for that.
    min_inches = min(_LABEL_INCHES, width_inches / max(len(frames), 1))
    boxes = [max(width / _FRAME_FILL, min_inches) for width, _ in sizes_inches]
    centres = _place_boxes(anchors_inches, boxes, width_inches)
    for frame, (width, height), centre, anchor, label in zip(
        frames, sizes_inches, centres, anchors_inches, labels, strict=True
    ):
        extent = (centre - width / 2, centre + width / 2, 0, height)
        axes.imshow(frame, extent=extent, aspect="auto")
        leader = ([centre, anchor], [0, -leader_inches])
        axes.plot(*leader, color=LEADER, linewidth=0.8, clip_on=False)
        axes.text(centre, height + 0.05, label, ha="center", fontsize=8, color=INK)


def _place_boxes(anchors: Sequence[float], widths: Sequence[float], room: float) -> list[float]:
    """Return centres near the anchors for boxes in [0, `room`].

    The boxes keep their order and do not overlap; the sum of their widths is at most `room`.
    """
    centres = []
    start, remaining = 0.0, sum(widths)
    for anchor, width in zip(anchors, widths, strict=True):
        centres.append(min(max(anchor, start + width / 2), room - remaining + width / 2))
        start, remaining = centres[-1] + width / 2, remaining - width
    return centres
