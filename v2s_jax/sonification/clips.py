"""Input videos: finding them, opening them, and reading their features."""

import itertools
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float16

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.features.extractor import Extractor, iter_model_features
from v2s_jax.io import file_hash, wrap_read_errors
from v2s_jax.media import VIDEO_SUFFIXES, Video, probe, read_video_frames
from v2s_jax.sampling import GenerationResult
from v2s_jax.sonification.options import SampleOptions
from v2s_jax.sonification.outputs import Report, check_outputs, take_stem

IN_MEMORY_BYTES = 64 * 2**20
"""Features kept in memory for the later takes of a video: 8 minutes of it; more go to a file."""

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
    takes: list[tuple[int, GenerationResult]] = field(default_factory=list)
    """Seed and audio of the takes that are finished."""


def find_videos(paths: Sequence[Path | str], out: Path) -> list[Path]:
    """List the files among `paths`, and the videos directly inside the folders, each once.

    Raises InputError for a missing path, a folder without videos, and an input folder that is also
    the output folder, since the next run would read the results as input.
    """
    videos: dict[Path, None] = {}
    for path in map(Path, paths):
        with wrap_read_errors(path):
            videos.update(dict.fromkeys(_videos_at(path, out)))
    return list(videos)


def _videos_at(path: Path, out: Path) -> list[Path]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder: check --video")
    if not path.is_dir():
        return [path]
    if path.resolve() == out.resolve():
        raise InputError(f"{path}: is also the output folder: choose another --out")
    videos = sorted(p for p in path.iterdir() if _is_video_name(p))
    if not videos:
        raise InputError(f"{path}: no video in this folder: choose a folder with videos")
    return videos


def _is_video_name(path: Path) -> bool:
    # Hidden files are leftovers of killed runs, or belong to other programs.
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def open_clips(
    sources: Sequence[Path], out: Path, config: Config, options: SampleOptions, report: Report
) -> list[Clip]:
    """Probe each video and check its outputs; failures go to the report."""
    name_counts = Counter(source.stem for source in sources)
    resolved = {source.resolve() for source in sources}
    clips = []
    for source in sources:
        stem = out / f"{source.stem}_sound"
        try:
            if name_counts[source.stem] > 1:
                raise InputError(
                    f"{source}: another video is also named {source.stem}: use different --out "
                    "folders for them"
                )
            for rank in range(1, options.takes + 1):
                check_outputs(take_stem(stem, rank, options.takes), options.overwrite, resolved)
            clips.append(_open_clip(source, stem, config))
        except InputError as error:
            report.failed[source] = str(error)
    return clips


def _open_clip(source: Path, stem: Path, config: Config) -> Clip:
    video = probe(source)
    samples = config.clock.samples(video.duration_sec)
    if samples < 1:
        raise InputError(
            f"{source}: lasts {float(video.duration_sec):.6f} s, less than one audio sample: use a "
            "longer video"
        )
    with wrap_read_errors(source):
        return Clip(video, stem, samples, file_hash(source))


def drop_short_clips(clips: Sequence[Clip], prefix_samples: int, report: Report) -> list[Clip]:
    """Return the clips that are longer than the prefix; the others fail."""
    for clip in clips:
        if clip.samples <= prefix_samples:
            report.failed[clip.video.path] = (
                f"{clip.video.path}: its audio has {clip.samples} samples, no more than the "
                f"prefix's {prefix_samples}: give a shorter --prefix"
            )
    return [clip for clip in clips if clip.samples > prefix_samples]


def read_features(clip: Clip, config: Config, extractor: Extractor) -> Iterator[Vector]:
    """Decode a video while audio is generated for it.

    If decoding fails the error is stored and zeros follow, so that the other clips go on.
    """
    frames = read_video_frames(
        clip.video, config.clock, extractor.frame_height_px, extractor.frame_width_px
    )
    try:
        yield from iter_model_features(extractor, frames, config)
    except InputError as error:
        clip.error = str(error)
        yield from itertools.repeat(np.zeros(config.model.feature_dim, np.float16))


class SharedFeatures:
    """Features of one video, decoded once for several takes at different positions.

    Takes can start late and run on other devices, in other threads. Vectors that were read stay
    available, first in memory, then in a temporary file.
    """

    def __init__(self, vectors: Iterator[Vector]) -> None:
        self._vectors = vectors
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115
        self._count = 0
        self._lock = threading.Lock()

    def read(self) -> Iterator[Vector]:
        """Yield all vectors from the first one on, for one take."""
        for index in itertools.count():
            with self._lock:
                vector = self._read_next() if index == self._count else self._read_again(index)
            if vector is None:
                return
            yield vector

    def close(self) -> None:
        """Free the vectors, after the last take."""
        self._file.close()

    def _read_next(self) -> Vector | None:
        vector = next(self._vectors, None)
        if vector is not None:
            self._file.seek(0, 2)
            self._file.write(vector.tobytes())
            self._vector_bytes = vector.nbytes
            self._count += 1
        return vector

    def _read_again(self, index: int) -> Vector:
        self._file.seek(index * self._vector_bytes)
        return np.frombuffer(self._file.read(self._vector_bytes), np.float16)
