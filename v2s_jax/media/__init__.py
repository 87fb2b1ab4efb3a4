"""Video files in (pictures, sound), sound and video files out. The only user of ffmpeg.

`probe` and `sound_begins_sec` say what a file holds, `read_video_frames` and `read_sound`
(`read_sounding`: only until it ends) bring it onto the clock, `write_wav`, `write_sound`, `mux`,
`write_clip` and `write_part` write. All times count from the moment at which the first picture of
the file appears.

ffmpeg is the binary that imageio-ffmpeg brings. It gets every path as a `file:` URL in an
argument list, so no character in a name means anything to it or to a shell.
"""

from v2s_jax.media.growing import GrowingWav
from v2s_jax.media.piping import PipedVideo
from v2s_jax.media.probing import VIDEO_SUFFIXES, Video, probe, sound_begins_sec
from v2s_jax.media.reading import (
    read_sound,
    read_sound_file,
    read_sounding,
    read_video_frames,
)
from v2s_jax.media.writing import (
    Original,
    mux,
    pcm16,
    write_clip,
    write_part,
    write_sound,
    write_wav,
)

__all__ = [
    "VIDEO_SUFFIXES",
    "GrowingWav",
    "Original",
    "PipedVideo",
    "Video",
    "mux",
    "pcm16",
    "probe",
    "read_sound",
    "read_sound_file",
    "read_sounding",
    "read_video_frames",
    "sound_begins_sec",
    "write_clip",
    "write_part",
    "write_sound",
    "write_wav",
]
