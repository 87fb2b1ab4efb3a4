"""The direct way: generator -> features -> records in memory, without files and TensorFlow.

    with open_direct("small", config, workers=None, keep_mb=2_048) as open_split:
        clips = open_split("train")

`train.py --data synthetic:small` reads its batches from this. Clip n of a split is the n-th of
`Order.recipes`, the clip that `v2s prepare synthetic` writes n-th; its record is the one made of
that file, but for the video codec's loss. Worker processes make clips when they are asked for: the
batch that is trained on next, and the one after it. What was made first stays in memory, as far as
`keep_mb` reaches, and is not made again in later epochs.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace

from v2s_jax.config import Clock, Config, ExtractorConfig
from v2s_jax.datasets import ClipRecord, Metadata
from v2s_jax.datasets.dataset import IN_MEMORY as KIND
from v2s_jax.datasets.locking import CORES
from v2s_jax.datasets.synthetic.clip_files import as_record, opened
from v2s_jax.datasets.synthetic.command import PIXELS, dataset_metadata
from v2s_jax.datasets.synthetic.presets import PRESETS
from v2s_jax.datasets.synthetic.probes import FILES_ALONE, PROBES
from v2s_jax.datasets.synthetic.recipe import ClipSpec, DatasetSpec
from v2s_jax.errors import InputError, unknown_name_error
from v2s_jax.features.extractor import feature_dims
from v2s_jax.worker_pool import open_pool, worker_killed_error

BYTES_PER_MB = 10**6
BYTES_PER_VALUE = 2
"""Of int16 samples and of float16 features."""

FORM = f"{KIND}PRESET[,seed=N][,probe=NAME]"


@dataclass(frozen=True)
class InMemoryClips:
    """One split of an order, as `v2s_jax.datasets.Clips` wants it."""

    order: DatasetSpec
    location: str
    split: str
    metadata: Metadata
    recipes: tuple[ClipSpec, ...]
    makers: "ClipWorkers"

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, sorted."""
        return tuple(self.metadata["categories"])

    @property
    def clock(self) -> Clock:
        """The clock that the clips are made with."""
        return self.order.clock

    @property
    def extraction(self) -> ExtractorConfig:
        """How the features are made."""
        return PIXELS.extraction

    @property
    def fingerprint(self) -> str:
        """What tells this data from other data: everything that its clips depend on, digested."""
        digest = hashlib.sha256(repr(self.recipes).encode()).hexdigest()[:8]
        return f"{self.order.name} in memory, split {self.split}, {len(self)} clips, {digest}"

    def of_category(self, category: str) -> "InMemoryClips":
        """Return the clips of one category alone; raise InputError when there is none."""
        if category not in self.categories:
            raise unknown_name_error("category", category, self.categories, f"{self.location} has")
        chosen = tuple(recipe for recipe in self.recipes if recipe.category == category)
        return replace(self, recipes=chosen)

    def __len__(self) -> int:
        return len(self.recipes)

    def read(self, clips: Sequence[int]) -> Iterator[ClipRecord]:
        """Yield clips by number, in this order, made by all workers at once.

        Raises InputError when the system kills a worker.
        """
        return self.makers.records([self.recipes[clip] for clip in clips])


class ClipWorkers:
    """Processes that make clips, and what they made."""

    def __init__(self, workers: int, keep_mb: int, motion: bool) -> None:
        self._workers = workers
        self._motion = motion
        self._pool = open_pool(workers)
        self._kept: dict[ClipSpec, Future[ClipRecord]] = {}
        self._bytes_left = keep_mb * BYTES_PER_MB
        self._lock = threading.Lock()  # batches are read by several threads

    def records(self, recipes: Sequence[ClipSpec]) -> Generator[ClipRecord, None, None]:
        """Yield the clips in this order; all are under way before the first one is awaited."""
        try:
            awaited = deque([self._made(recipe) for recipe in recipes])
            while awaited:
                yield awaited.popleft().result()
        except BrokenProcessPool as error:
            raise worker_killed_error(self._workers, "--run.workers") from error

    def close(self) -> None:
        """End the processes, each after the clip that it is at."""
        self._pool.shutdown(cancel_futures=True)

    def _made(self, recipe: ClipSpec) -> Future[ClipRecord]:
        """Return a clip that is kept or being made, or have it made."""
        with self._lock:
            if recipe in self._kept:
                return self._kept[recipe]
            clip = self._pool.submit(make_record, recipe, self._motion)
            size = record_bytes(recipe, self._motion)
            if size <= self._bytes_left:
                self._kept[recipe] = clip
                self._bytes_left -= size
            return clip


def make_record(recipe: ClipSpec, motion: bool) -> ClipRecord:
    """Make a clip and its features: what the workers do."""
    clip = recipe.make()
    extractor = opened(PIXELS)
    size = (extractor.picture_height_px, extractor.picture_width_px)
    assert clip.frames.shape[1:3] == size  # else they must be scaled, as ffmpeg does with files
    return as_record(
        clip.clip_id, clip.category, clip.frames, clip.waveform, extractor, motion=motion
    )


def record_bytes(recipe: ClipSpec, motion: bool) -> int:
    """Return the memory that a clip's record takes."""
    appearance_dim, motion_dim = feature_dims(PIXELS.name)
    width = appearance_dim + (motion_dim if motion else 0)
    samples = recipe.clock.samples_per_video_frame
    return BYTES_PER_VALUE * recipe.video_frames * (samples + width)


@contextmanager
def open_in_memory(
    words: str, config: Config, workers: int | None, keep_mb: int
) -> Iterator[Callable[[str], InMemoryClips]]:
    """Give what opens the splits of PRESET[,seed=N][,probe=NAME]; end the workers afterwards.

    The clips are on the config's clock. Motion is made for a model that reads it only: for others
    it has no columns. Workers are one for each core unless their number is given.

    Raises InputError for words that are unknown, and for another extractor than pixels.
    """
    where = f"{KIND}{words}"
    if config.extractor != PIXELS.name:
        raise InputError(
            f"--data {where}: makes {PIXELS.name} features alone, the config wants "
            f"{config.extractor}: make files with `v2s prepare synthetic --extractor "
            f"{config.extractor}` and give their folder"
        )
    motion = config.model.variant == "flow"
    with open_order(read_order(words, config.clock), where, workers, keep_mb, motion) as open_split:
        yield open_split


@contextmanager
def open_order(
    order: DatasetSpec, where: str, workers: int | None, keep_mb: int, motion: bool
) -> Iterator[Callable[[str], InMemoryClips]]:
    """Give what opens the splits of an order; see `open_in_memory`."""
    metadata = dataset_metadata(order, PIXELS)
    if not motion:
        metadata["motion_dim"] = 0
    makers = ClipWorkers(workers or CORES, keep_mb, motion)

    def open_split(split: str) -> InMemoryClips:
        if split not in order.preset.splits:
            there = ", ".join(order.preset.splits)
            raise InputError(f"{where}: no split {split!r}: choose from {there}")
        return InMemoryClips(order, where, split, metadata, tuple(order.recipes(split)), makers)

    try:
        yield open_split
    finally:
        makers.close()


def read_order(words: str, clock: Clock) -> DatasetSpec:
    """Return the order that PRESET[,seed=N][,probe=NAME] stands for.

    Raises InputError, with the nearest name, for one that is unknown, for a negative seed, and for
    a probe of files, whose clips in memory would be ordinary ones.
    """
    preset, *settings = words.split(",")
    if preset not in PRESETS:
        raise unknown_name_error(f"--data {KIND}{words}: preset", preset, PRESETS)
    order = DatasetSpec(PRESETS[preset], clock=clock)
    for setting in settings:
        match setting.split("="):
            case ["seed", digits] if digits.removeprefix("-").isdecimal():
                order = replace(order, seed=int(digits))
            case ["probe", name] if name in FILES_ALONE:
                raise InputError(
                    f"--data {KIND}{words}: {name} changes files alone: leave it out, or make "
                    f"files with `v2s prepare synthetic --probe {name}` and give their "
                    "folder"
                )
            case ["probe", name] if name in PROBES:
                order = replace(order, probe=name)
            case ["probe", name]:
                raise unknown_name_error(f"--data {KIND}{words}: probe", name, PROBES)
            case _:
                raise InputError(f"--data {KIND}{words}: {setting!r} is not understood: use {FORM}")
    return order
