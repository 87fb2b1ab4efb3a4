"""The paper's figure 4 and its parts: key frames over a waveform and its spectrogram."""

from v2s_jax.figures.key_frames import Marks, key_frame_figure, key_frame_indices, waveform_image
from v2s_jax.figures.tags import read_png_tags

__all__ = ["Marks", "key_frame_figure", "key_frame_indices", "read_png_tags", "waveform_image"]
