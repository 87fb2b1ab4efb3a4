"""Write audio and video files; each appears under its name only when it is complete."""

import errno
import math
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

from v2s_jax.errors import DecodeError, InputError, write_error
from v2s_jax.io import atomic_write
from v2s_jax.media.decode import last_frame_before
from v2s_jax.media.probe import MAX_ASPECT, Video
from v2s_jax.media.process import Run, ffmpeg, input_args, url
from v2s_jax.media.wav import NO_TAGS, Tags, wav_header
from v2s_jax.quantize import waveform_to_int16

AAC_BITS_PER_SEC = 96_000
"""AAC's maximum for one channel at 16 kHz."""
_H264_CRF = 18  # x264's "visually lossless"; lower is better
_H264_QP = 18  # likewise; x264 subtracts 3 for intra frames
_CLIP_OUTPUT = (
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
    # x264's bytes depend on its number of threads.
    *("-c:v", "libx264", "-threads", "1"),
    # No dates, no versions.
    *("-map_metadata", "-1", "-fflags", "+bitexact", "-flags", "+bitexact"),
)
_BY_RATE_FACTOR = ("-crf", str(_H264_CRF))
# A constant quantiser holds for every block, independent of x264's lookahead and of the bits that
# earlier frames took.
_INTRA_ONLY = ("-qp", str(_H264_QP), "-g", "1", "-bf", "0")
_TO_H264 = "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"
# MP4 stores durations in decoding order: without B-frames, that is display order.
_VARIABLE_RATE = ("-fps_mode", "passthrough", "-enc_time_base", "filter", "-bf", "0")

AudioCodec = Literal["flac", "pcm", "aac"]
_AUDIO_OUTPUT: dict[AudioCodec, tuple[str, ...]] = {
    "flac": ("-c:a", "flac", "-f", "mp4"),
    "pcm": ("-c:a", "pcm_s16le", "-f", "mov"),  # players do not know PCM in MP4
    "aac": ("-c:a", "aac", "-b:a", str(AAC_BITS_PER_SEC), "-f", "mp4"),
}
CLIP_SUFFIX: dict[AudioCodec, str] = {"flac": ".mp4", "pcm": ".mov", "aac": ".mp4"}
"""Suffix of a clip's file."""

PART_CRF = 23
"""x264's default rate factor."""
_STILL_FPS = 25  # of a frame that is on display during a whole part

_WRITE_ERRORS = tuple(
    os.strerror(code)
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES)
)
"""Messages of the operating system, which ffmpeg repeats, about a file that cannot be written."""


def write_wav(
    path: Path,
    waveform: Float32[np.ndarray, " samples"],
    sample_rate_hz: int,
    tags: Tags = NO_TAGS,
) -> None:
    """Write a waveform in [-1, 1] as mono 16-bit PCM, with the tags that a wav file has.

    Raises InputError when the waveform is not finite or `path` cannot be written.
    """
    pcm = waveform_to_int16(waveform).tobytes()
    with atomic_write(path) as temporary:
        temporary.write_bytes(wav_header(sample_rate_hz, len(pcm), tags) + pcm)


def write_audio(
    path: Path,
    waveform: Float32[np.ndarray, " samples"],
    sample_rate_hz: int,
    bits_per_sec: int | None = None,
) -> None:
    """Write a waveform in [-1, 1] as lossless FLAC, or, given a bit rate, as AAC in MP4.

    Raises InputError when the waveform is not finite or `path` cannot be written.
    """
    pcm = waveform_to_int16(waveform)
    source = ("-f", "s16le", "-ar", str(sample_rate_hz), "-ac", "1", "-i", "pipe:0")
    aac = ("-c:a", "aac", "-b:a", str(bits_per_sec), "-f", "mp4")
    target = ("-c:a", "flac", "-f", "flac") if bits_per_sec is None else aac
    with (
        atomic_write(path) as temporary,
        ffmpeg(*source, *target, url(temporary), feed=True) as run,
    ):
        run.feed([pcm.tobytes()])
        if run.process.wait():
            raise write_error(path, run.first_error())


def write_clip(
    path: Path,
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    fps: Fraction,
    waveform: Float32[np.ndarray, " samples"],
    sample_rate_hz: int,
    audio_codec: AudioCodec = "flac",
    video_filter: str | None = None,
    intra_only: bool = False,
) -> None:
    """Write frames and a waveform as H.264 and audio. The same input gives the same bytes.

    `read_audio` returns the 16-bit audio exactly, unless the codec is AAC.

    Args:
        path: The file to write, with a suffix of `CLIP_SUFFIX`.
        frames: RGB frames of one even size, at least one.
        fps: Frame rate.
        waveform: Amplitudes in [-1, 1].
        sample_rate_hz: Sample rate of the waveform.
        audio_codec: FLAC or AAC in MP4, or PCM in QuickTime.
        video_filter: An ffmpeg filter that may drop frames or change their times; the frame rate
            of the file then varies.
        intra_only: Code each frame alone with a constant quantiser, so that a decoded frame depends
            on that frame only. Otherwise H.264 looks ahead and back, and a decoded frame has traces
            of its neighbours.

    Raises:
        InputError: There is no frame, sizes are odd or differ, the waveform is not finite, or
            `path` cannot be written.
    """
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise InputError(f"{path}: there is no frame to write: give at least one")
    height, width, _ = first.shape
    if height % 2 or width % 2:
        raise InputError(f"{path}: frames of {width} x {height} px: give an even width and height")
    with TemporaryDirectory() as folder, atomic_write(path) as temporary:
        wav = Path(folder) / "audio.wav"
        write_wav(wav, waveform, sample_rate_hz)
        source = (
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}"),
            *("-framerate", f"{fps.numerator}/{fps.denominator}", "-i", "pipe:0"),
            *("-i", url(wav), "-map", "0:v:0", "-map", "1:a:0"),
        )
        target = encoder_args(audio_codec, video_filter, intra_only)
        with ffmpeg(*source, *target, url(temporary), feed=True) as run:
            run.feed(_raw_frames(path, chain([first], remaining), first.shape))
            if run.process.wait():
                raise write_error(path, run.first_error())


def encoder_args(
    audio_codec: AudioCodec, video_filter: str | None, intra_only: bool
) -> tuple[str, ...]:
    """Return ffmpeg's arguments for a clip: all settings that its bytes depend on."""
    filters = ",".join(filter(None, [video_filter, _TO_H264]))
    timing = _VARIABLE_RATE if video_filter else ()
    quality = _INTRA_ONLY if intra_only else _BY_RATE_FACTOR
    return ("-vf", filters, *timing, *_CLIP_OUTPUT, *quality, *_AUDIO_OUTPUT[audio_codec])


def _raw_frames(
    path: Path, frames: Iterable[np.ndarray], shape: tuple[int, ...]
) -> Iterator[bytes]:
    """Yield the bytes of each frame; raise InputError when one has another shape."""
    for frame in frames:
        if frame.shape != shape:
            raise InputError(
                f"{path}: frames of {frame.shape} and {shape}: give all of them one size"
            )
        yield frame.tobytes()


def write_part(
    video: Video,
    start_sec: float,
    end_sec: float,
    path: Path,
    *,
    max_width_px: int | None = None,
    crf: int = PART_CRF,
    with_audio: bool = True,
    with_video: bool = True,
    with_metadata: bool = True,
) -> None:
    """Re-encode a part of a video as H.264 and AAC.

    Audio is silent where the video has none. A frame that is on display during the whole part is
    shown.

    Args:
        video: What `probe` returned.
        start_sec: Start, counted from the appearance of the first frame.
        end_sec: End, counted likewise.
        path: The file to write; its suffix gives the container.
        max_width_px: Scale wider frames down; None keeps the size, made even.
        crf: x264's rate factor; lower is better.
        with_audio: Write the audio.
        with_video: Write the frames.
        with_metadata: Keep title, comment and the like, and chapters.

    Raises:
        DecodeError: Nothing of the part can be decoded.
        InputError: `path` cannot be written.
    """
    start = float(video.first_frame_sec) + start_sec
    end = float(video.first_frame_sec) + end_sec
    audio_start = float(video.audio_zero_sec) + start_sec
    audio_end = float(video.audio_zero_sec) + end_sec
    filters = (
        f"atrim=start={audio_start:.6f}:end={audio_end:.6f},asetpts=PTS-{audio_start:.6f}/TB,"
        f"aresample=async=1:first_pts=0,apad=whole_dur={end - start:.6f}"
    )
    audio_args = ("-map", "0:a:0", "-af", filters, "-ac", "2", "-b:a", str(AAC_BITS_PER_SEC))
    with atomic_write(path) as temporary:
        # A frame that is on display during the whole part has its time outside of it, so that
        # nothing is encoded: the second attempt repeats it.
        for is_still in (False, True) if with_video else (False,):
            prefix = _still_filter(video, start, end) if is_still else ""
            video_args = (
                _part_video_args(video, prefix, start, end, max_width_px, crf) if with_video else ()
            )
            streams = (
                *(*video_args, *(audio_args if with_audio else ())),
                *(() if with_metadata else ("-map_metadata", "-1", "-map_chapters", "-1")),
            )
            with ffmpeg(*input_args(video.path), *streams, url(temporary)) as run:
                if wait_for_output(run, path, temporary):
                    return
                reason = run.first_error() or "no data"
        raise DecodeError(
            f"{path}: {start_sec:g} to {end_sec:g} s of {video.path} cannot be decoded ({reason}): "
            "leave that file out"
        )


def _still_filter(video: Video, start: float, end: float) -> str:
    """Return the filter that shows the last frame before `start` until `end`, and no other one."""
    ticks = round(last_frame_before(video, start) / video.packets.tick_sec)
    repetitions = math.ceil((end - start) * _STILL_FPS) + 1
    return (
        f"trim=start_pts={ticks}:end_pts={ticks + 1},"
        f"loop=loop={repetitions}:size=1,"
        f"setpts=({start:.6f}+N/{_STILL_FPS})/TB,fps={_STILL_FPS},"
    )


def _part_video_args(
    video: Video, prefix: str, start: float, end: float, max_width_px: int | None, crf: int
) -> tuple[str, ...]:
    width = "iw" if max_width_px is None else f"min({max_width_px}\\,iw)"
    filters = (
        f"{prefix}trim=start={start:.6f}:end={end:.6f},setpts=PTS-{start:.6f}/TB,"
        f"scale='max(2\\,trunc({width}/2)*2)':'max(2\\,min(trunc(ow/dar/2)*2\\,{MAX_ASPECT}*ow))',setsar=1"
    )
    codec = ("-c:v", "libx264", "-crf", str(crf), "-pix_fmt", "yuv420p")
    return ("-map", video.stream, "-vf", filters, *codec)


def wait_for_output(run: Run, path: Path, temporary: Path) -> bool:
    """Return whether ffmpeg has written anything; raise InputError when it could not."""
    exit_code = run.process.wait()
    lines = list(run.log_lines())
    reason = next((text for text in _WRITE_ERRORS if any(text in line for line in lines)), None)
    if exit_code and reason:
        raise write_error(path, reason)
    if exit_code < 0:
        raise InputError(
            f"{path}: ffmpeg was killed (signal {-exit_code}): free memory or disk space"
        )
    is_empty = any("nothing was encoded" in line for line in lines)
    return not exit_code and not is_empty and temporary.stat().st_size > 0
