"""Input videos: finding them, opening them, and reading their features."""

import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float16

from v2s_jax.config import Config
from v2s_jax.errors import InputError, file_error
from v2s_jax.features.extractor import Extractor, iter_model_features
from v2s_jax.features.imagenet.seen import SeenInVideo
from v2s_jax.io import file_hash, wrap_read_errors
from v2s_jax.media import VIDEO_SUFFIXES, Video, read_video_frames
from v2s_jax.sampling import GenerationResult
from v2s_jax.sonification.options import SampleOptions
from v2s_jax.sonification.outputs import Report, check_outputs, input_files, is_result

MAX_CLIP_SEC = 1_800
"""Longest video whose audio is generated as a whole (ours); a second takes 0.14 MB of memory."""

Vector = Float16[np.ndarray, " feature_dim"]


@dataclass
class Clip:
    """A video, and what has been generated for it."""

    video: Video
    stem: Path
    """Path of the outputs without their suffixes."""
    samples: int
    content_hash: bytes
    error: str | None = None
    """Set if decoding failed."""
    seen: SeenInVideo | None = None
    """What was seen in the video by a model of sounds."""
    vectors: list[Vector] = field(default_factory=list)
    """For a model of controls: what it read of all video frames."""
    takes: list[tuple[int, GenerationResult]] = field(default_factory=list)
    """Seed and audio of the takes that are finished."""

    @property
    def seen_warnings(self) -> tuple[str, ...]:
        """A warning if nothing known was seen."""
        warning = None if self.seen is None else self.seen.warning()
        return () if warning is None else (f"{self.video.path}: {warning}",)


def find_videos(
    paths: Sequence[Path | str], out: Path, failed: dict[Path, str]
) -> dict[Path, Path]:
    """Find the files among `paths`, and the videos at any depth inside the folders, each once.

    Results of earlier runs are left out, and so are hidden files: they are leftovers, or belong to
    other programs. Subfolders that cannot be read go to `failed`.

    Returns:
        For each video the folder of its outputs inside `out`: its own folder inside the one given.

    Raises:
        InputError: A path is missing, a folder has no videos, or an input folder is also the output
            folder, since the next run would read the results as input.
    """
    videos: dict[Path, Path] = {}
    known: set[Path] = set()  # one file may be given in several spellings

    def add(video: Path, folder: Path) -> None:
        if video.resolve() not in known:
            known.add(video.resolve())
            videos[video] = folder

    for path in map(Path, paths):
        if not path.exists():
            raise InputError(f"{path}: no such file or folder: check --video")
        if not path.is_dir():
            add(path, Path())
            continue
        if path.resolve() == out.resolve():
            raise InputError(f"{path}: is also the output folder: choose another --out")
        inside = list(_walk(path, {out.resolve(), path.resolve()}, failed))
        if not inside and not failed:
            raise InputError(f"{path}: no video in this folder: choose a folder with videos")
        for video in inside:
            add(video, video.parent.relative_to(path))
    if not videos and not failed:
        raise InputError("no videos given: name files or folders, as in --video VIDEO")
    return videos


def _walk(folder: Path, skipped: set[Path], failed: dict[Path, str]) -> Iterator[Path]:
    """Yield the videos below a folder; `skipped` has the output folder and the parents."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        failed[folder] = f"{folder}: cannot be read ({error.strerror}): check its permissions"
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            real = entry.resolve()
            if real not in skipped:
                yield from _walk(entry, skipped | {real}, failed)
        elif entry.suffix.lower() in VIDEO_SUFFIXES and not is_result(entry):
            yield entry


def open_clips(
    sources: Mapping[Path, Path],
    probes: Mapping[Path, Future[Video]],
    out: Path,
    config: Config,
    options: SampleOptions,
    report: Report,
) -> list[Clip]:
    """Check each video and its outputs; failures, of `probe` too, go to the report."""
    stems = {path: out / folder / f"{path.stem}_sound" for path, folder in sources.items()}
    counts = Counter(stems.values())
    resolved = input_files(sources, options)
    clips = []
    for source, stem in stems.items():
        try:
            if counts[stem] > 1:
                raise InputError(
                    f"{source}: another video is also named {source.stem}: use different --out "
                    "folders for them"
                )
            video = probes[source].result()
            if video.duration_sec > MAX_CLIP_SEC:
                raise InputError(
                    f"{source}: lasts {float(video.duration_sec):.0f} s, more than "
                    f"{MAX_CLIP_SEC} s: cut it, or use --stream, which needs no memory for it"
                )
            samples = config.clock.samples(video.duration_sec)
            check_outputs(stem, options, samples, resolved)
            with wrap_read_errors(source):
                clips.append(Clip(video, stem, samples, file_hash(source)))
        except Exception as error:
            report.failed[source] = file_error(source, error)
    return clips


def drop_short_clips(clips: Sequence[Clip], prefix_samples: int, report: Report) -> list[Clip]:
    """Return the clips that are longer than the prefix; the others go to the report."""
    for clip in clips:
        if clip.samples <= prefix_samples:
            report.failed[clip.video.path] = (
                f"{clip.video.path}: its audio has {clip.samples} samples, and the prefix at least "
                f"{prefix_samples}: use a longer video or give a shorter --prefix"
            )
    return [clip for clip in clips if clip.samples > prefix_samples]


def keep_vectors(clip: Clip, vectors: Iterator[Vector]) -> Iterator[Vector]:
    """Yield vectors, and keep them in the clip."""
    for vector in vectors:
        clip.vectors.append(vector)
        yield vector


def read_features(clip: Clip, config: Config, extractor: Extractor) -> Iterator[Vector]:
    """Decode a video while audio is generated for it.

    If that fails the error is stored and zeros follow, so that the other clips go on.
    """
    frames = read_video_frames(
        clip.video, config.clock, extractor.frame_height_px, extractor.frame_width_px
    )
    clip.seen = extractor.open_summary()
    try:
        yield from iter_model_features(extractor, frames, config, clip.seen)
    except Exception as error:
        clip.error = file_error(clip.video.path, error)
        yield from itertools.repeat(np.zeros(config.model.feature_dim, np.float16))


class SharedFeatures:
    """Features of one video, decoded once for several takes.

    Takes can start late and run on other devices, in other threads, so all vectors stay in memory
    until the last take ends: 8 KiB for each video frame.
    """

    def __init__(self, vectors: Iterator[Vector]) -> None:
        self._vectors = vectors
        self._read: list[Vector] = []
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Vector]:
        """Yield all vectors from the first one on, for one take."""
        for index in itertools.count():
            with self._lock:
                if index == len(self._read):
                    vector = next(self._vectors, None)
                    if vector is None:
                        return
                    self._read.append(vector)
            yield self._read[index]

    def clear(self) -> None:
        """Free the vectors, after the last take."""
        self._read.clear()
