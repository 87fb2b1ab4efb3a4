"""Whether a copy of a video's packets shows the same images, and what is written where not."""

from fractions import Fraction
from pathlib import Path

from v2s_jax.media.probe import Video, read_packets

_TOLERANCE_SEC = Fraction(1, 500)  # Matroska rounds times to 1 ms

_CRF = 18  # x264's "visually lossless"; lower is better


def encode_again(video: Video) -> tuple[str, ...]:
    """Return ffmpeg's arguments that encode all shown frames as H.264."""
    late_sec = video.first_frame_sec - video.audio_zero_sec
    end_sec = video.first_frame_sec + video.duration_sec
    filters = (
        f"trim=end={float(end_sec):.6f},"
        f"setpts=PTS-({late_sec.numerator}/{late_sec.denominator})/TB,"
        "scale='max(2,trunc(iw/2)*2)':'max(2,trunc(ih/2)*2)'"  # 4:2:0 needs even sizes
    )
    return (
        # Frames keep their times and are never repeated.
        *("-fps_mode", "passthrough", "-enc_time_base:v", "demux", "-vf", filters),
        # No lookahead and no B-frames: memory for a few frames. MP4 stores durations in decoding
        # order.
        *("-c:v", "libx264", "-crf", str(_CRF), "-preset", "veryfast", "-tune", "zerolatency"),
        *("-pix_fmt", "yuv420p"),
    )


class CopyDiffersError(Exception):
    """A copy would not show the same images at the same times; the message says why."""


def check_copy(video: Video, copy: Path) -> None:
    """Raise CopyDiffersError unless a copy has the packets of `video` at the same times.

    Equal packets at equal times look equal. The first image appears as the audio starts.
    """
    source, copied = video.packets, read_packets(copy)
    if copied.hidden or not copied.complete:
        raise CopyDiffersError("its timestamps cannot be written")
    if copied.frames != source.frames:
        raise CopyDiffersError(f"it has {copied.frames} of {source.frames} images")
    shift_sec = video.first_frame_sec
    differences_sec = (
        copied.first_sec,
        copied.first_sec - (source.first_sec - shift_sec),
        copied.last_sec - (source.last_sec - shift_sec),
        copied.mean_sec - (source.mean_sec - shift_sec),
    )
    if max(map(abs, differences_sec)) > _TOLERANCE_SEC:
        raise CopyDiffersError("its timestamps cannot be written")
