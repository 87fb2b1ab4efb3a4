"""From videos to files with generated audio: `sonify`, and `stream` for frames as they come."""

from v2s_jax.sonification.by_hand import generate_sound
from v2s_jax.sonification.options import SampleOptions
from v2s_jax.sonification.outputs import GeneratedFiles, Report
from v2s_jax.sonification.pipeline import sonify
from v2s_jax.sonification.settings import GenerationSettings
from v2s_jax.sonification.streaming import AudioBlock, stream, stream_video

__all__ = [
    "AudioBlock",
    "GeneratedFiles",
    "GenerationSettings",
    "Report",
    "SampleOptions",
    "generate_sound",
    "sonify",
    "stream",
    "stream_video",
]
