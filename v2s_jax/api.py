"""The Python API.

`sonify` generates audio for video files, `stream` for video frames as they come. Both take
`SampleOptions`; their defaults use a pretrained model.
"""

from v2s_jax.sonification import (
    AudioBlock,
    GeneratedFiles,
    GenerationSettings,
    Report,
    SampleOptions,
    sonify,
    stream,
)

__all__ = [
    "AudioBlock",
    "GeneratedFiles",
    "GenerationSettings",
    "Report",
    "SampleOptions",
    "sonify",
    "stream",
]
