"""A row of pictures over a time axis, each as near to its time as its neighbours let it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes

from v2s_jax.figures.style import INK, LEADER

_TIME_INCHES = 0.7  # width of the time above a picture
_PICTURE_FILL = 0.94  # of a picture's share of the width; the rest keeps neighbours apart


def picture_sizes_inches(
    frames: Sequence[UInt8[np.ndarray, "height width 3"]], room_inches: float, max_inches: float
) -> list[tuple[float, float]]:
    """Return (width, height) of every picture as drawn: unstretched, all fitting in one row.

    `room_inches` is the width of the row, `max_inches` its height at most.
    """
    sizes = []
    for frame in frames:
        height_px, width_px, _ = frame.shape
        share = room_inches / len(frames) * _PICTURE_FILL
        inches_per_px = min(share / width_px, max_inches / height_px)
        sizes.append((width_px * inches_per_px, height_px * inches_per_px))
    return sizes


def _spread(wanted: Sequence[float], widths: Sequence[float], room: float) -> list[float]:
    """Return centres near the `wanted` ones for boxes side by side in [0, `room`].

    The boxes keep their order and neither overlap nor stick out; their widths must have room.
    """
    centres = []
    start, needed = 0.0, sum(widths)
    for centre, width in zip(wanted, widths, strict=True):
        centres.append(min(max(centre, start + width / 2), room - needed + width / 2))
        start, needed = centres[-1] + width / 2, needed - width
    return centres


def draw_pictures(
    axes: Axes,
    frames: Sequence[UInt8[np.ndarray, "height width 3"]],
    sizes_inches: Sequence[tuple[float, float]],
    wanted_inches: Sequence[float],
    labels: Sequence[str],
    leader_inches: float,
) -> None:
    """Draw the row of pictures on axes of a height in inches, with a line down to each one's place.

    The place, `wanted_inches` from the left, lies `leader_inches` below the axes.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    width_inches, height_inches = axes.get_position().size * figure.get_size_inches()
    axes.axis("off")
    axes.set_xlim(0, width_inches)
    axes.set_ylim(0, height_inches)
    axes.set_autoscale_on(False)
    # No box is narrower than the time above its picture, as far as there is room.
    least = min(_TIME_INCHES, width_inches / max(len(frames), 1))
    boxes = [max(width / _PICTURE_FILL, least) for width, _ in sizes_inches]
    centres = _spread(wanted_inches, boxes, width_inches)
    for frame, (width, height), centre, wanted, label in zip(
        frames, sizes_inches, centres, wanted_inches, labels, strict=True
    ):
        edges = (centre - width / 2, centre + width / 2, 0, height)
        axes.imshow(frame, extent=edges, aspect="auto")
        foot = ([centre, wanted], [0, -leader_inches])
        axes.plot(*foot, color=LEADER, linewidth=0.8, clip_on=False)
        axes.text(centre, height + 0.05, label, ha="center", fontsize=8, color=INK)
