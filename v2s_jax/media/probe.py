"""Measure a video file: duration, size, codec, whether there is audio.

Short runs of ffmpeg. Some read only headers. One decodes the first frame: its time, its size after
rotation, the frame rate. One copies packets without decoding and reads their display times, about a
hundred times faster than decoding. The whole file is decoded only where packets are not enough:
corrupt data, no display times (raw streams, some AVI and MPEG files), edit lists, GIF.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.media.edit_list import read_edit_end
from v2s_jax.media.process import CORRUPTION, read_file
from v2s_jax.media.streams import TO_ROWS, Stream, choose_video_stream, has_audio_stream
from v2s_jax.media.timeline import NO_TIME, Timeline, read_timelines

# A wrapped frame is passed by reference: no pixels are converted or summed.
_DECODE = ("-c:v", "wrapped_avframe", "-fps_mode", "passthrough")
_FILE_TIMES = ("-enc_time_base", "demux")
_ROUNDED_TICK_SEC = Fraction(1, 1_000)  # Matroska, FLV and ASF round times to 1 ms
_HOUR_SEC = 3_600

MAX_VIDEO_SEC = 24 * _HOUR_SEC
"""Longest video (ours): longer than any recording; corrupt times claim years."""

MAX_ASPECT = 8
"""Images are drawn at most this many times as wide as high: pixels can claim any shape."""

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"}
    | {".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
"""Suffixes that count as a video in a folder; `probe` checks the content."""


@dataclass(frozen=True)
class Video:
    """What `probe` found."""

    path: Path
    stream: str
    """ffmpeg's specifier of the video stream."""
    duration_sec: Fraction
    """From the appearance of the first frame to the end of the last one, without audio."""
    width: int
    """Width as displayed: after rotation, in square pixels."""
    height: int
    """Height as displayed: after rotation, in square pixels."""
    codec: str
    """ffmpeg's name of the video codec."""
    has_audio: bool
    """Whether there is an audio stream."""
    warnings: tuple[str, ...]
    """Warnings for the user: one line each, naming the file."""
    first_frame_sec: Fraction
    """Timestamp of the first frame in the file."""
    audio_zero_sec: Fraction
    """Timestamp of the audio that is played as the first frame appears: that of the frame, but
    in AVI without display times that of the first packet, since the decoder's guess is late."""
    packets: Timeline
    """Display times of the packets."""
    copy_fault: str | None
    """Why a copy of the packets would show other images than the file does; None if it would not.
    """

    def width_at(self, height_px: int) -> int:
        """Return the width at another height."""
        width = round(self.width * height_px / self.height)
        return min(max(1, width), MAX_ASPECT * height_px)


def probe(path: Path) -> Video:
    """Measure a video file.

    A corrupt or truncated file is measured by what can be decoded, with a warning. There is no
    warning where the format hides the corruption: a cut at the end of MPEG-TS, Ogg or ASF, wrong
    bits inside a frame.

    Args:
        path: A file of any container in `FORMATS` and any codec that ffmpeg reads.

    Raises:
        InputError: The file is not a video with at least one frame, or refers to other files.
    """
    stream = choose_video_stream(path)
    first, frame_sec = _read_first_frame(path, stream)
    is_avi = _is_avi(path)
    packets, frames, corruption = _read_timeline(path, stream)
    shown = packets if frames is None else frames
    duration_sec = _duration_sec(shown, first.first_sec, is_avi, frame_sec)
    edits = read_edit_end(path)
    if edits is not None and 0 < edits.time_sec - first.first_sec < duration_sec - edits.tick_sec:
        duration_sec = edits.time_sec - first.first_sec
    check_duration(path, duration_sec)
    if corruption is None and is_avi:
        corruption = _missing_riff_bytes(path)
    warnings = [] if stream.warning is None else [stream.warning]
    if corruption is not None:
        warnings.append(
            f"{path}: corrupt or cut off ({corruption}): using the {shown.frames} frames "
            f"({float(duration_sec):.3f} s) that can be read"
        )
    if shown.frames == 1:
        warnings.append(f"{path}: has one frame only, shown for {float(duration_sec):.3f} s")
    return Video(
        path=path,
        stream=stream.selector,
        duration_sec=duration_sec,
        width=max(1, round(first.width * (first.pixel_aspect or 1))),
        height=first.height,
        codec=stream.codec,
        has_audio=has_audio_stream(path),
        warnings=tuple(warnings),
        first_frame_sec=first.first_sec,
        audio_zero_sec=_audio_zero_sec(packets, first, is_avi),
        packets=packets,
        copy_fault=_copy_fault(packets, frames),
    )


def _read_first_frame(path: Path, stream: Stream) -> tuple[Timeline, Fraction | None]:
    """Return the time and size of the first frame, and the time of one frame."""
    # The encoder's time base is that of the file, or, by default, the inverse of the frame rate.
    # Both streams end when one has its last frame, so that one frame could be too few.
    maps = ("-map", stream.selector, "-map", stream.selector)
    time_bases = ("-enc_time_base:v:0", "demux", "-enc_time_base:v:1", "0")
    with read_file(path, *maps, "-frames:v", "3", *_DECODE, *time_bases, *TO_ROWS) as run:
        timelines = read_timelines(run.output)
        run.wait()
        if not timelines or not timelines[0].frames:
            raise InputError(
                f"{path}: no frame can be decoded ({run.first_error() or 'no data'}): copy or "
                "record it again"
            )
    frame_sec = timelines[1].tick_sec
    return timelines[0], None if frame_sec <= _ROUNDED_TICK_SEC else frame_sec


def _read_timeline(path: Path, stream: Stream) -> tuple[Timeline, Timeline | None, str | None]:
    """Return the times of the packets, those of the frames if packets are not enough, and, for a
    corrupt file, ffmpeg's message about it.
    """
    packets, corruption = _read_times(path, stream.selector, "-c", "copy")
    enough = packets.complete and packets.frames and not packets.hidden
    # Only decoding shows that a GIF is cut off.
    if enough and corruption is None and packets.codec != "gif":
        return packets, None, None
    frames, decoding_corruption = _read_times(path, stream.selector, *_DECODE, *_FILE_TIMES)
    if not frames.frames:
        raise InputError(f"{path}: changed while it was read: try again")
    return packets, frames, corruption or decoding_corruption


def read_packets(path: Path) -> Timeline:
    """Return the times of all packets of a file's only video stream, key frame or not."""
    return _read_times(path, "0:V:0", "-c", "copy", "-copyinkf")[0]


def _read_times(path: Path, selector: str, *target: str) -> tuple[Timeline, str | None]:
    with read_file(path, "-map", selector, *target, *TO_ROWS) as run:
        timelines = read_timelines(run.output)
        run.wait()
        return timelines.get(0, Timeline()), run.first_error(CORRUPTION)


def _audio_zero_sec(packets: Timeline, first: Timeline, is_avi: bool) -> Fraction:
    start = packets.first_decoding_time
    if not is_avi or packets.complete or start is None or start == NO_TIME:
        return first.first_sec
    return start * packets.tick_sec


def _copy_fault(packets: Timeline, frames: Timeline | None) -> str | None:
    if packets.hidden:
        return "an edit list hides parts of it"
    if not packets.complete:
        return "packets are corrupt or have no display times"
    if frames is not None and frames.frames != packets.frames:
        return "some of its packets cannot be decoded"
    return None


def check_duration(source: Path | str, duration_sec: Fraction) -> None:
    """Raise InputError for a video longer than `MAX_VIDEO_SEC`."""
    if duration_sec > MAX_VIDEO_SEC:
        raise InputError(
            f"{source}: lasts {float(duration_sec):.0f} s by its timestamps, more than "
            f"{MAX_VIDEO_SEC // _HOUR_SEC} hours: cut it, or encode it again if they are wrong"
        )


def audio_start_sec(video: Video) -> Fraction | None:
    """Return the time from the first frame to the first audio; None when none can be decoded."""
    with read_file(video.path, "-map", "0:a:0", "-frames:a", "1", *TO_ROWS) as run:
        audio = read_timelines(run.output).get(0)
        run.wait()
    return audio.first_sec - video.audio_zero_sec if audio and audio.frames else None


def _duration_sec(
    timeline: Timeline, first_frame_sec: Fraction, is_avi: bool, frame_sec: Fraction | None
) -> Fraction:
    """Return the time from the appearance of the first frame to the end of the last one."""
    last_frame_sec = timeline.last_duration * timeline.tick_sec
    if last_frame_sec <= 0 or is_avi:
        # AVI stores no durations: ffmpeg reports one tick, whatever the frame rate.
        last_frame_sec = frame_sec or 1 / Clock().fps
    measured = timeline.last_sec + last_frame_sec - first_frame_sec
    if frame_sec and timeline.tick_sec == _ROUNDED_TICK_SEC:
        # The rate is constant if only the rounding of times makes a difference.
        constant = timeline.frames * frame_sec
        if abs(measured - constant) <= _ROUNDED_TICK_SEC:
            return constant
    return measured


def _is_avi(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.read(12)
    return header.startswith(b"RIFF") and header.endswith(b"AVI ")


def _missing_riff_bytes(path: Path) -> str | None:
    """Say how many bytes are missing from the first list of an AVI: ffmpeg does not."""
    with path.open("rb") as file:
        header = file.read(8)
    missing = 8 + int.from_bytes(header[4:8], "little") - path.stat().st_size
    return f"{missing} bytes are missing" if missing > 0 else None
