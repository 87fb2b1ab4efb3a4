"""The paper's figure 4 and its parts: key frames over a waveform and its spectrogram."""

from v2s_jax.figures.key_frames import Marks, key_frame_figure, key_frame_indices, waveform_image

__all__ = ["Marks", "key_frame_figure", "key_frame_indices", "waveform_image"]
