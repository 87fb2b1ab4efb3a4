"""Write audio and video files; each appears under its name only when it is complete."""

import errno
import math
import os
import wave
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from v2s_jax.errors import DecodeError, InputError, write_error
from v2s_jax.io import atomic_write
from v2s_jax.media.audio_tracks import AudioTrack, find_audio_track
from v2s_jax.media.copies import CopyDiffersError, check_copy, encode_again
from v2s_jax.media.decode import last_frame_before
from v2s_jax.media.probe import MAX_ASPECT, Video
from v2s_jax.media.process import Run, ffmpeg, input_args, url
from v2s_jax.quantize import waveform_to_int16

Original = Literal["drop", "keep", "mix"]
"""What to do with a video's original audio."""

_MIX_FORMAT = "aresample=48000,aformat=sample_fmts=fltp:channel_layouts=stereo"
# As loud in each channel as the one it is made of; ffmpeg's own conversion takes off 3 dB.
_MONO_TO_MIX = f"pan=stereo|c0=c0|c1=c0,{_MIX_FORMAT}"
_AAC_BITS_PER_SEC = 96_000  # AAC's maximum for one channel at 16 kHz
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
    "aac": ("-c:a", "aac", "-b:a", str(_AAC_BITS_PER_SEC), "-f", "mp4"),
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


def write_wav(path: Path, waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int) -> None:
    """Write a waveform in [-1, 1] as mono 16-bit PCM.

    Raises InputError when the waveform is not finite or `path` cannot be written.
    """
    pcm = waveform_to_int16(waveform)
    with atomic_write(path) as temporary, open_wav(str(temporary), sample_rate_hz) as wav:
        wav.writeframes(pcm.tobytes())


def open_wav(file: str | IO[bytes], sample_rate_hz: int) -> wave.Wave_write:
    """Return a writer of mono 16-bit PCM."""
    wav = wave.open(file, "wb")  # noqa: SIM115
    wav.setnchannels(1)
    wav.setsampwidth(2)
    wav.setframerate(sample_rate_hz)
    return wav


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


class Muxed(NamedTuple):
    """What `mux` has written."""

    path: Path
    warnings: tuple[str, ...]
    """Warnings for the user: one line each, naming the file."""


def mux(
    video: Video,
    wav: Path,
    out_stem: Path,
    original: Original = "drop",
    original_gain_db: float = 0.0,
    track: AudioTrack | None = None,
) -> Muxed:
    """Combine a video's frames, copied bit for bit, with the audio of a wav file.

    The audio starts as the first frame appears. The result is MP4 with AAC where MP4 supports the
    video codec, otherwise Matroska with lossless FLAC. Rotation is kept.

    Where a copy would not show the same images at the same times, as after an edit list, the frames
    are encoded again, as H.264 in MP4, and so is original audio that is kept.

    Args:
        video: What `probe` returned.
        wav: The new audio.
        out_stem: Path of the result without `.mp4` or `.mkv`.
        original: Drop the video's original audio, keep it bit for bit as a second track, or mix it
            in at 48 kHz stereo.
        original_gain_db: Gain of the original audio for `mix`.
        track: The original audio; by default the one that `find_audio_track` finds.

    Returns:
        The path of the result, and a warning if the video is encoded again.

    Raises:
        InputError: The result would replace its source, or neither container can be written.
    """
    mp4, mkv = (out_stem.with_name(out_stem.name + suffix) for suffix in (".mp4", ".mkv"))
    if video.path.resolve() in (mp4.resolve(), mkv.resolve()):
        raise InputError(f"{video.path}: is the source itself: choose another name for the result")
    if original != "drop" and track is None:
        track, _ = find_audio_track(video.path)
    if track is None:
        original = "drop"
    audio = _audio_tracks(original, original_gain_db, video, track)
    aac = ("-c:a:0", "aac", "-b:a:0", str(_AAC_BITS_PER_SEC))
    to_mp4 = (*audio, *aac, "-movflags", "+faststart", "-f", "mp4")
    fault = video.copy_fault
    if fault is None:
        try:
            return Muxed(_mux_copied(mp4, mkv, video, wav, to_mp4, audio), ())
        except CopyDiffersError as error:
            fault = str(error)
    # An edit list holds for the audio, too.
    kept = ("-c:a:1", "aac", "-filter:a:1", _align(video)) if original == "keep" else ()
    _mux_to(mp4, video, wav, *encode_again(video), *to_mp4, *kept)
    warning = f"{video.path}: its video is encoded again, since a copy shows other images: {fault}"
    return Muxed(mp4, (warning,))


def _mux_copied(
    mp4: Path, mkv: Path, video: Video, wav: Path, to_mp4: tuple[str, ...], audio: tuple[str, ...]
) -> Path:
    copy = ("-c:v", "copy")
    try:
        _mux_to(mp4, video, wav, *copy, *to_mp4)
        return mp4
    except InputError:
        # Trying MP4 is simpler than a list of codecs; any other cause also fails with Matroska.
        _mux_to(mkv, video, wav, *copy, *audio, "-c:a:0", "flac", "-f", "matroska")
        return mkv


def mp4_supports(video: Video) -> bool:
    """Say whether MP4 can hold the frames of a video as they are, whatever its audio."""
    source = (*input_args(video.path), "-map", video.stream, "-frames:v", "1")
    # A fragmented file can be written to a pipe.
    target = ("-c:v", "copy", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "-")
    with ffmpeg(*source, *target) as run:
        for _ in run.output:
            pass
        return run.process.wait() == 0


def _align(video: Video) -> str:
    """Return the filter that places the original audio on the time axis of the frames."""
    # Audio far behind the frames must not be reached: the gap before it is filled in memory.
    return f"atrim=end={float(video.duration_sec):.6f},aresample=async=1:first_pts=0"


def _audio_tracks(
    original: Original, gain_db: float, video: Video, track: AudioTrack | None
) -> tuple[str, ...]:
    """Return the arguments that select the audio tracks: the new one first."""
    if original == "drop" or track is None:
        return ("-map", "1:a:0")
    if original == "keep":
        return ("-map", "1:a:0", "-map", f"0:a:{track.number}", "-c:a:1", "copy")
    to_mix = _MONO_TO_MIX if track.is_mono else _MIX_FORMAT
    mixed = (
        f"[0:a:{track.number}]{_align(video)},{to_mix},volume={gain_db}dB[old];"
        f"[1:a:0]{_MONO_TO_MIX}[new];[new][old]amix=inputs=2:duration=first:normalize=0[mixed]"
    )
    return ("-filter_complex", mixed, "-map", "[mixed]")


def _mux_to(out: Path, video: Video, wav: Path, *codecs_and_container: str) -> None:
    """Write frames and audio; raise CopyDiffersError for a copy that shows other images."""
    offset = ("-itsoffset", f"{float(-video.audio_zero_sec):.6f}")
    source = (
        *(*input_args(video.path, *offset), *input_args(wav)),
        *("-map", video.stream, "-map_chapters", "-1"),
    )
    with (
        atomic_write(out) as temporary,
        ffmpeg(*source, *codecs_and_container, url(temporary)) as run,
    ):
        if run.process.wait():
            raise InputError(
                f"{out}: {video.codec} video and audio cannot be combined "
                f"({run.first_error()}): free space, choose another folder, or convert "
                f"{video.path} to H.264"
            )
        if codecs_and_container[:2] == ("-c:v", "copy"):
            check_copy(video, temporary)


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
    audio_args = ("-map", "0:a:0", "-af", filters, "-ac", "2", "-b:a", str(_AAC_BITS_PER_SEC))
    with atomic_write(path) as temporary:
        # A frame that is on display during the whole part has its time outside of it, so that
        # nothing is encoded: the second attempt repeats it.
        for is_still in (False, True) if with_video else (False,):
            prefix = _still_filter(video, start, end) if is_still else ""
            video_args = (
                _part_video_args(video, prefix, start, end, max_width_px, crf) if with_video else ()
            )
            streams = (*video_args, *(audio_args if with_audio else ()))
            with ffmpeg(*input_args(video.path), *streams, url(temporary)) as run:
                if _wait_for_output(run, path, temporary):
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


def _wait_for_output(run: Run, path: Path, temporary: Path) -> bool:
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
