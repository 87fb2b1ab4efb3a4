"""The order of clips, and batches read ahead of the training step.

The clip at a global position depends on the seed and the position alone, so a run resumes at any
batch, and any number of hosts feeds the same global batches.
"""

import functools
import itertools
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float16, Int64, UInt8

from v2s_jax.config import Config, ModelConfig
from v2s_jax.datasets.clip_source import ClipSource
from v2s_jax.datasets.schema import INT16_SCALE, ClipRecord
from v2s_jax.datasets.tfrecord import READERS
from v2s_jax.errors import InputError
from v2s_jax.quantize import q_zero, quantize
from v2s_jax.types import Batch
from v2s_jax.validation import check_features

BATCHES_AHEAD = 2  # one being read while one waits; a batch of the paper's size takes 0.2 GB


def shuffled_indices(
    seed: int, clips: int, positions: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """Return the clip at each global position of an endless, reshuffled pass.

    Position p lies in epoch p // clips; each epoch visits every clip once. With 3 clips,
    positions 0 to 2 hold one permutation of 0, 1, 2, and positions 3 to 5 another.
    """
    epochs = positions // clips
    order = np.empty_like(positions)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        order[here] = _permutation(seed, clips, int(epoch))[positions[here] % clips]
    return order


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, clips: int, epoch: int) -> Int64[np.ndarray, " clips"]:
    """Sort the clips by Philox's raw numbers.

    NumPy keeps a bit generator's raw stream the same in every version, but not `permutation`.
    """
    key = np.array([seed % 2**64, epoch], np.uint64)
    return np.argsort(np.random.Philox(key=key).random_raw(clips), kind="stable")


def check_fits(data: ClipSource, config: Config) -> None:
    """Raise InputError when the data were made for another clock, extractor, weights or width."""
    made_with = {
        "extractor": data.metadata["extractor"],
        "clock.sample_rate_hz": data.clock.sample_rate_hz,
        "clock.samples_per_video_frame": data.clock.samples_per_video_frame,
        "model.appearance_dim": data.metadata["appearance_dim"],
    }
    wanted = {
        "extractor": config.extractor,
        "clock.sample_rate_hz": config.clock.sample_rate_hz,
        "clock.samples_per_video_frame": config.clock.samples_per_video_frame,
        "model.appearance_dim": config.model.appearance_dim,
    }
    if config.model.variant == "flow":
        made_with["model.motion_dim"] = data.metadata["motion_dim"]
        wanted["model.motion_dim"] = config.model.motion_dim
    diff = [
        f"{name} is {made_with[name]}, the config wants {wanted[name]}"
        for name in wanted
        if made_with[name] != wanted[name]
    ]
    motion = config.model.variant == "flow"
    diff += config.extraction.diff(data.extraction, motion=motion)
    if diff:
        same_extractor = made_with["extractor"] == wanted["extractor"]
        mend = (
            "choose another config"
            if same_extractor
            else f"use --extractor {made_with['extractor']}"
        )
        raise InputError(
            f"{data.location}: {'; '.join(diff)}: {mend}, or make the data set again for this one"
        )


def batches(
    data: ClipSource, config: Config, first_batch: int, rows: slice | range, readers: int = READERS
) -> Generator[Batch, None, None]:
    """Yield batches without end, from batch number `first_batch` on.

    Batch b holds the clips at global positions b * batch_clips and up; `rows` are the rows of it
    that this host feeds. Every batch is as long as the longest clip of the data set, rounded up
    to whole video frames and whole chunks; `mask` tells a clip's own samples from the padding.

    The next batches are read meanwhile by `readers` threads, which end when the iterator is closed.
    Raises InputError here for data that do not fit the config, and later for a damaged clip.
    """
    check_fits(data, config)
    whole_batch = range(config.training.batch_clips)
    own_rows = np.array(whole_batch[rows] if isinstance(rows, slice) else rows, np.int64)
    return _read_ahead(data, config, first_batch, own_rows, readers)


def _read_ahead(
    data: ClipSource,
    config: Config,
    first_batch: int,
    rows: Int64[np.ndarray, " rows"],
    readers: int,
) -> Generator[Batch, None, None]:
    def positions(batch: int) -> Int64[np.ndarray, " rows"]:
        return batch * config.training.batch_clips + rows

    with ThreadPoolExecutor(readers, thread_name_prefix="v2s-read") as pool:
        numbers = itertools.count(first_batch)
        pending = deque(
            pool.submit(read_batch, data, config, positions(batch))
            for batch in itertools.islice(numbers, BATCHES_AHEAD)
        )
        try:
            for batch in numbers:
                ready = pending.popleft().result()
                pending.append(pool.submit(read_batch, data, config, positions(batch)))
                yield ready
        finally:
            for read in pending:
                read.cancel()


def read_batch(data: ClipSource, config: Config, positions: Int64[np.ndarray, " batch"]) -> Batch:
    """Read the clips at these global positions into one padded batch."""
    ids: list[str] = []
    categories: list[str] = []
    clips = shuffled_indices(config.training.seed, len(data), positions)
    samples, video_frames = padded_size(data, config)
    levels = np.full((len(clips), samples), q_zero(config.model.q_levels), np.uint8)
    features = np.zeros((len(clips), video_frames, config.model.feature_dim), np.float16)
    mask = np.zeros((len(clips), samples), bool)
    for row, record in enumerate(data.read(clips.tolist())):
        own = record.waveform.size
        if own < config.model.big_frame_size:
            raise InputError(
                f"clip {record.clip_id}: {own} samples are fewer than one big frame of "
                f"{config.model.big_frame_size}: leave it out of the data set"
            )
        levels[row, :own] = _levels_of_int16(config.model)[record.waveform.view(np.uint16)]
        seen = select_model_features(record, config.model)
        own_frames = config.clock.video_frames(own)
        check_features(seen, own_frames, config.model.feature_dim, f"clip {record.clip_id}")
        features[row, :own_frames] = seen
        mask[row, :own] = True
        ids.append(record.clip_id)
        categories.append(record.category)
    return Batch(levels, features, mask, clips, tuple(ids), tuple(categories))


def held_out_batches(data: ClipSource, config: Config, rows: range) -> Generator[Batch, None, None]:
    """Yield the batches of an evaluation while training, always the same.

    They hold as many clips as the config says, chosen by its seed; `rows` are those that this
    host scores. Rows beyond the last clip repeat it, all of it masked.
    """
    count = min(len(data), config.training.eval_clips)
    own_rows = np.array(rows, np.int64)
    for first in range(0, count, config.training.batch_clips):
        positions = first + own_rows
        batch = read_batch(data, config, np.minimum(positions, count - 1))
        batch.mask[positions >= count] = False
        yield batch


def select_model_features(
    record: ClipRecord, model: ModelConfig
) -> Float16[np.ndarray, "video_frames feature_dim"]:
    """Return what the model reads of each video frame: appearance, and for `flow` motion."""
    if model.variant == "flow":
        return np.concatenate([record.appearance, record.motion], axis=1)
    return record.appearance


def padded_size(data: ClipSource, config: Config) -> tuple[int, int]:
    """Return the samples and video frames of every batch."""
    per_frame = config.clock.samples_per_video_frame
    unit = max(per_frame, config.training.chunk_samples)  # the config lets one divide the other
    samples = -(-data.metadata["samples_max"] // unit) * unit
    return samples, samples // per_frame


@functools.lru_cache(maxsize=4)
def _levels_of_int16(model: ModelConfig) -> UInt8[np.ndarray, "65536"]:
    """Return the level of every int16 value, at the value's own bits read as uint16."""
    values = np.arange(2**16, dtype=np.uint16).view(np.int16)
    return quantize(values / INT16_SCALE, model.q_levels, model.quantization)
