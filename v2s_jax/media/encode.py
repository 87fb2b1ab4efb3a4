"""Write sound and video files; each appears under its name only when it is whole."""

import errno
import os
import wave
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int16, UInt8

from v2s_jax.errors import DecodeError, InputError
from v2s_jax.io import atomic_write
from v2s_jax.media.probe import VIDEO_STREAM, Video
from v2s_jax.media.process import SOURCE_OPTIONS, Run, ffmpeg, url

PCM_SCALE = 2**15
"""16-bit PCM steps per unit of amplitude; ffmpeg reads 16-bit sound by the same scale."""

Original = Literal["drop", "keep", "mix"]
"""What becomes of a video's own sound."""

_MIX_FORMAT = "aformat=sample_fmts=fltp:sample_rates=48000:channel_layouts=stereo"
_AAC_BITS_PER_SEC = 96_000  # the most that AAC takes for one channel at 16 kHz
_H264_CRF = 18  # x264's "visually lossless"; lower is better
_H264_QP = 18  # likewise; x264 takes 3 less for pictures that are coded for themselves
_CLIP_OUTPUT = (
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
    # x264's bytes depend on its number of threads.
    *("-c:v", "libx264", "-threads", "1"),
    # No dates, no versions.
    *("-map_metadata", "-1", "-fflags", "+bitexact", "-flags", "+bitexact"),
)
_BY_RATE_FACTOR = ("-crf", str(_H264_CRF))
# A quantiser that is given is that of every block, so neither x264's lookahead nor what it spent
# on earlier pictures has a say in it.
_INTRA_ONLY = ("-qp", str(_H264_QP), "-g", "1", "-bf", "0")
_TO_H264 = "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"
# MP4 keeps how long pictures last in the order of decoding: only without B-frames is that theirs.
_AS_THE_FILTER_SAYS = ("-fps_mode", "passthrough", "-enc_time_base", "filter", "-bf", "0")

SoundCodec = Literal["flac", "pcm", "aac"]
_SOUND_OUTPUT: dict[SoundCodec, tuple[str, ...]] = {
    "flac": ("-c:a", "flac", "-f", "mp4"),
    "pcm": ("-c:a", "pcm_s16le", "-f", "mov"),  # MP4 has no place for it that players know
    "aac": ("-c:a", "aac", "-b:a", str(_AAC_BITS_PER_SEC), "-f", "mp4"),
}
CLIP_SUFFIX: dict[SoundCodec, str] = {"flac": ".mp4", "pcm": ".mov", "aac": ".mp4"}
"""How the name of a clip's file ends."""


def pcm16(waveform: Float32[np.ndarray, " samples"]) -> Int16[np.ndarray, " samples"]:
    """Round amplitudes to 16-bit PCM; those outside [-1, 1] are clipped."""
    if not np.isfinite(waveform).all():
        raise InputError("waveform holds NaN or infinity: mend the sound before writing it")
    steps = np.rint(waveform * np.float32(PCM_SCALE))
    return np.clip(steps, -PCM_SCALE, PCM_SCALE - 1).astype("<i2")


def write_wav(path: Path, waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int) -> None:
    """Write a waveform in [-1, 1] as mono 16-bit PCM.

    Raises InputError when the waveform is not finite or `path` cannot be written.
    """
    pcm = pcm16(waveform)
    with atomic_write(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(pcm.itemsize)
        file.setframerate(sample_rate_hz)
        file.writeframes(pcm.tobytes())


def write_sound(
    path: Path,
    waveform: Float32[np.ndarray, " samples"],
    sample_rate_hz: int,
    bits_per_sec: int | None = None,
) -> None:
    """Write a waveform in [-1, 1], compressed: FLAC without loss, AAC in MP4 of a bit rate.

    Raises InputError when the waveform is not finite or `path` cannot be written.
    """
    pcm = pcm16(waveform)
    source = ("-f", "s16le", "-ar", str(sample_rate_hz), "-ac", "1", "-i", "pipe:0")
    aac = ("-c:a", "aac", "-b:a", str(bits_per_sec), "-f", "mp4")
    output = ("-c:a", "flac", "-f", "flac") if bits_per_sec is None else aac
    with (
        atomic_write(path) as temporary,
        ffmpeg(*source, *output, url(temporary), feed=True) as run,
    ):
        run.feed([pcm.tobytes()])
        if run.process.wait():
            raise InputError(
                f"{path}: cannot be written ({run.first_error()}): free space or choose another "
                "folder"
            )


def mux(
    video: Video,
    wav: Path,
    out_stem: Path,
    original: Original = "drop",
    original_gain_db: float = 0.0,
) -> Path:
    """Join a video's pictures, copied bit for bit, with the sound of a wav file.

    The sound starts as the first picture appears. The file is `out_stem` with `.mp4` and AAC
    sound where MP4 takes the pictures' codec, otherwise with `.mkv` and lossless FLAC. Rotation
    is kept. The video's own sound, where there is one, is dropped, kept bit for bit as a second
    track, or mixed in after a gain (48 kHz stereo then). Returns the path written.

    Raises InputError when the result would replace its source, or neither container can be
    written.
    """
    mp4, mkv = (out_stem.with_name(out_stem.name + suffix) for suffix in (".mp4", ".mkv"))
    if video.path.resolve() in (mp4.resolve(), mkv.resolve()):
        raise InputError(f"{video.path}: is the source itself: choose another name for the result")
    sound = _sound_of(original if video.has_sound else "drop", original_gain_db)
    aac = ("-c:a:0", "aac", "-b:a:0", str(_AAC_BITS_PER_SEC))
    try:
        _join(video, wav, mp4, *sound, *aac, "-movflags", "+faststart", "-f", "mp4")
        return mp4
    except InputError:
        # Asking MP4's writer beats a list of codecs; any other cause stops Matroska as well.
        _join(video, wav, mkv, *sound, "-c:a:0", "flac", "-f", "matroska")
        return mkv


def _sound_of(original: Original, gain_db: float) -> tuple[str, ...]:
    """Return the tracks of sound: the new one first."""
    if original == "drop":
        return ("-map", "1:a:0")
    if original == "keep":
        return ("-map", "1:a:0", "-map", "0:a:0", "-c:a:1", "copy")
    mixed = (
        f"[0:a:0]aresample=async=1:first_pts=0,{_MIX_FORMAT},volume={gain_db}dB[own];"
        f"[1:a:0]{_MIX_FORMAT}[new];[new][own]amix=inputs=2:duration=first:normalize=0[mixed]"
    )
    return ("-filter_complex", mixed, "-map", "[mixed]")


def _join(video: Video, wav: Path, out: Path, *sound_and_container: str) -> None:
    inputs = (
        *SOURCE_OPTIONS,
        *("-itsoffset", f"{float(-video.first_picture_sec):.6f}", "-i", url(video.path)),
        *("-i", url(wav), "-map", VIDEO_STREAM, "-map_chapters", "-1"),
    )
    with (
        atomic_write(out) as temporary,
        ffmpeg(*inputs, "-c:v", "copy", *sound_and_container, url(temporary)) as run,
    ):
        if run.process.wait():
            raise InputError(
                f"{out}: {video.codec} pictures and sound cannot be joined "
                f"({run.first_error()}): free space, choose another folder, or convert "
                f"{video.path} to H.264"
            )


def write_clip(
    path: Path,
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    fps: Fraction,
    waveform: Float32[np.ndarray, " samples"],
    sample_rate_hz: int,
    sound_codec: SoundCodec = "flac",
    picture_filter: str | None = None,
    intra_only: bool = False,
) -> None:
    """Write RGB pictures and a waveform as MP4: H.264 pictures, lossless FLAC sound.

    The same pictures and sound give the same bytes. `read_audio` gives back the 16-bit sound
    exactly, also of PCM, which makes it a QuickTime file; AAC is lossy. An ffmpeg filter may drop
    pictures or change when they are shown; the file's frame rate then varies as it says.

    Left alone, H.264 looks ahead: what is decoded of a picture differs with what comes after it,
    and keeps traces of what came before. With `intra_only` each picture is coded for itself at a
    constant quantiser, and what is decoded of it depends on that picture alone.

    Raises InputError when there is no picture, sizes are odd or differ, the waveform is not
    finite, or `path` cannot be written.
    """
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None:
        raise InputError(f"{path}: there is no picture to write: give at least one")
    height, width, _ = first.shape
    if height % 2 or width % 2:
        raise InputError(
            f"{path}: pictures of {width} x {height} px: give an even width and height"
        )
    with TemporaryDirectory() as folder, atomic_write(path) as temporary:
        wav = Path(folder) / "sound.wav"
        write_wav(wav, waveform, sample_rate_hz)
        inputs = (
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}"),
            *("-framerate", f"{fps.numerator}/{fps.denominator}", "-i", "pipe:0"),
            *("-i", url(wav), "-map", "0:v:0", "-map", "1:a:0"),
        )
        output = encoder_args(sound_codec, picture_filter, intra_only)
        with ffmpeg(*inputs, *output, url(temporary), feed=True) as run:
            run.feed(_raw(path, chain([first], pictures), first.shape))
            if run.process.wait():
                raise InputError(
                    f"{path}: cannot be written ({run.first_error()}): free space or choose "
                    "another folder"
                )


def encoder_args(
    sound_codec: SoundCodec, picture_filter: str | None, intra_only: bool
) -> tuple[str, ...]:
    """Return what ffmpeg is told of a clip's file: all settings that its bytes depend on."""
    filters = ",".join(filter(None, [picture_filter, _TO_H264]))
    timing = _AS_THE_FILTER_SAYS if picture_filter else ()
    quality = _INTRA_ONLY if intra_only else _BY_RATE_FACTOR
    return ("-vf", filters, *timing, *_CLIP_OUTPUT, *quality, *_SOUND_OUTPUT[sound_codec])


def _raw(path: Path, pictures: Iterable[np.ndarray], shape: tuple[int, ...]) -> Iterator[bytes]:
    """Give the bytes of each picture; raise InputError when one has another shape."""
    for picture in pictures:
        if picture.shape != shape:
            raise InputError(
                f"{path}: pictures of {picture.shape} and {shape}: give all of them one size"
            )
        yield picture.tobytes()


_OUTPUT_FAULTS = tuple(
    os.strerror(code)
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES)
)
"""What ffmpeg, in the system's words, says of a place that takes no more."""

PART_CRF = 23
"""x264's own choice."""
_HELD_FPS = 25  # of a picture that stays on display over a whole part


def write_part(
    video: Video,
    start_sec: float,
    end_sec: float,
    path: Path,
    *,
    picture_width_px: int | None = None,
    crf: int = PART_CRF,
    sound: bool = True,
    picture: bool = True,
) -> None:
    """Write a part of a video, encoded anew: H.264 and AAC, or one of them.

    Times count from the first picture's appearance, in picture and sound alike. Pictures keep
    their size, but for one pixel of an odd width or height, unless a smaller width is given, and
    x264's rate factor `crf` says how well they are kept; lower is better. Where
    the video's sound has not begun or has ended there is silence; a picture that is on display all
    the time is shown.

    Raises UndecodableError when nothing can be decoded there, and other InputErrors when `path`
    cannot be written.
    """
    start = float(video.first_picture_sec) + start_sec
    end = float(video.first_picture_sec) + end_sec
    audio_args: list[str] = []
    if sound:
        filters = (
            f"atrim=start={start:.6f}:end={end:.6f},asetpts=PTS-{start:.6f}/TB,"
            f"aresample=async=1:first_pts=0,apad=whole_dur={end - start:.6f}"
        )
        audio_args += ["-map", "0:a:0", "-af", filters, "-ac", "2", "-b:a", str(_AAC_BITS_PER_SEC)]
    with atomic_write(path) as temporary:
        for holding in ("", f"tpad=stop_duration={end:.6f}:stop_mode=clone,fps={_HELD_FPS},"):
            video_args: list[str] = []
            if picture:
                width = "iw" if picture_width_px is None else f"min({picture_width_px}\\,iw)"
                filters = (
                    f"{holding}trim=start={start:.6f}:end={end:.6f},setpts=PTS-{start:.6f}/TB,"
                    f"scale='max(2\\,trunc({width}/2)*2)':'max(2\\,trunc(ow/dar/2)*2)',setsar=1"
                )
                video_args += ["-map", VIDEO_STREAM, "-vf", filters]
                video_args += ["-c:v", "libx264", "-crf", str(crf), "-pix_fmt", "yuv420p"]
            source = (*SOURCE_OPTIONS, "-i", url(video.path))
            with ffmpeg(*source, *video_args, *audio_args, url(temporary)) as run:
                if _is_filled(run, path, temporary):
                    return
                fault = run.first_error() or "no data"
            if not picture:
                break
        raise DecodeError(
            f"{path}: {start_sec:g} to {end_sec:g} s of {video.path} cannot be decoded ({fault}): "
            "leave that file out"
        )


def _is_filled(run: Run, path: Path, temporary: Path) -> bool:
    """Wait for ffmpeg; say whether it wrote anything, and raise InputError when it could not."""
    failed = run.process.wait()
    lines = list(run.log_lines())
    if failed and (found := next((f for f in _OUTPUT_FAULTS if any(f in x for x in lines)), None)):
        raise InputError(f"{path}: cannot be written ({found}): free space or another folder")
    if failed < 0:
        raise InputError(f"{path}: ffmpeg was killed (signal {-failed}): free memory or disk space")
    nothing = any("nothing was encoded" in line for line in lines)
    return not failed and not nothing and temporary.stat().st_size > 0
