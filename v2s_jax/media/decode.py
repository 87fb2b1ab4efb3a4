"""Bring a video's pictures and sound onto the clock.

Video frame i is the picture on display at the middle of its samples, `clock.picture_time_sec(i)`
after the first picture appears. Example with the default clock and a 25 fps video (a picture each
40 ms): video frames 0, 1, 2 stand for 32, 96, 160 ms and are pictures 0, 2, 4; the last one
appears exactly at its instant.
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

SCALING = "bilinear+accurate_rnd+full_chroma_int+bitexact"  # the same pixels on every CPU
# One filter graph for the whole file: a new one at a change of size would start its clock anew.
_ONE_GRAPH = ("-reinit_filter", "0")
_FINEST_RATE_HZ = 90_000  # the highest picture rate that ffmpeg guesses for a stream
_MAX_TICKS_PER_SEC = 2**31 - 1  # ffmpeg keeps a time base in two 32-bit numbers
_FLOAT32_BYTES = np.dtype(np.float32).itemsize
_MIN_COMPENSATION_SEC = 1e-6  # the first sample is placed to the sample; ffmpeg's own is 1 ms


def frame_select_filter(first_picture_sec: Fraction | None, clock: Clock) -> str:
    """Return the filter that lets through one picture for each video frame.

    ffmpeg's `fps` filter gives slot i the last picture with ceil(time * fps) <= i when it rounds
    up. With times moved back by half a video frame, that is the last picture with
    time <= (i + 1/2) / fps: the one on display at that instant. Ticks of whole half-samples make
    every such instant a whole number, so a picture that appears exactly then is chosen.

    The last instant can lie behind the end of the video, where `fps` gives nothing any more: a
    tail of copies of the last picture, at the video's own rate, reaches over it. Where the first
    picture's time is not known, as in a pipe, there is no tail, and it is taken as it comes.
    """
    half_samples_per_sec = 2 * clock.sample_rate_hz
    ticks_per_sec = half_samples_per_sec * max(1, _MAX_TICKS_PER_SEC // half_samples_per_sec)
    origin = ((first_picture_sec or 0) + clock.picture_time_sec(0)) * ticks_per_sec
    moved = math.floor(origin + Fraction(1, 2))  # rounded as settb rounds
    rate = f"{clock.fps.numerator}/{clock.fps.denominator}"
    on_clock = f"settb=1/{ticks_per_sec},"
    if first_picture_sec is None:
        return f"{on_clock}setpts=PTS-STARTPTS-({moved}),fps=fps={rate}:round=up"
    copies = math.ceil(_FINEST_RATE_HZ / clock.fps)
    return (
        f"tpad=stop={copies}:stop_mode=clone,{on_clock}setpts=PTS-({moved}),fps=fps={rate}:round=up"
    )


def read_video_frames(
    video: Video, clock: Clock, height: int, width: int
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Read the picture of every video frame, in RGB, resized whole to `height` x `width`.

    Gives `clock.video_frames(clock.samples(video.duration_sec))` pictures, at least one, and
    holds one at a time. A gap in the video keeps showing the picture before it.

    Raises InputError when nothing can be decoded any more, KilledError when ffmpeg was killed.
    """
    filters = f"{frame_select_filter(video.first_picture_sec, clock)},scale={width}:{height}:flags={SCALING}"
    source = (*SOURCE_OPTIONS, *_ONE_GRAPH, "-i", url(video.path), "-map", VIDEO_STREAM)
    target = ("-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    held: np.ndarray | None = None
    with ffmpeg(*source, "-vf", filters, *target) as run:
        for _ in range(max(1, clock.video_frames(clock.samples(video.duration_sec)))):
            picture = read_picture(run.output, height, width)
            if picture is None:
                run.end()
                if held is None:
                    raise InputError(
                        f"{video.path}: no picture can be decoded ({run.first_error()}): "
                        "copy or record it again"
                    )
                picture = held.copy()
            held = picture
            yield picture


def read_picture(
    stream: IO[bytes], height: int, width: int
) -> UInt8[np.ndarray, "height width 3"] | None:
    """Read one raw picture; None when the stream has ended."""
    size = height * width * 3
    data = stream.read(size)
    if len(data) < size:
        return None
    return np.frombuffer(bytearray(data), np.uint8).reshape(height, width, 3)


def read_audio(video: Video, clock: Clock) -> Float32[np.ndarray, " samples"]:
    """Read the sound that accompanies the pictures, in mono within [-1, 1].

    Sample 0 sounds as the first picture appears, and there are exactly
    `clock.samples(video.duration_sec)`: what sounds before or after the pictures is cut, and
    where nothing sounds there are zeros.

    Raises InputError when there is no sound, or none of it can be decoded.
    """
    waveform = np.zeros(clock.samples(video.duration_sec), np.float32)
    audio_args = read_audio_clipped(video, clock)[: len(waveform)]
    waveform[: len(audio_args)] = audio_args
    return waveform


def read_audio_clipped(video: Video, clock: Clock) -> Float32[np.ndarray, " samples"]:
    """Read the sound as `read_audio`, but only until it ends.

    Fewer samples than `clock.samples(video.duration_sec)` say that the sound ends before the
    pictures; one more sample than that, that it goes on after them.
    """
    if not video.has_sound:
        raise InputError(f"{video.path}: holds no sound: give a video with sound")
    start = video.first_picture_sec
    filters = (
        f"asetpts=PTS-({start.numerator}/{start.denominator})/TB,"
        f"aresample={clock.sample_rate_hz}:async=1:min_comp={_MIN_COMPENSATION_SEC}:first_pts=0"
        ":rematrix_maxval=1,"  # a mean of the channels, which cannot clip
        "aformat=sample_fmts=flt:channel_layouts=mono"
    )
    size = (clock.samples(video.duration_sec) + 1) * _FLOAT32_BYTES
    arguments = (*SOURCE_OPTIONS, "-i", url(video.path), "-map", "0:a:0", "-af", filters)
    with ffmpeg(*arguments, "-c:a", "pcm_f32le", "-f", "f32le", "-") as run:
        data = run.output.read(size)
        if len(data) < size:
            run.end()
        if not data:
            raise InputError(
                f"{video.path}: no sound can be decoded ({run.first_error() or 'no data'}): "
                "give a video whose sound accompanies its pictures"
            )
    return _waveform(data, video.path)


def read_audio_file(path: Path, sample_rate_hz: int) -> Float32[np.ndarray, " samples"]:
    """Read the first sound of any file, all of it, in mono within [-1, 1].

    Raises InputError when there is none, or it is not finite.
    """
    filters = f"aresample={sample_rate_hz}:rematrix_maxval=1,aformat=channel_layouts=mono"
    arguments = (*SOURCE_OPTIONS, "-i", url(path), "-map", "0:a:0", "-af", filters)
    with ffmpeg(*arguments, "-c:a", "pcm_f32le", "-f", "f32le", "-") as run:
        data = run.output.read()
        run.end()
        if not data:
            raise InputError(
                f"{path}: no sound can be decoded ({run.first_error() or 'no data'}): give a file "
                "with sound"
            )
    return _waveform(data, path)


def _waveform(data: bytes, path: Path) -> Float32[np.ndarray, " samples"]:
    """Return the whole samples that ffmpeg gave; raise InputError unless they are finite."""
    audio_args = np.frombuffer(data[: len(data) // _FLOAT32_BYTES * _FLOAT32_BYTES], "<f4")
    if not np.isfinite(audio_args).all():
        raise InputError(f"{path}: its sound holds NaN or infinity: encode it again")
    return np.clip(audio_args, -1.0, 1.0)
