"""Decode the frames and the audio of a video, resampled to the clock.

Video frame i is the source frame on display at the middle of its samples, that is
`clock.video_frame_time_sec(i)` after the first source frame appears. Example with the default clock
and a 25 fps video (a source frame every 40 ms): video frames 0, 1, 2 are those on display at 32,
96, 160 ms, which are source frames 0, 2, 4; the last one appears exactly at that time.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Float32, UInt8

from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.media.probe import VIDEO_STREAM, Video
from v2s_jax.media.process import SOURCE_OPTIONS, ffmpeg, url

SCALE_FLAGS = "bilinear+accurate_rnd+full_chroma_int+bitexact"  # the same pixels on every CPU
# One filter graph for the whole file: a new one at a change of size would restart its clock.
_ONE_GRAPH = ("-reinit_filter", "0")
_MAX_FPS = 90_000  # the highest frame rate that ffmpeg guesses for a stream
_MAX_TICKS_PER_SEC = 2**31 - 1  # ffmpeg stores a time base as two 32-bit numbers
_FLOAT32_BYTES = np.dtype(np.float32).itemsize
_MIN_COMPENSATION_SEC = 1e-6  # aligns the first sample exactly; ffmpeg's default is 1 ms


def frame_select_filter(first_frame_sec: Fraction | None, clock: Clock) -> str:
    """Return the filter that selects the source frame of each video frame.

    ffmpeg's `fps` filter gives slot i the last frame with ceil(time * fps) <= i when it rounds up.
    With times moved back by half a video frame, that is the last frame with
    time <= (i + 1/2) / fps: the one on display at that time. The time base makes half a sample a
    whole number of ticks, so a frame that appears exactly at that time is selected.

    The last of these times can be after the end of the video, where `fps` outputs nothing: copies
    of the last frame, at the video's own rate, extend the video. If the time of the first frame is
    unknown, as in a pipe, the video is not extended.
    """
    half_samples_per_sec = 2 * clock.sample_rate_hz
    ticks_per_sec = half_samples_per_sec * max(1, _MAX_TICKS_PER_SEC // half_samples_per_sec)
    origin = ((first_frame_sec or 0) + clock.video_frame_time_sec(0)) * ticks_per_sec
    offset = math.floor(origin + Fraction(1, 2))  # rounded as settb rounds
    rate = f"{clock.fps.numerator}/{clock.fps.denominator}"
    time_base = f"settb=1/{ticks_per_sec},"
    if first_frame_sec is None:
        return f"{time_base}setpts=PTS-STARTPTS-({offset}),fps=fps={rate}:round=up"
    extend = f"tpad=stop={math.ceil(_MAX_FPS / clock.fps)}:stop_mode=clone,"
    return f"{extend}{time_base}setpts=PTS-({offset}),fps=fps={rate}:round=up"


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
        `clock.video_frames(clock.samples(video.duration_sec))` RGB frames, at least one.

    Raises:
        InputError: No frame can be decoded.
        KilledError: ffmpeg was killed.
    """
    select = frame_select_filter(video.first_frame_sec, clock)
    filters = f"{select},scale={width}:{height}:flags={SCALE_FLAGS}"
    source = (*SOURCE_OPTIONS, *_ONE_GRAPH, "-i", url(video.path), "-map", VIDEO_STREAM)
    target = ("-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    last: np.ndarray | None = None
    with ffmpeg(*source, "-vf", filters, *target) as run:
        for _ in range(max(1, clock.video_frames(clock.samples(video.duration_sec)))):
            frame = read_frame(run.output, height, width)
            if frame is None:
                run.wait()
                if last is None:
                    raise InputError(
                        f"{video.path}: no frame can be decoded ({run.first_error()}): "
                        "copy or record it again"
                    )
                frame = last.copy()
            last = frame
            yield frame


def read_frame(
    stream: IO[bytes], height: int, width: int
) -> UInt8[np.ndarray, "height width 3"] | None:
    """Read one raw RGB frame; None at the end of the stream."""
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
    start = video.first_frame_sec
    filters = (
        f"asetpts=PTS-({start.numerator}/{start.denominator})/TB,"
        f"aresample={clock.sample_rate_hz}:async=1:min_comp={_MIN_COMPENSATION_SEC}:first_pts=0"
        ":rematrix_maxval=1,"  # the mean of the channels, which cannot clip
        "aformat=sample_fmts=flt:channel_layouts=mono"
    )
    max_samples = clock.samples(video.duration_sec) + 1
    fix = "give a video whose audio accompanies its frames"
    return _decode_audio(video.path, filters, fix, max_samples)


def read_audio_file(path: Path, sample_rate_hz: int) -> Float32[np.ndarray, " samples"]:
    """Decode the first audio stream of any file, mixed down to mono in [-1, 1].

    Raises InputError when there is none, or it is not finite.
    """
    filters = f"aresample={sample_rate_hz}:rematrix_maxval=1,aformat=channel_layouts=mono"
    return _decode_audio(path, filters, "give a file with audio")


def _decode_audio(
    path: Path, filters: str, fix: str, max_samples: int | None = None
) -> Float32[np.ndarray, " samples"]:
    source = (*SOURCE_OPTIONS, "-i", url(path), "-map", "0:a:0", "-af", filters)
    with ffmpeg(*source, "-c:a", "pcm_f32le", "-f", "f32le", "-") as run:
        size = -1 if max_samples is None else max_samples * _FLOAT32_BYTES
        data = run.output.read(size)
        if len(data) != size:  # all of it: ffmpeg has ended, or is about to
            run.wait()
        if not data:
            reason = run.first_error() or "no data"
            raise InputError(f"{path}: no audio can be decoded ({reason}): {fix}")
    waveform = np.frombuffer(data[: len(data) // _FLOAT32_BYTES * _FLOAT32_BYTES], "<f4")
    if not np.isfinite(waveform).all():
        raise InputError(f"{path}: its audio contains NaN or infinity: encode it again")
    return np.clip(waveform, -1.0, 1.0)
