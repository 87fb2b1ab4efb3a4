"""Video files in (pictures, sound), sound and video files out. The only user of ffmpeg.

`probe` and `audio_start_sec` say what a file holds, `read_video_frames` and `read_audio`
(`read_audio_clipped`: only until it ends) bring it onto the clock, `write_wav`, `write_sound`, `mux`,
`write_clip` and `write_part` write. All times count from the moment at which the first picture of
the file appears.

ffmpeg is the binary that imageio-ffmpeg brings. It gets every path as a `file:` URL in an
argument list, so no character in a name means anything to it or to a shell.
"""

from v2s_jax.media.decode import (
    read_audio,
    read_audio_clipped,
    read_audio_file,
    read_video_frames,
)
from v2s_jax.media.encode import (
    Original,
    mux,
    pcm16,
    write_clip,
    write_part,
    write_sound,
    write_wav,
)
from v2s_jax.media.pipe import PipeReader
from v2s_jax.media.probe import VIDEO_SUFFIXES, Video, audio_start_sec, probe
from v2s_jax.media.streaming_wav import StreamingWav

__all__ = [
    "VIDEO_SUFFIXES",
    "Original",
    "PipeReader",
    "StreamingWav",
    "Video",
    "audio_start_sec",
    "mux",
    "pcm16",
    "probe",
    "read_audio",
    "read_audio_clipped",
    "read_audio_file",
    "read_video_frames",
    "write_clip",
    "write_part",
    "write_sound",
    "write_wav",
]
