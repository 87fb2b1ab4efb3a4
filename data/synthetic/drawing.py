"""Anti-aliased shapes in NumPy: coverage in [0, 1] per pixel, painted over a canvas.

Coordinates are pixels, x to the right and y down, (0, 0) the centre of the top left pixel. A
shape's edge is one pixel wide. Only sums, products and square roots touch the pixels, and the
canvas is rounded once, so every machine draws the same bytes.

Leading axes of the arguments lead the coverage: end points [video_frames] give a coverage
[video_frames height width], plain numbers give [height width].
"""

import colorsys

import numpy as np
from jaxtyping import Float, Float64, Int, UInt8

PICTURE_PX = 128
"""Height and width of a picture: twice the 64 px that the weight-free features look at."""

_ROWS_PX, _COLUMNS_PX = np.mgrid[:PICTURE_PX, :PICTURE_PX].astype(np.float64)
_NEARLY_ZERO = 1e-9  # keeps the quotients at an ellipse's centre and of a one-point bar finite

Px = Float64[np.ndarray, "*lead"] | float
Coverage = Float64[np.ndarray, "*lead height width"]
Colour = Float64[np.ndarray, "3"]


def colour(hue: float, saturation: float, value: float) -> Colour:
    """Return the RGB colour, 0 to 255, of a hue, saturation and value in [0, 1]."""
    return 255.0 * np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def _lead(px: Px) -> Float64[np.ndarray, "*lead 1 1"]:
    return np.asarray(px, np.float64)[..., None, None]


def bar(x0: Px, y0: Px, x1: Px, y1: Px, radius_px: float) -> Coverage:
    """Cover a bar with round ends between two points; the same point twice gives a disc."""
    x0, y0, x1, y1 = _lead(x0), _lead(y0), _lead(x1), _lead(y1)
    along_x, along_y = x1 - x0, y1 - y0
    from_x, from_y = _COLUMNS_PX - x0, _ROWS_PX - y0
    length2 = np.maximum(along_x**2 + along_y**2, _NEARLY_ZERO)
    part = np.clip((from_x * along_x + from_y * along_y) / length2, 0.0, 1.0)
    distance = np.sqrt((from_x - part * along_x) ** 2 + (from_y - part * along_y) ** 2)
    return np.clip(radius_px + 0.5 - distance, 0.0, 1.0)


def ellipse(x: Px, y: Px, half_width_px: Px, half_height_px: Px) -> Coverage:
    """Cover an upright ellipse; its edge distance is the first-order one."""
    a, b = _lead(half_width_px), _lead(half_height_px)
    dx, dy = (_COLUMNS_PX - _lead(x)) / a, (_ROWS_PX - _lead(y)) / b
    level = np.sqrt(dx**2 + dy**2)
    slope = np.maximum(np.sqrt((dx / a) ** 2 + (dy / b) ** 2), _NEARLY_ZERO)
    return np.clip(0.5 - level * (level - 1.0) / slope, 0.0, 1.0)


def rectangle(left: float, top: float, right: float, bottom: float) -> Coverage:
    """Cover an upright rectangle."""
    return column(0.5 * (left + right), np.full(PICTURE_PX, 0.5 * (right - left)), top, bottom)


def column(
    x: float, half_width_px: Float64[np.ndarray, "*lead height"], top: float, bottom: float
) -> Coverage:
    """Cover an upright column whose half width is given for every row."""
    rows = np.arange(PICTURE_PX)
    inside = np.clip(np.minimum(rows - top, bottom - rows) + 0.5, 0.0, 1.0)
    half = half_width_px[..., None]
    across = np.clip(half + 0.5 - np.abs(np.arange(PICTURE_PX) - x), 0.0, 1.0)
    return across * inside[:, None] * np.minimum(1.0, 2.0 * half)  # thinner than a pixel: fainter


def dots(
    video_frames: int,
    picture: Int[np.ndarray, "dots"],
    x: Float64[np.ndarray, "dots"],
    y: Float64[np.ndarray, "dots"],
    radius_px: float,
) -> Float64[np.ndarray, "video_frames height width"]:
    """Cover many equal discs, each in the picture of its number; parts outside are cut off."""
    covered = np.zeros((video_frames, PICTURE_PX, PICTURE_PX))
    reach = int(np.ceil(radius_px + 0.5))
    near = np.arange(-reach, reach + 2)
    rows = np.floor(y)[:, None, None] + near[:, None]
    columns = np.floor(x)[:, None, None] + near
    distance = np.sqrt((rows - y[:, None, None]) ** 2 + (columns - x[:, None, None]) ** 2)
    part = np.clip(radius_px + 0.5 - distance, 0.0, 1.0)
    inside = (part > 0) & (rows >= 0) & (rows < PICTURE_PX)
    inside &= (columns >= 0) & (columns < PICTURE_PX)
    pictures, rows, columns = np.broadcast_arrays(picture[:, None, None], rows, columns)
    where = pictures[inside], rows[inside].astype(int), columns[inside].astype(int)
    np.maximum.at(covered, where, part[inside])
    return covered


def shaded(top: Colour, bottom: Colour) -> Float64[np.ndarray, "height width 3"]:
    """Return a canvas that passes evenly from one colour to another, downwards."""
    part = np.linspace(0.0, 1.0, PICTURE_PX)[:, None, None]
    return np.repeat(top + part * (bottom - top), PICTURE_PX, axis=1)


def paint(
    canvas: Float64[np.ndarray, "*lead height width 3"],
    coverage: Float64[np.ndarray, "*#lead height width"],
    paint_colour: Colour,
) -> None:
    """Lay a colour over the canvas, in place; one coverage does for all pictures."""
    canvas += coverage[..., None] * (paint_colour - canvas)


def rounded(
    canvas: Float[np.ndarray, "video_frames height width 3"],
) -> UInt8[np.ndarray, "video_frames height width 3"]:
    """Round a canvas to bytes."""
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
