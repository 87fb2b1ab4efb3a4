"""The audio that generated audio starts with and continues."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from v2s_jax.config import Config
from v2s_jax.media import read_audio_file
from v2s_jax.quantize import quantize


def read_prefix(path: Path, config: Config, longest: int) -> UInt8[np.ndarray, " samples"]:
    """Read whole big frames of a file, up to the first that leaves nothing of `longest` samples."""
    big_frame = config.model.big_frame_size
    waveform = read_audio_file(Path(path), config.clock.sample_rate_hz, longest + big_frame)
    samples = len(waveform) // big_frame * big_frame
    return quantize(waveform[:samples], config.model.q_levels, config.model.quantization)
