"""Decode the frames and the audio of a video, resampled to the clock.

Video frame i is the source frame on display at the middle of its samples, that is
`clock.video_frame_time_sec(i)` after the first source frame appears. Example with the default clock
and a 25 fps video (a source frame every 40 ms): video frames 0, 1, 2 are those on display at 32,
96, 160 ms, which are source frames 0, 2, 4; the last one appears exactly at that time.
"""

import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from fractions import Fraction
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from v2s_jax.config import Clock
from v2s_jax.errors import DecodeError, InputError
from v2s_jax.media.audio_tracks import find_audio_track
from v2s_jax.media.probe import Video
from v2s_jax.media.process import Run, read_file
from v2s_jax.media.timeline import NO_TIME, Timeline, parse_row

_SCALE_FLAGS = "bilinear+accurate_rnd+full_chroma_int+bitexact"  # the same pixels on every CPU
_FLOAT32_BYTES = np.dtype(np.float32).itemsize
_MIN_COMPENSATION_SEC = 1e-6  # aligns the first sample exactly; ffmpeg's default is 1 ms
_READ_BYTES = 2**20
_AUDIO_MARGIN_SEC = 1  # of audio after the frames

Image = UInt8[np.ndarray, "height width 3"]


class SourceFrame(NamedTuple):
    """A frame of the source, resized."""

    time_sec: Fraction
    """When it appears, by the timestamps of the source."""
    duration_sec: Fraction
    image: UInt8[np.ndarray, "height width 3"]


def read_video_frames(
    video: Video, clock: Clock, height: int, width: int
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Decode the video frames one at a time, each resized whole. A gap repeats the frame before it.

    Args:
        video: What `probe` returned.
        clock: Gives the frame rate and the number of video frames.
        height: Height of the result in px.
        width: Width of the result in px.

    Returns:
        `clock.video_frames(clock.samples(video.duration_sec))` RGB frames, at least one. Repeated
        frames are one array.

    Raises:
        InputError: No frame can be decoded.
        KilledError: ffmpeg was killed.
    """
    count = max(1, clock.video_frames(clock.samples(video.duration_sec)))
    start = partial(read_file, video.path)
    with closing(read_source_frames(start, video.stream, height, width)) as frames:
        images = hold_frames(frames, clock, video.first_frame_sec)
        try:
            yield from islice(images, count)
        except DecodeError as error:
            raise InputError(
                f"{video.path}: no frame can be decoded ({error}): copy or record it again"
            ) from error


def hold_frames(
    frames: Iterable[SourceFrame], clock: Clock, first_frame_sec: Fraction | None = None
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Yield what is on display at the middle of each video frame; the last image without end.

    ffmpeg's `fps` filter does the same, but makes all repetitions of a gap at once. Without
    `first_frame_sec`, time counts from the first frame.
    """
    image, count = None, 0
    for frame in frames:
        if first_frame_sec is None:
            first_frame_sec = frame.time_sec
        # The first video frame whose middle is not before this frame.
        due = math.ceil((frame.time_sec - first_frame_sec) * clock.fps - Fraction(1, 2))
        if image is not None:
            yield from repeat(image, max(0, due - count))
            count = max(count, due)
        image = frame.image
    if image is not None:
        yield from repeat(image)


def read_source_frames(
    start: Callable[..., AbstractContextManager[Run]], stream: str, height: int, width: int
) -> Generator[SourceFrame, None, None]:
    """Decode all frames, each once, with their times.

    The `tee` muxer writes each frame's row to one pipe, then its pixels to another one.

    Args:
        start: Runs ffmpeg on the source: `read_file` or `read_pipe`, with their first argument.
        stream: ffmpeg's stream specifier.
        height: Height of the result in px.
        width: Width of the result in px.

    Raises:
        DecodeError: No frame can be decoded.
        InputError: As `Run.wait`.
    """
    rows, rows_end = os.pipe()
    arguments = (
        *("-map", stream, "-vf", f"scale={width}:{height}:flags={_SCALE_FLAGS}"),
        *("-fps_mode", "passthrough", "-enc_time_base", "demux", "-flush_packets", "1"),
        # With more threads the encoder holds back a frame for each, and live video is late.
        *("-c:v", "rawvideo", "-threads", "1", "-pix_fmt", "rgb24", "-f", "tee"),
        f"[f=framecrc:flush_packets=1]pipe:{rows_end}|[f=rawvideo]pipe:1",
    )
    timeline = Timeline()
    with ExitStack() as stack:
        lines = stack.enter_context(os.fdopen(rows, "rb"))
        try:
            run = stack.enter_context(start(*arguments, pass_fds=(rows_end,)))
        finally:
            os.close(rows_end)
        is_empty = True
        for line in lines:
            row = parse_row(line)
            if row is None:
                timeline.add_header(line)
                continue
            image = _read_image(run.output, height, width)
            if image is None:
                break
            if row.time == NO_TIME:
                continue
            is_empty = False
            yield SourceFrame(row.time * timeline.tick_sec, row.duration * timeline.tick_sec, image)
        run.wait()
        if is_empty:
            raise DecodeError(run.first_error() or "no data")


def last_frame_before(video: Video, time_sec: float) -> Fraction:
    """Return the timestamp of the frame that is on display at `time_sec`, or of the first one.

    Raises DecodeError when no frame can be decoded.
    """
    found = video.first_frame_sec
    start = partial(read_file, video.path)
    with closing(read_source_frames(start, video.stream, 1, 1)) as frames:
        for frame in frames:
            if frame.time_sec > time_sec:
                break
            found = frame.time_sec
    return found


def _read_image(stream: IO[bytes], height: int, width: int) -> Image | None:
    """Read one raw RGB image; None at the end of the stream."""
    size = height * width * 3
    data = stream.read(size)
    if len(data) < size:
        return None
    return np.frombuffer(bytearray(data), np.uint8).reshape(height, width, 3)


def read_audio(video: Video, clock: Clock) -> Float32[np.ndarray, " samples"]:
    """Decode the audio that accompanies the frames, mixed down to mono in [-1, 1].

    Sample 0 is played as the first frame appears. Audio before or after the frames is cut; where
    there is none, samples are zero.

    Args:
        video: What `probe` returned.
        clock: Gives the sample rate.

    Returns:
        Exactly `clock.samples(video.duration_sec)` samples.

    Raises:
        InputError: There is no audio, or none can be decoded.
    """
    waveform = np.zeros(clock.samples(video.duration_sec), np.float32)
    samples = read_audio_clipped(video, clock)[: len(waveform)]
    waveform[: len(samples)] = samples
    return waveform


def read_audio_clipped(video: Video, clock: Clock) -> Float32[np.ndarray, " samples"]:
    """Decode the audio as `read_audio`, without padding.

    The result has fewer samples than `clock.samples(video.duration_sec)` if the audio ends before
    the frames, and one more if it goes on after them.
    """
    if not video.has_audio:
        raise InputError(f"{video.path}: has no audio: give a video with audio")
    start, end = video.audio_zero_sec, video.audio_zero_sec + video.duration_sec
    filters = (
        # Audio far behind the frames must not be reached: the gap before it is filled in memory.
        f"atrim=end={float(end + _AUDIO_MARGIN_SEC):.6f},"
        f"asetpts=PTS-({start.numerator}/{start.denominator})/TB,"
        f"aresample={clock.sample_rate_hz}:async=1:min_comp={_MIN_COMPENSATION_SEC}:first_pts=0"
        ":rematrix_maxval=1,"  # the mean of the channels, which cannot clip
        "aformat=sample_fmts=flt:channel_layouts=mono"
    )
    max_samples = clock.samples(video.duration_sec) + 1
    fix = "give a video whose audio accompanies its frames"
    return _decode_audio(video.path, filters, fix, max_samples)


def read_audio_file(
    path: Path, sample_rate_hz: int, max_samples: int | None = None
) -> Float32[np.ndarray, " samples"]:
    """Decode the first audio track of any file that can be decoded, mixed down to mono in [-1, 1].

    At most `max_samples` are read. Raises InputError when there is none, or it is not finite.
    """
    filters = f"aresample={sample_rate_hz}:rematrix_maxval=1,aformat=channel_layouts=mono"
    return _decode_audio(path, filters, "give a file with audio", max_samples)


def _decode_audio(
    path: Path, filters: str, fix: str, max_samples: int | None, number: int = 0
) -> Float32[np.ndarray, " samples"]:
    """Decode an audio track; if that is the first and cannot be decoded, the first that can."""
    max_bytes = None if max_samples is None else max_samples * _FLOAT32_BYTES
    output = ("-c:a", "pcm_f32le", "-f", "f32le", "-")
    with read_file(path, "-map", f"0:a:{number}", "-af", filters, *output) as run:
        data = _read_bytes(run.output, max_bytes)
        if len(data) != max_bytes:  # all of it: ffmpeg has ended, or is about to
            run.wait()
        if not data:
            reason = run.first_error() or "no data"
            track, _ = find_audio_track(path) if number == 0 else (None, None)
            if track is not None and track.number > 0:
                return _decode_audio(path, filters, fix, max_samples, track.number)
            raise InputError(f"{path}: no audio can be decoded ({reason}): {fix}")
    del data[len(data) // _FLOAT32_BYTES * _FLOAT32_BYTES :]
    waveform = np.frombuffer(data, "<f4")
    if not np.isfinite(waveform).all():
        raise InputError(f"{path}: its audio contains NaN or infinity: encode it again")
    return np.clip(waveform, -1.0, 1.0, out=waveform)


def _read_bytes(stream: IO[bytes], max_bytes: int | None) -> bytearray:
    """Read up to the end or `max_bytes`, in memory for what there is, not for what is asked."""
    data = bytearray()
    while max_bytes is None or len(data) < max_bytes:
        rest = _READ_BYTES if max_bytes is None else min(_READ_BYTES, max_bytes - len(data))
        piece = stream.read(rest)
        if not piece:
            break
        data += piece
    return data
