"""Very short random clips for tests of training, and the tiny preset for them."""

import dataclasses
import json
from collections.abc import Generator
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from v2s_jax.config import Config
from v2s_jax.model import VideoToSound, initial_carry
from v2s_jax.training.loop import TrainingData
from v2s_jax.training.metrics import METRICS_FILE
from v2s_jax.training.state import init_state
from v2s_jax.training.step import DeviceBatch, train_step
from v2s_jax.training.validation import ValidationSet
from v2s_jax.types import Batch, FeatureStatistics, Statistics

VIDEO_FRAMES = 2
SAMPLES = VIDEO_FRAMES * 1024
APPEARANCE_DIM = 12
CATEGORIES = ("drum", "water")
APPEARANCE = Statistics(np.full(APPEARANCE_DIM, 0.5, np.float32), 0.3)
STATISTICS = FeatureStatistics(APPEARANCE, APPEARANCE)


def small(tiny: Config, **training) -> Config:
    """Return the tiny preset for very short clips, eight per batch."""
    defaults = {
        "batch_clips": 8,
        "steps_per_call": 2,
        "precision": "highest",
        "eval_every_steps": 0,
    }
    return dataclasses.replace(
        tiny,
        model=dataclasses.replace(
            tiny.model,
            appearance_dim=APPEARANCE_DIM,
            standardize_motion=False,
            principal_components=None,
        ),
        training=dataclasses.replace(tiny.training, **{**defaults, **training}),
    )


class Clips:
    """Endless random batches; records which clips were read."""

    def __init__(self, config: Config, stop_before: int | None = None) -> None:
        self.clips = config.training.batch_clips
        self.width = config.model.feature_dim
        self.stop_before = stop_before
        self.read: list[list[int]] = []

    def __call__(self, first: int, rows: range) -> Generator[Batch]:
        number = first
        while number != self.stop_before:
            batch = self.batch(number, rows)
            self.read.append(batch.clip_index.tolist())
            yield batch
            number += 1
        raise ConnectionAbortedError("the machine went away")

    def batch(self, number: int, rows: range | None = None) -> Batch:
        """Return rows of a batch; all by default."""
        own = slice(None) if rows is None else slice(rows.start, rows.stop)
        random = np.random.default_rng(number)
        noise = random.normal(128, 12, (self.clips, SAMPLES))
        mask = np.ones((self.clips, SAMPLES), bool)
        mask[0, 1500:] = False  # a shorter clip: device means of means would not be the mean
        features = random.random((self.clips, VIDEO_FRAMES, self.width)).astype(np.float16)
        index = np.arange(self.clips) + number * self.clips
        return Batch(
            noise.clip(0, 255).astype(np.uint8)[own],
            features[own],
            mask[own],
            index[own],
            tuple(f"clip-{i}" for i in index[own]),
            tuple(CATEGORIES[i % 2] for i in index[own]),
        )

    @property
    def validation(self) -> ValidationSet:
        """Two batches that are not trained on."""
        numbers = (10_000, 10_001)
        return ValidationSet(
            lambda rows: (self.batch(number, rows) for number in numbers), CATEGORIES
        )


def training_data(clips) -> TrainingData:
    return TrainingData(clips, SAMPLES, STATISTICS, "seeded noise")


def read_log(workdir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (workdir / METRICS_FILE).read_text().splitlines()]


def read_losses(workdir: Path) -> list[float]:
    return [line["nats_per_sample"] for line in read_log(workdir)]


def compiled_bytes(config: Config, video_frames: int) -> int:
    """Return the temporary memory of one compiled update."""
    model, clips = VideoToSound(config), config.training.batch_clips
    state = jax.eval_shape(lambda: init_state(model, STATISTICS))
    carry = jax.eval_shape(lambda params: initial_carry(model, params, clips), state.params)
    samples = video_frames * config.clock.samples_per_video_frame
    batch = DeviceBatch(
        jax.ShapeDtypeStruct((clips, samples), jnp.uint8),
        jax.ShapeDtypeStruct((clips, video_frames, APPEARANCE_DIM), jnp.float16),
        jax.ShapeDtypeStruct((clips, samples), bool),
    )
    step = jax.jit(partial(train_step, model, 1, all_reduce_sum=lambda tree: tree))
    return step.lower(state, carry, batch).compile().memory_analysis().temp_size_in_bytes
