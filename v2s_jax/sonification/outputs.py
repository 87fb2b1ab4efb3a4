"""Output files of a video: their names, whether they may be written, and writing them."""

import itertools
import os
import re
import wave
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from v2s_jax.config import Clock, Config
from v2s_jax.errors import InputError, write_error
from v2s_jax.features.controls import unpack_curves
from v2s_jax.figures import FigureProcess, key_frame_indices
from v2s_jax.io import UNFINISHED, file_hash, wrap_read_errors
from v2s_jax.media import (
    NO_TAGS,
    Tags,
    Video,
    find_audio_track,
    mp4_supports,
    mux,
    read_video_frames,
    write_wav,
)
from v2s_jax.model.loss import BITS_PER_NAT
from v2s_jax.quantize import dequantize
from v2s_jax.sampling import GenerationResult, find_degeneracies
from v2s_jax.sonification.options import SampleOptions
from v2s_jax.sonification.settings import GenerationSettings
from v2s_jax.types import Features

AUDIO_SUFFIX = ".wav"
FIGURE_SUFFIX = ".png"
OUTPUT_SUFFIXES = (AUDIO_SUFFIX, ".mp4", ".mkv", FIGURE_SUFFIX)
"""One of .mp4 and .mkv is written."""

_OTHER_CONTAINER = {".mp4": ".mkv", ".mkv": ".mp4"}
_RESULT_NAME = re.compile(r"_sound(_\d+)?$")
MAX_NAME_BYTES = 255
"""Longest file name of the usual file systems."""

KEY_FRAMES = 10
"""Key frames above the waveform, as many as the paper's figure 4 has seconds."""
KEY_FRAME_HEIGHT_PX = 160
"""Height of the key frames; more than the page shows them at."""

Take = tuple[int, GenerationResult]
"""A seed, and what was generated with it."""

KeyFrames = list[UInt8[np.ndarray, "height width 3"]]


@dataclass(frozen=True)
class GeneratedFiles:
    """The files written for one take of a video."""

    source: Path
    """The video; without one, the name of the controls."""
    wav: Path
    video: Path | None
    """None without a video."""
    figure: Path
    warnings: tuple[str, ...]
    settings: GenerationSettings
    """With them this take can be generated again; its seed is that of the take."""
    bits_per_sample: float | None = None
    """-log2 p of the generated samples, by which takes are ranked; None for a single take."""
    seen: str | None = None
    """What a model of sounds sees in the video; None for other models."""


@dataclass
class Report:
    """The result for each video."""

    settings: GenerationSettings | None = None
    """What ran; None if no video could be read."""
    note: str | None = None
    """Why a faster engine did not run, and how to get it."""
    generated: list[GeneratedFiles] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)
    """Files of an earlier run with more takes."""
    failed: dict[Path, str] = field(default_factory=dict)
    """One line for each video that failed."""
    audio_sec: float = 0.0
    """Length of all generated audio."""
    generation_sec: float = 0.0
    """Time for decoding and generation, without compiling and writing."""

    @property
    def x_real_time(self) -> float:
        """Seconds of audio per second of generation."""
        return self.audio_sec / self.generation_sec if self.generation_sec else 0.0


def degeneracy_warnings(
    source: Path, result: GenerationResult, config: Config, options: SampleOptions
) -> tuple[str, ...]:
    """Return a line for each degenerate stretch of generated audio."""
    degeneracies = result.degeneracies
    if not options.max_retries:  # then generation did not look for them
        degeneracies = tuple(find_degeneracies(result.levels, config, result.expected_db))
    return tuple(f"{source}: {degeneracy}" for degeneracy in degeneracies)


def likeliest_first(takes: Iterable[Take]) -> list[Take]:
    """Sort takes, each with its seed, by their likelihood if it is known, then by their seed."""
    return sorted(takes, key=lambda take: (take[1].nll or 0.0, take[0]))


def bits_per_sample(result: GenerationResult, samples: int) -> float | None:
    """Return -log2 p of each of the generated samples, if it is known."""
    return None if result.nll is None else result.nll * BITS_PER_NAT / samples


def take_stem(stem: Path, rank: int, takes: int) -> Path:
    """Return the path of a take's files without their suffixes."""
    return stem if takes == 1 else stem.with_name(f"{stem.name}_{rank}")


def is_result(path: Path) -> bool:
    """Say whether a video is part of a set of outputs."""
    stem = path.with_suffix("")
    beside = (output_path(stem, suffix) for suffix in (AUDIO_SUFFIX, FIGURE_SUFFIX))
    return _RESULT_NAME.search(path.stem) is not None and all(map(Path.exists, beside))


def input_files(sources: Iterable[Path], options: SampleOptions) -> set[Path]:
    """Return the files that a run reads, which it must not replace: videos, and the prefix."""
    prefix = () if options.prefix is None else (options.prefix,)
    return {path.resolve() for path in (*sources, *prefix)}


def check_outputs(stem: Path, options: SampleOptions, samples: int, sources: set[Path]) -> None:
    """Raise InputError if the outputs of a video cannot be written, before any work on it.

    That is: a name is too long, a file would replace an input video, or the outputs exist already.
    A set that a stopped run left incomplete may be completed (`publish`).
    """
    stems = [take_stem(stem, rank, options.takes) for rank in range(1, options.takes + 1)]
    with wrap_read_errors(stem.parent):
        for suffix in OUTPUT_SUFFIXES:
            path = output_path(stems[-1], suffix)
            if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
                raise InputError(
                    f"{path}: a name of {len(os.fsencode(path.name))} bytes, at most "
                    f"{MAX_NAME_BYTES} are possible: rename the video"
                )
            with suppress(FileNotFoundError):  # the whole path may be too long too
                (stem.parent / f"{UNFINISHED}{'x' * 16}" / path.name).lstat()
        existing = [_existing_outputs(one) for one in stems]
    for path in itertools.chain(*existing):
        if path.resolve() in sources:
            raise InputError(f"{path}: is one of the input files: use another --out")
        if options.overwrite:
            continue
        is_foreign = path.suffix == AUDIO_SUFFIX and _count_wav_samples(path) != samples
        if is_foreign or all(map(_is_complete, existing)):
            raise _exists_error(path)


def _exists_error(path: Path) -> InputError:
    return InputError(f"{path}: already exists: use --overwrite or another --out")


def _existing_outputs(stem: Path) -> list[Path]:
    return [path for suffix in OUTPUT_SUFFIXES if (path := output_path(stem, suffix)).exists()]


def _count_wav_samples(path: Path) -> int | None:
    try:
        with wave.open(str(path)) as file:
            return file.getnframes()
    except (OSError, EOFError, wave.Error):
        return None


def _is_complete(files: Sequence[Path]) -> bool:
    suffixes = {path.suffix for path in files}
    return {AUDIO_SUFFIX, FIGURE_SUFFIX} < suffixes


def output_path(stem: Path, suffix: str) -> Path:
    """Return the path of an output; `with_suffix` would cut a name with dots."""
    return stem.with_name(stem.name + suffix)


def publish(staging: Path, folder: Path, overwrite: bool) -> None:
    """Move all files of `staging`, whole sets of outputs, to `folder`, where they replace others.

    Without `overwrite` they replace only files with the same bytes: those of a run of the same
    command that was stopped here. Raises InputError for any other.
    """
    moves = [(path, folder / path.name) for path in sorted(staging.iterdir())]
    with wrap_read_errors(folder):
        for path, target in moves:
            if overwrite or not target.exists() or file_hash(path) == file_hash(target):
                continue
            raise _exists_error(target)
    for path, target in moves:
        try:
            path.replace(target)
            if target.suffix in _OTHER_CONTAINER:
                target.with_suffix(_OTHER_CONTAINER[target.suffix]).unlink(missing_ok=True)
        except OSError as error:
            raise write_error(target, error.strerror) from error


def remove_stale_takes(
    stem: Path, takes: int, sources: set[Path], *, has_video: bool = True
) -> list[Path]:
    """Remove the takes of an earlier run with more of them; return the removed files.

    Otherwise their ranks would look like this run's. Only complete sets of audio, figure and, with
    `has_video`, video with the ranks right after the last one are removed, and never an input
    video. A run with one take has no ranks and removes nothing.
    """
    removed: list[Path] = []
    rank = takes + 1
    while takes > 1:
        files = _existing_outputs(take_stem(stem, rank, rank))
        suffixes, without_video = {path.suffix for path in files}, {AUDIO_SUFFIX, FIGURE_SUFFIX}
        is_complete = suffixes > without_video if has_video else suffixes == without_video
        if not is_complete or sources & {path.resolve() for path in files}:
            break
        for path in files:
            path.unlink()
        removed += files
        rank += 1
    return removed


def write_outputs(
    video: Video,
    stem: Path,
    staging: Path,
    levels: UInt8[np.ndarray, " samples"],
    config: Config,
    key_frames: KeyFrames,
    options: SampleOptions,
    settings: GenerationSettings,
    seen: str | None = None,
    tags: Tags = NO_TAGS,
    controls: Features | None = None,
) -> GeneratedFiles:
    """Write a wav, the video with this audio, and a figure of the key frames and the audio.

    They are written to the folder `staging`; the paths returned are those after `publish`. `seen`
    is added to the figure's title, the curves of `controls` to the figure, `tags` to the metadata
    of each.
    """
    model, clock = config.model, config.clock
    waveform = dequantize(levels, model.q_levels, model.quantization)
    staged = staging / stem.name
    wav, figure = output_path(staged, AUDIO_SUFFIX), output_path(staged, FIGURE_SUFFIX)
    indices = key_frame_indices(clock.video_frames(len(levels)), KEY_FRAMES)
    drawn = FigureProcess.shared().draw(
        figure,
        key_frames,
        [float(clock.video_frame_time_sec(index)) for index in indices],
        waveform,
        clock.sample_rate_hz,
        f"{video.path.name}: {seen}" if seen else video.path.name,
        None if controls is None else unpack_curves(controls, clock),
        tags,
    )
    write_wav(wav, waveform, clock.sample_rate_hz, tags)
    warnings = [*video.warnings]
    track = None
    if options.original != "drop":
        track, problem = find_audio_track(video.path)
        if track is None:
            detail = f" ({problem})" if problem else ""
            warnings.append(f"{video.path}: has no audio to {options.original}{detail}")
        elif problem:
            warnings.append(f"{video.path}: {problem}")
    original = options.original if track else "drop"
    # The video may name the software that made it.
    added = {name: text for name, text in tags.items() if name != "software"}
    muxed = mux(video, wav, staged, original, options.original_gain_db, track, added)
    warnings += muxed.warnings
    muxed_path = stem.parent / muxed.path.name
    if muxed_path.suffix == ".mkv":
        is_audio = original == "keep" and mp4_supports(video)
        unsupported = "the original audio" if is_audio else f"{video.codec} video"
        warnings.append(
            f"{muxed_path}: written as Matroska, since MP4 does not support {unsupported}"
        )
    drawn.result()
    return GeneratedFiles(
        video.path,
        stem.parent / wav.name,
        muxed_path,
        stem.parent / figure.name,
        tuple(warnings),
        settings,
        seen=seen,
    )


def read_key_frames(video: Video, clock: Clock, samples: int) -> KeyFrames:
    """Decode the video again, in its own aspect ratio, and return a few frames."""
    selected = set(key_frame_indices(clock.video_frames(samples), KEY_FRAMES))
    width = video.width_at(KEY_FRAME_HEIGHT_PX)
    frames = read_video_frames(video, clock, KEY_FRAME_HEIGHT_PX, width)
    return [frame for i, frame in enumerate(frames) if i in selected]
