"""The order of clips, batches read ahead of the training step, and a validation part.

The clip at a global position depends only on the seed and the position. So a run can resume at any
batch, and any number of hosts produces the same global batches.
"""

import functools
import itertools
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from jaxtyping import Float16, Int64, UInt8

from v2s_jax.config import Config, ModelConfig, TrainingConfig
from v2s_jax.datasets.schema import ClipRecord, ClipSource
from v2s_jax.datasets.tfrecord import READERS
from v2s_jax.errors import InputError
from v2s_jax.quantize import INT16_SCALE, q_zero, quantize
from v2s_jax.types import Batch
from v2s_jax.validation import check_features

TRAIN_CLIPS_PER_VALIDATION_CLIP = 10
"""At most one clip in ten is held out."""
MAX_CLIPS_SEARCHED = 1_000
"""Clips whose category is looked up to find one of each: on disk this reads the clips."""
BATCHES_AHEAD = 2  # one is read while one waits; a batch of the paper's size takes 0.2 GB


def shuffled_indices(
    seed: int, clips: int, positions: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """Return the clip at each global position of an endless, reshuffled sequence.

    Epoch p // clips visits every clip once. With 3 clips, positions 0 to 2 hold one permutation of
    0, 1, 2, and positions 3 to 5 another.

    Args:
        seed: seed of the order.
        clips: number of clips in the dataset.
        positions: global positions, from 0.

    Returns:
        The clip number at each position.
    """
    epochs = positions // clips
    order = np.empty_like(positions)
    for epoch in np.unique(epochs):
        mask = epochs == epoch
        order[mask] = _permutation(seed, clips, int(epoch))[positions[mask] % clips]
    return order


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, clips: int, epoch: int) -> Int64[np.ndarray, " clips"]:
    """Sort the clips by raw Philox output, which NumPy keeps stable, unlike `permutation`."""
    key = np.array([seed % 2**64, epoch], np.uint64)
    return np.argsort(np.random.Philox(key=key).random_raw(clips), kind="stable")


def with_data_sizes(config: Config, data: ClipSource) -> Config:
    """Return a config with the clock and the widths of controls, which depend on the data.

    Chunks of one video frame stay chunks of one video frame.
    """
    if config.extractor != "controls" or data.metadata["extractor"] != "controls":
        return config
    training = config.training
    if training.chunk_samples == config.clock.samples_per_video_frame:
        training = replace(training, chunk_samples=data.clock.samples_per_video_frame)
    model = replace(
        config.model,
        appearance_dim=data.metadata["appearance_dim"],
        motion_dim=data.metadata["motion_dim"],
    )
    return replace(config, clock=data.clock, model=model, training=training)


def check_fits(data: ClipSource, config: Config) -> None:
    """Raise InputError if the clock, extractor, weights or feature width differ from the config."""
    motion = config.model.reads_motion
    pairs = {
        "extractor": (data.metadata["extractor"], config.extractor),
        "clock.sample_rate_hz": (data.clock.sample_rate_hz, config.clock.sample_rate_hz),
        "clock.samples_per_video_frame": (
            data.clock.samples_per_video_frame,
            config.clock.samples_per_video_frame,
        ),
        "model.appearance_dim": (data.metadata["appearance_dim"], config.model.appearance_dim),
    }
    if motion:
        pairs["model.motion_dim"] = (data.metadata["motion_dim"], config.model.motion_dim)
    diff = [
        f"{name} is {actual}, the config expects {expected}"
        for name, (actual, expected) in pairs.items()
        if actual != expected
    ]
    diff += config.extraction.diff(data.extraction, motion=motion)
    if diff:
        actual, expected = pairs["extractor"]
        fix = "choose another config" if actual == expected else f"use --extractor {actual}"
        raise InputError(f"{data.location}: {'; '.join(diff)}: {fix}, or rebuild the dataset")


def batches(
    data: ClipSource, config: Config, first_batch: int, rows: range, readers: int = READERS
) -> Generator[Batch, None, None]:
    """Yield batches without end, starting at batch number `first_batch`.

    Batch b holds the clips at global positions from b * batch_clips on. Every batch is as long as
    the longest clip of the dataset, rounded up to whole video frames and chunks; `mask` marks the
    samples that are not padding.

    Args:
        data: one split of a dataset.
        config: the training config; its clock and extractor must match the data.
        first_batch: number of the first batch, to resume at.
        rows: rows of the global batch that this host feeds.
        readers: threads that read ahead; they end when the iterator is closed.

    Returns:
        An endless iterator of batches.

    Raises:
        InputError: at once when the data do not match the config, later for a corrupt clip.
    """
    check_fits(data, config)
    return _read_ahead(data, config, first_batch, rows, readers)


def _read_ahead(
    data: ClipSource, config: Config, first_batch: int, rows: range, readers: int
) -> Generator[Batch, None, None]:
    def positions(batch: int) -> Int64[np.ndarray, " rows"]:
        return batch * config.training.batch_clips + np.array(rows)

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
        length = record.waveform.size
        if length < config.model.big_frame_size:
            raise InputError(
                f"clip {record.clip_id}: {length} samples are fewer than one big frame of "
                f"{config.model.big_frame_size}: remove it from the dataset"
            )
        levels[row, :length] = _levels_of_int16(config.model)[record.waveform.view(np.uint16)]
        model_features = select_model_features(record, config.model)
        clip_frames = config.clock.video_frames(length)
        check_features(
            model_features, clip_frames, config.model.feature_dim, f"clip {record.clip_id}"
        )
        features[row, :clip_frames] = model_features
        mask[row, :length] = True
        ids.append(record.clip_id)
        categories.append(record.category)
    return Batch(levels, features, mask, clips, tuple(ids), tuple(categories))


def held_out_batches(data: ClipSource, config: Config, rows: range) -> Generator[Batch, None, None]:
    """Yield the batches of the evaluation during training, the same ones every time.

    They hold `eval_clips` clips chosen by the seed; `rows` are those that this host scores. Rows
    past the last clip repeat it and are fully masked.
    """
    count = min(len(data), config.training.eval_clips)
    local_rows = np.array(rows, np.int64)
    for first in range(0, count, config.training.batch_clips):
        positions = first + local_rows
        batch = read_batch(data, config, np.minimum(positions, count - 1))
        batch.mask[positions >= count] = False
        yield batch


def split_validation(data: ClipSource, training: TrainingConfig) -> tuple[ClipSource, ClipSource]:
    """Split the training split into clips to train on and clips to evaluate on.

    The validation part is a tenth of the clips, at most `eval_clips`, chosen by the seed. To it is
    added one clip of each category that is missing, if one is found early in the same order. It
    depends only on the clips and the config, so every process and every resumed run has the same.

    Args:
        data: the training split, or one category of it.
        training: gives the seed, the number of clips, and the category.

    Returns:
        The clips to train on and the validation part, each in the order of `data`.

    Raises:
        InputError: there are too few clips, or a clip cannot be read.
    """
    count = min(training.eval_clips, max(1, len(data) // TRAIN_CLIPS_PER_VALIDATION_CLIP))
    order = shuffled_indices(training.seed, len(data), np.arange(len(data))).tolist()
    chosen = set(order[:count])
    missing = set(data.categories if training.category is None else ())
    searched = order[:MAX_CLIPS_SEARCHED]
    for clip, category in zip(searched, data.clip_categories(searched), strict=True):
        if not missing:
            break
        if category in missing:
            missing.remove(category)
            chosen.add(clip)
    clips = range(len(data))
    rest = [clip for clip in clips if clip not in chosen]
    if not rest:
        raise InputError(
            f"{data.location}: {len(data)} training clips are too few to hold out a validation "
            "part: use --training.eval-split test, or --training.eval-every-steps 0 for no "
            "evaluation"
        )
    return data.take(rest), data.take(sorted(chosen))


def select_model_features(
    record: ClipRecord, model: ModelConfig
) -> Float16[np.ndarray, "video_frames feature_dim"]:
    """Return the features that the model reads: appearance, and motion if it does."""
    if model.reads_motion:
        return np.concatenate([record.appearance, record.motion], axis=1)
    return record.appearance


def padded_size(data: ClipSource, config: Config) -> tuple[int, int]:
    """Return the samples and video frames of every batch."""
    per_frame = config.clock.samples_per_video_frame
    unit = max(per_frame, config.training.chunk_samples)  # one divides the other
    samples = -(-data.metadata["samples_max"] // unit) * unit
    return samples, samples // per_frame


@functools.lru_cache(maxsize=4)
def _levels_of_int16(model: ModelConfig) -> UInt8[np.ndarray, "65536"]:
    """Return the level of every int16 value, indexed by its bits as uint16."""
    values = np.arange(2**16, dtype=np.uint16).view(np.int16)
    return quantize(values / INT16_SCALE, model.q_levels, model.quantization)
