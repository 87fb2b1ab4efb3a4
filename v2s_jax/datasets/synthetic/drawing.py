"""Anti-aliased shapes in NumPy: coverage in [0, 1] per pixel, painted on a canvas.

Coordinates are pixels, x to the right and y down, (0, 0) the centre of the top left pixel. A
shape's edge is one pixel wide. Only sums, products and square roots touch the pixels, and the
canvas is rounded once, so that the last bits of a float64, in which machines differ, practically
never show (data/README.md, Same bytes).

A `Painting` paints coverages over each other, in all frames at once. If it knows how each layer
moves, it computes the exact optical flow: at a pixel of frame i - 1, the displacement until frame i
of the topmost layer that covers at least half of it.

Leading axes of the arguments become those of the coverage: end points [video_frames] give a
coverage [video_frames height width], plain numbers give [height width].
"""

import colorsys
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, UInt8

FRAME_PX = 128
"""Height and width of a frame: twice the 64 px that the `pixels` features use."""

_ROWS_PX, _COLUMNS_PX = np.mgrid[:FRAME_PX, :FRAME_PX].astype(np.float64)
_NEARLY_ZERO = 1e-9  # keeps the quotients at an ellipse's centre and of a one-point bar finite

Px = Float64[np.ndarray, "*lead"] | float
Coverage = Float64[np.ndarray, "*lead height width"]
Colour = Float64[np.ndarray, "3"]
Pose = Float64[np.ndarray, "video_frames 2 3"]
Field = Float64[np.ndarray, "video_frames height width 2"]
Motion = Pose | Field
"""How a layer moves: its pose in each frame, or the displacement (right, down) in px of each pixel
from frame i - 1 to i."""

MIN_COVERAGE = 0.5  # with at least this, a layer determines the flow at a pixel


def colour(hue: float, saturation: float, value: float) -> Colour:
    """Return the RGB colour, 0 to 255, of a hue, saturation and value in [0, 1]."""
    return 255.0 * np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def _lead(px: Px) -> Float64[np.ndarray, "*lead 1 1"]:
    return np.asarray(px, np.float64)[..., None, None]


def bar(x0: Px, y0: Px, x1: Px, y1: Px, radius_px: float) -> Coverage:
    """Cover a bar with round ends between two points; the same point twice gives a disc."""
    x0, y0, x1, y1 = _lead(x0), _lead(y0), _lead(x1), _lead(y1)
    near = _around((y0, y1), radius_px), _around((x0, x1), radius_px)
    along_x, along_y = x1 - x0, y1 - y0
    from_x, from_y = _COLUMNS_PX[near] - x0, _ROWS_PX[near] - y0
    length2 = np.maximum(along_x**2 + along_y**2, _NEARLY_ZERO)
    part = np.clip((from_x * along_x + from_y * along_y) / length2, 0.0, 1.0)
    distance = np.sqrt((from_x - part * along_x) ** 2 + (from_y - part * along_y) ** 2)
    return _in_frame(near, np.clip(radius_px + 0.5 - distance, 0.0, 1.0))


def _in_frame(
    near: tuple[slice, slice], part: Float64[np.ndarray, "*lead rows columns"]
) -> Coverage:
    """Return the coverage that is `part` there and 0 elsewhere."""
    covered = np.zeros((*part.shape[:-2], FRAME_PX, FRAME_PX))
    covered[(..., *near)] = part
    return covered


def _around(ends: tuple[np.ndarray, np.ndarray], radius_px: float) -> slice:
    """Return the rows or columns that are within the radius of the ends."""
    low = min(float(end.min()) for end in ends) - radius_px - 1.0
    high = max(float(end.max()) for end in ends) + radius_px + 1.0
    first, last = (min(max(math.floor(px), 0), FRAME_PX) for px in (low, high + 1.0))
    return slice(first, last)


def ellipse(x: Px, y: Px, half_width_px: Px, half_height_px: Px) -> Coverage:
    """Cover an upright ellipse; its edge distance is the first-order one.

    It is at least (level - 1) times the smaller half, which bounds the pixels to compute.
    """
    x, y, a, b = _lead(x), _lead(y), _lead(half_width_px), _lead(half_height_px)
    beyond = 1.0 + 0.5 / np.minimum(a, b)
    near = (
        _around((y - b * beyond, y + b * beyond), 0.0),
        _around((x - a * beyond, x + a * beyond), 0.0),
    )
    dx, dy = (_COLUMNS_PX[near] - x) / a, (_ROWS_PX[near] - y) / b
    level = np.sqrt(dx**2 + dy**2)
    slope = np.maximum(np.sqrt((dx / a) ** 2 + (dy / b) ** 2), _NEARLY_ZERO)
    return _in_frame(near, np.clip(0.5 - level * (level - 1.0) / slope, 0.0, 1.0))


def rectangle(left: float, top: float, right: float, bottom: float) -> Coverage:
    """Cover an upright rectangle."""
    return column(0.5 * (left + right), np.full(FRAME_PX, 0.5 * (right - left)), top, bottom)


def column(
    x: float, half_width_px: Float64[np.ndarray, "*lead height"], top: float, bottom: float
) -> Coverage:
    """Cover an upright column whose half width is given for every row."""
    rows = np.arange(FRAME_PX)
    inside = np.clip(np.minimum(rows - top, bottom - rows) + 0.5, 0.0, 1.0)
    half = half_width_px[..., None]
    across = np.clip(half + 0.5 - np.abs(np.arange(FRAME_PX) - x), 0.0, 1.0)
    return across * inside[:, None] * np.minimum(1.0, 2.0 * half)  # thinner than a pixel: fainter


def dots(
    video_frames: int,
    frame: Int[np.ndarray, " dots"],
    x: Float64[np.ndarray, " dots"],
    y: Float64[np.ndarray, " dots"],
    radius_px: float,
) -> Float64[np.ndarray, "video_frames height width"]:
    """Cover many equal discs, each in its own frame; parts outside are cut off."""
    covered = np.zeros((video_frames, FRAME_PX, FRAME_PX))
    reach = int(np.ceil(radius_px + 0.5))
    near = np.arange(-reach, reach + 2)
    rows = np.floor(y)[:, None, None] + near[:, None]
    columns = np.floor(x)[:, None, None] + near
    distance = np.sqrt((rows - y[:, None, None]) ** 2 + (columns - x[:, None, None]) ** 2)
    part = np.clip(radius_px + 0.5 - distance, 0.0, 1.0)
    inside = (part > 0) & (rows >= 0) & (rows < FRAME_PX)
    inside &= (columns >= 0) & (columns < FRAME_PX)
    frames, rows, columns = np.broadcast_arrays(frame[:, None, None], rows, columns)
    where = frames[inside], rows[inside].astype(int), columns[inside].astype(int)
    np.maximum.at(covered, where, part[inside])
    return covered


def dots_motion(
    video_frames: int,
    frame: Int[np.ndarray, " dots"],
    start: Float64[np.ndarray, "dots 2"],
    end: Float64[np.ndarray, "dots 2"],
    radius_px: float,
) -> Field:
    """Return the motion of discs, each at `start` (x, y) in its frame and at `end` in the next.

    Given the dots of `dots`, in its order; where two meet, the last one counts.
    """
    field = np.zeros((video_frames, FRAME_PX, FRAME_PX, 2))
    reach = int(np.ceil(radius_px))
    for i, (x, y), moved in zip(frame.tolist(), start.tolist(), end - start, strict=True):
        if i + 1 < video_frames:
            top, left = max(0, round(y) - reach), max(0, round(x) - reach)
            here = np.s_[
                i + 1, top : max(0, round(y) + reach + 1), left : max(0, round(x) + reach + 1)
            ]
            field[here] = moved
    return field


def pose(
    x: Px, y: Px, angle: Px = 0.0, stretch_x: Px = 1.0, stretch_y: Px = 1.0
) -> Float64[np.ndarray, "*lead 2 3"]:
    """Return the transform m -> (x, y) + R(angle) (stretch_x m_x, stretch_y m_y).

    A positive angle, in radians, turns from x (right) to y (down): clockwise as seen.
    """
    x, y, angle, a, b = np.broadcast_arrays(x, y, angle, stretch_x, stretch_y)
    cos, sin = np.cos(angle), np.sin(angle)
    rows = [np.stack([cos * a, -sin * b, x], -1), np.stack([sin * a, cos * b, y], -1)]
    return np.stack(rows, -2)


def _displacement(moving: Motion, frame: int) -> Float64[np.ndarray, "height width 2"]:
    """Return the displacement of every pixel from the previous frame to this one."""
    if moving.ndim == 4:
        return moving[frame]
    bottom = [[0.0, 0.0, 1.0]]
    before, after = (np.concatenate([moving[i], bottom]) for i in (frame - 1, frame))
    way = (after @ np.linalg.inv(before))[:2] - np.eye(2, 3)
    points = np.stack([_COLUMNS_PX, _ROWS_PX, np.ones_like(_ROWS_PX)], -1)
    return points @ way.T


class Painting:
    """Frames painted layer by layer, and optionally their optical flow."""

    def __init__(
        self,
        background: Float64[np.ndarray, "height width 3"],
        video_frames: int,
        with_flow: bool = False,
    ) -> None:
        """Start every frame with the same, static background."""
        self.canvas = np.repeat(background[None], video_frames, axis=0)
        self._flow = np.zeros((*self.canvas.shape[:3], 2)) if with_flow else None

    def paint(
        self,
        coverage: Coverage,
        colour_rgb: Colour,
        motion: Motion | Callable[[], Motion] | None = None,
    ) -> None:
        """Paint a colour over the frames; a coverage without leading axis applies to all.

        A motion that is expensive to compute may be a function, called only for the flow.
        """
        paint(self.canvas, coverage, colour_rgb)
        if self._flow is not None:
            seen = np.broadcast_to(coverage >= MIN_COVERAGE, self.canvas.shape[:3])
            motion = motion() if callable(motion) else motion
            for i in range(1, len(seen)):
                way = 0.0 if motion is None else _displacement(motion, i)[seen[i - 1]]
                self._flow[i][seen[i - 1]] = way

    def shrink(self, size_px: int, backdrop: float) -> "Painting":
        """Return the painting shrunk, at the bottom centre of a grey backdrop.

        A pixel is the mean over its area; its flow is that of its centre.
        """
        place = np.arange(FRAME_PX)
        edges = np.linspace(0.0, FRAME_PX, size_px + 1)
        overlap = np.minimum(edges[1:, None], place + 1.0) - np.maximum(edges[:-1, None], place)
        share = np.maximum(overlap, 0.0) * (size_px / FRAME_PX)
        left = (FRAME_PX - size_px) // 2
        here = np.s_[:, FRAME_PX - size_px :, left : left + size_px]
        smaller = Painting(np.full((FRAME_PX, FRAME_PX, 3), backdrop), len(self.canvas))
        rows = np.tensordot(self.canvas, share, (1, 1))  # video_frames width 3 size
        smaller.canvas[here] = np.tensordot(rows, share, (1, 1)).transpose(0, 2, 3, 1)
        if self._flow is not None:
            middle = np.floor(0.5 * (edges[:-1] + edges[1:])).astype(int)
            smaller._flow = np.zeros_like(self._flow)
            smaller._flow[here] = self._flow[:, middle][:, :, middle] * (size_px / FRAME_PX)
        return smaller

    @property
    def frames(self) -> UInt8[np.ndarray, "video_frames height width 3"]:
        """The frames, rounded to bytes."""
        return rounded(self.canvas)

    @property
    def flow(self) -> Float32[np.ndarray, "video_frames height width 2"] | None:
        """Displacement (right, down) in px from frame i - 1 to i, zero for i = 0."""
        return None if self._flow is None else self._flow.astype(np.float32)


def vertical_gradient(top: Colour, bottom: Colour) -> Float64[np.ndarray, "height width 3"]:
    """Return a canvas with a linear gradient from top to bottom."""
    part = np.linspace(0.0, 1.0, FRAME_PX)[:, None, None]
    return np.repeat(top + part * (bottom - top), FRAME_PX, axis=1)


def paint(
    canvas: Float64[np.ndarray, "*lead height width 3"],
    coverage: Float64[np.ndarray, "*#lead height width"],
    colour_rgb: Colour,
) -> None:
    """Paint a colour over the canvas, in place; one coverage applies to all frames."""
    seen = (coverage != 0).reshape(-1, *coverage.shape[-2:]).any(axis=0)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if rows.size:
        box = np.s_[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        part = canvas[(*box, slice(None))]
        part += coverage[box][..., None] * (colour_rgb - part)


def rounded(
    canvas: Float[np.ndarray, "video_frames height width 3"],
) -> UInt8[np.ndarray, "video_frames height width 3"]:
    """Round a canvas to bytes."""
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def box(left: Px, top: Px, right: Px, bottom: Px) -> Coverage:
    """Cover an upright rectangle whose sides may move."""
    place = np.arange(FRAME_PX, dtype=np.float64)

    def within(low: Px, high: Px) -> Float64[np.ndarray, "*lead px"]:
        low, high = np.asarray(low)[..., None], np.asarray(high)[..., None]
        return np.clip(np.minimum(place - low, high - place) + 0.5, 0.0, 1.0)

    return within(top, bottom)[..., :, None] * within(left, right)[..., None, :]
