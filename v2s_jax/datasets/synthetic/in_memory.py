"""Synthetic clips rendered in memory, without files and TensorFlow.

    with open_in_memory("small", config, workers=None, keep_mb=2_048) as open_split:
        clips = open_split("train")

`v2s train --data synthetic:small` reads its batches from this. Clip n of a split is the clip that
`v2s prepare synthetic` writes as number n; the records differ only by the loss of the video codec.
Worker processes render the clips of the next batches. The first clips stay in memory, up to
`keep_mb`, and are not rendered again in later epochs.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace

from tqdm import tqdm

from v2s_jax.config import Clock, Config, ExtractorConfig
from v2s_jax.datasets import ClipRecord, ClipSource, Metadata
from v2s_jax.datasets.dataset import IN_MEMORY
from v2s_jax.datasets.synthetic.clip_files import open_extractor_once, to_record
from v2s_jax.datasets.synthetic.generate_dataset import PIXELS, dataset_metadata
from v2s_jax.datasets.synthetic.presets import PRESETS, Preset
from v2s_jax.datasets.synthetic.probes import FILE_PROBES, PROBES
from v2s_jax.datasets.synthetic.spec import ClipSpec, DatasetSpec
from v2s_jax.errors import InputError, unknown_name_error
from v2s_jax.features.extractor import feature_dims
from v2s_jax.processes import CPU_COUNT, open_pool, worker_killed_error

BYTES_PER_MB = 10**6
BYTES_PER_VALUE = 2
"""Of int16 samples and float16 features."""

MAX_CATEGORY_CLIPS = 10**6
"""Two hundred times VEGAS; rendering them would take a day."""

SYNTAX = f"{IN_MEMORY}PRESET[,seed=N][,probe=NAME][,CATEGORY=N]"


@dataclass(frozen=True)
class InMemoryClips(ClipSource):
    """One split of a dataset."""

    spec: DatasetSpec
    location: str
    split: str
    metadata: Metadata
    clips: tuple[ClipSpec, ...]
    workers: "ClipWorkers"

    @property
    def clock(self) -> Clock:
        """The clock of the clips."""
        return self.spec.clock

    @property
    def extraction(self) -> ExtractorConfig:
        """Settings of the feature extractor."""
        return PIXELS.extraction

    @property
    def fingerprint(self) -> str:
        """One line that identifies the data: a digest of everything that the clips depend on."""
        digest = hashlib.sha256(repr(self.clips).encode()).hexdigest()[:8]
        return f"{self.spec.name} in memory, split {self.split}, {len(self)} clips, {digest}"

    def of_category(self, category: str) -> "InMemoryClips":
        """Return only the clips of one category; raise InputError if it is unknown."""
        if category not in self.categories:
            raise unknown_name_error("category", category, self.categories, f"{self.location} has")
        return replace(self, clips=tuple(clip for clip in self.clips if clip.category == category))

    def take(self, clips: Sequence[int]) -> "InMemoryClips":
        """Return only these clips, in this order."""
        return replace(self, clips=tuple(self.clips[clip] for clip in clips))

    def clip_categories(self, clips: Sequence[int]) -> Iterator[str]:
        """Yield the category of each of these clips."""
        return (self.clips[clip].category for clip in clips)

    def __len__(self) -> int:
        return len(self.clips)

    def read(self, clips: Sequence[int]) -> Iterator[ClipRecord]:
        """Yield clips by number, in this order, rendered by all workers in parallel.

        Raises InputError if the system kills a worker.
        """
        return self.workers.records([self.clips[clip] for clip in clips])


class ClipWorkers:
    """Processes that render clips, and a cache of the first clips."""

    def __init__(self, workers: int, keep_mb: int, motion: bool) -> None:
        self._workers = workers
        self._motion = motion
        self._pool = open_pool(workers)
        self._cache: dict[ClipSpec, Future[ClipRecord]] = {}
        self._keep_mb = keep_mb
        self._bytes_left = keep_mb * BYTES_PER_MB
        self._is_full = False
        self._lock = threading.Lock()  # several threads read batches

    def records(self, clips: Sequence[ClipSpec]) -> Generator[ClipRecord, None, None]:
        """Yield the clips in this order; all are submitted before the first one is awaited."""
        try:
            pending = deque([self._submit(clip) for clip in clips])
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise worker_killed_error(self._workers, "--run.workers") from error

    def close(self) -> None:
        """End the processes after the clips that they are rendering."""
        self._pool.shutdown(cancel_futures=True)

    def _submit(self, clip: ClipSpec) -> Future[ClipRecord]:
        """Return a clip from the cache, or start to render it."""
        with self._lock:
            if clip in self._cache:
                return self._cache[clip]
            future = self._pool.submit(render_record, clip, self._motion)
            size = record_bytes(clip, self._motion)
            if size <= self._bytes_left:
                self._cache[clip] = future
                self._bytes_left -= size
                return future
            was_full, self._is_full = self._is_full, True
        if self._keep_mb and not was_full:
            tqdm.write(
                f"--run.keep-mb {self._keep_mb} is full (clips: {len(self._cache)}): others are "
                "rendered again in every epoch, unless it is larger"
            )
        return future


def render_record(spec: ClipSpec, motion: bool) -> ClipRecord:
    """Render a clip and extract its features, in a worker."""
    clip = spec.render()
    extractor = open_extractor_once(PIXELS)
    size = (extractor.frame_height_px, extractor.frame_width_px)
    assert clip.frames.shape[1:3] == size  # ffmpeg scales files; nothing would scale these
    return to_record(
        clip.clip_id, clip.category, clip.frames, clip.waveform, extractor, motion=motion
    )


def record_bytes(clip: ClipSpec, motion: bool) -> int:
    """Return the memory that a clip's record takes."""
    appearance_dim, motion_dim = feature_dims(PIXELS.name)
    width = appearance_dim + (motion_dim if motion else 0)
    samples = clip.clock.samples_per_video_frame
    return BYTES_PER_VALUE * clip.video_frames * (samples + width)


@contextmanager
def open_in_memory(
    text: str, config: Config, workers: int | None, keep_mb: int
) -> Iterator[Callable[[str], InMemoryClips]]:
    """Yield a function that opens the splits of PRESET[,seed=N][,probe=NAME][,CATEGORY=N].

    The clips use the config's clock. Motion has no columns unless the model reads it. There is one
    worker per core by default; they end with the block.

    Raises InputError for unknown names, and for other extractors than pixels.
    """
    location = f"{IN_MEMORY}{text}"
    if config.extractor != PIXELS.name:
        raise InputError(
            f"--data {location}: has only {PIXELS.name} features, the config expects "
            f"{config.extractor}: write files with `v2s prepare synthetic --extractor "
            f"{config.extractor}` and use their folder"
        )
    motion = config.model.reads_motion
    spec = parse_spec(text, config.clock)
    with open_splits(spec, location, workers, keep_mb, motion) as open_split:
        yield open_split


@contextmanager
def open_splits(
    spec: DatasetSpec, location: str, workers: int | None, keep_mb: int, motion: bool
) -> Iterator[Callable[[str], InMemoryClips]]:
    """Yield a function that opens the splits of a dataset; see `open_in_memory`."""
    metadata = dataset_metadata(spec, PIXELS)
    if not motion:
        metadata["motion_dim"] = 0
    pool = ClipWorkers(workers or CPU_COUNT, keep_mb, motion)

    def open_split(split: str) -> InMemoryClips:
        if split not in spec.preset.splits:
            choices = ", ".join(spec.preset.splits)
            raise InputError(f"{location}: no split {split!r}: choose from {choices}")
        return InMemoryClips(spec, location, split, metadata, tuple(spec.clips(split)), pool)

    try:
        yield open_split
    finally:
        pool.close()


def _with_clips(preset: Preset, category: str, clips: int, option: str) -> Preset:
    """Return a preset with another number of training clips of a category."""
    if category not in preset.categories:
        raise unknown_name_error(f"{option} category", category, preset.categories)
    if not 1 <= clips <= MAX_CATEGORY_CLIPS:
        raise InputError(f"{option} {category}={clips}: use 1 to {MAX_CATEGORY_CLIPS} clips")
    if category in dict(preset.train_clips_of):
        raise InputError(f"{option} {category} is given twice: leave one out")
    return replace(preset, train_clips_of=(*preset.train_clips_of, (category, clips)))


def parse_spec(text: str, clock: Clock) -> DatasetSpec:
    """Parse PRESET[,seed=N][,probe=NAME][,CATEGORY=N].

    The last one is the number of clips of a category in `train`, where it is not the preset's.
    Raises InputError for unknown names, a negative seed, and probes that only change files.
    """
    preset, *settings = text.split(",")
    option = f"--data {IN_MEMORY}{text}:"
    if preset not in PRESETS:
        raise unknown_name_error(f"{option} preset", preset, PRESETS)
    spec = DatasetSpec(PRESETS[preset], clock=clock)
    for setting in settings:
        match setting.split("="):
            case ["seed", digits] if digits.removeprefix("-").isdecimal():
                spec = replace(spec, seed=int(digits))
            case ["probe", name] if name in FILE_PROBES:
                raise InputError(
                    f"{option} {name} changes only files: remove it, or write files with "
                    f"`v2s prepare synthetic --probe {name}` and use their folder"
                )
            case ["probe", name] if name in PROBES:
                spec = replace(spec, probe=name)
            case ["probe", name]:
                raise unknown_name_error(f"{option} probe", name, PROBES)
            case [name, digits] if digits.isdecimal():
                spec = replace(spec, preset=_with_clips(spec.preset, name, int(digits), option))
            case _:
                raise InputError(f"{option} cannot parse {setting!r}: use {SYNTAX}")
    return spec
