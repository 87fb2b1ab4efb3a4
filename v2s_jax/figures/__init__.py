"""The paper's figure 4 and its parts: key frames over a waveform and its spectrogram."""

from typing import TYPE_CHECKING, Any

from v2s_jax.figures.process import FigureProcess
from v2s_jax.figures.selection import key_frame_indices

if TYPE_CHECKING:
    from v2s_jax.figures.key_frames import Marks, key_frame_figure, waveform_image
    from v2s_jax.figures.tags import read_png_tags

__all__ = [
    "FigureProcess",
    "Marks",
    "key_frame_figure",
    "key_frame_indices",
    "read_png_tags",
    "waveform_image",
]


def __getattr__(name: str) -> Any:
    # Imported on demand: a `FigureProcess` needs neither Matplotlib nor Pillow here.
    if name in ("Marks", "key_frame_figure", "waveform_image"):
        from v2s_jax.figures import key_frames

        return getattr(key_frames, name)
    if name == "read_png_tags":
        from v2s_jax.figures import tags

        return tags.read_png_tags
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
