"""The files of a sounded video: their names, whether they may be written, and writing them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from v2s_jax.config import Clock, Config
from v2s_jax.errors import InputError
from v2s_jax.figures import key_frame_figure, key_frame_indices
from v2s_jax.io import wrap_read_errors
from v2s_jax.media import Original, Video, mux, read_video_frames, write_wav
from v2s_jax.quantize import dequantize
from v2s_jax.sonification.report import GeneratedFiles

SOUND_SUFFIX = ".wav"
VIDEO_SUFFIXES_OUT = (".mp4", ".mkv")
"""One of them is written."""
FIGURE_SUFFIX = ".png"
OUTPUT_SUFFIXES = (SOUND_SUFFIX, *VIDEO_SUFFIXES_OUT, FIGURE_SUFFIX)

KEY_FRAMES = 10
"""Pictures above the waveform, as many as the paper's figure 4 has seconds."""
KEY_FRAME_HEIGHT_PX = 160
"""Height of those pictures; more than the page shows them at."""

KeyFrames = list[UInt8[np.ndarray, "height width 3"]]


def take_stem(stem: Path, rank: int, takes: int) -> Path:
    """Return where a take's files lie, but for their suffixes."""
    return stem if takes == 1 else stem.with_name(f"{stem.name}_{rank}")


def check_outputs(stem: Path, overwrite: bool, sources: set[Path]) -> None:
    """Raise InputError for outputs that are there already, or would replace a source."""
    with wrap_read_errors(stem.parent):
        existing = _existing(stem)
        if existing and not overwrite:
            raise InputError(f"{existing[0]}: there already: use --overwrite or another --out")
        for path in existing:
            if path.resolve() in sources:
                raise InputError(f"{path}: is one of the videos to be sounded: use another --out")


def _existing(stem: Path) -> list[Path]:
    return [path for suffix in OUTPUT_SUFFIXES if (path := _output(stem, suffix)).exists()]


def _output(stem: Path, suffix: str) -> Path:
    """Append to the name; `with_suffix` would cut one that has dots in it."""
    return stem.with_name(stem.name + suffix)


def remove_further_takes(stem: Path, takes: int, sources: set[Path]) -> list[Path]:
    """Remove what an earlier run with more takes left of the same video; return those files.

    Its ranks would be read as this run's. They are the ranks behind the last one, without a gap,
    each with a sound, a video and a figure: whatever lacks one of those was not left by a run, and
    stays, as does a video that is to be sounded. One take has no ranks: nothing goes.
    """
    removed: list[Path] = []
    rank = takes + 1
    while takes > 1:
        of_rank = _existing(take_stem(stem, rank, rank))
        kinds = {path.suffix for path in of_rank}
        whole = {SOUND_SUFFIX, FIGURE_SUFFIX} < kinds
        if not whole or sources & {path.resolve() for path in of_rank}:
            break
        for path in of_rank:
            path.unlink()
        removed += of_rank
        rank += 1
    return removed


def write_outputs(
    video: Video,
    stem: Path,
    levels: UInt8[np.ndarray, " samples"],
    config: Config,
    pictures: KeyFrames,
    original: Original,
    gain_db: float,
) -> GeneratedFiles:
    """Write a wav, the video with it, and a figure of `key_frames` over it."""
    model, clock = config.model, config.clock
    waveform = dequantize(levels, model.q_levels, model.quantization)
    wav, figure = _output(stem, SOUND_SUFFIX), _output(stem, FIGURE_SUFFIX)
    write_wav(wav, waveform, clock.sample_rate_hz)
    muxed = mux(video, wav, stem, original, gain_db)
    warnings = video.warnings
    if original != "drop" and not video.has_sound:
        warnings += (f"{video.path}: holds no sound to {original}",)
    if muxed.suffix == ".mkv":
        warnings += (f"{muxed}: Matroska, since mp4 does not hold {video.codec} pictures",)
    indices = key_frame_indices(clock.video_frames(len(levels)), KEY_FRAMES)
    key_frame_figure(
        figure,
        pictures,
        [float(clock.picture_time_sec(i)) for i in indices],
        waveform,
        clock.sample_rate_hz,
        video.path.name,
    )
    return GeneratedFiles(video.path, wav, muxed, figure, warnings, 0)


def key_frames(video: Video, clock: Clock, samples: int) -> KeyFrames:
    """Decode once more, at the picture's own shape, and keep a few video frames."""
    indices: Iterable[int] = key_frame_indices(clock.video_frames(samples), KEY_FRAMES)
    width = max(1, round(video.width * KEY_FRAME_HEIGHT_PX / video.height))
    wanted = set(indices)
    frames = read_video_frames(video, clock, KEY_FRAME_HEIGHT_PX, width)
    return [frame for i, frame in enumerate(frames) if i in wanted]
