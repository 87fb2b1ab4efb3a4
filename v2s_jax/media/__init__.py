"""Read video files, write audio and video files. The only user of ffmpeg.

All times count from the moment at which the first frame of the file appears.

ffmpeg is the binary of imageio-ffmpeg. It gets every path as a `file:` URL in an argument list, so
no character of a name is special to it or to a shell.
"""

from v2s_jax.media.audio_tracks import AudioTrack, find_audio_track
from v2s_jax.media.decode import (
    read_audio,
    read_audio_clipped,
    read_audio_file,
    read_video_frames,
)
from v2s_jax.media.encode import (
    write_audio,
    write_clip,
    write_part,
    write_wav,
)
from v2s_jax.media.metadata import Metadata, read_metadata
from v2s_jax.media.mux import Muxed, Original, mp4_supports, mux
from v2s_jax.media.probe import VIDEO_SUFFIXES, Video, audio_start_sec, probe
from v2s_jax.media.stream import PipeReader, StreamingWav
from v2s_jax.media.wav import GENERATED, GENERATED_TAGS, NO_TAGS, Tags

__all__ = [
    "GENERATED",
    "GENERATED_TAGS",
    "NO_TAGS",
    "VIDEO_SUFFIXES",
    "AudioTrack",
    "Metadata",
    "Muxed",
    "Original",
    "PipeReader",
    "StreamingWav",
    "Tags",
    "Video",
    "audio_start_sec",
    "find_audio_track",
    "mp4_supports",
    "mux",
    "probe",
    "read_audio",
    "read_audio_clipped",
    "read_audio_file",
    "read_metadata",
    "read_video_frames",
    "write_audio",
    "write_clip",
    "write_part",
    "write_wav",
]
