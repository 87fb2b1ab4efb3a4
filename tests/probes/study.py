"""One run of a study: train a small model on a probe, score held-out clips."""

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from tests.probes.clips import (
    CLOCK,
    FEATURE_DIM,
    Q_LEVELS,
    SAMPLES,
    Probe,
    make_batch,
)
from v2s_jax.checkpoints import load_params
from v2s_jax.config import Config, ModelConfig, TrainingConfig, Variant
from v2s_jax.evaluation.likelihood import Scorer, Sound
from v2s_jax.training.loop import TrainingData, train
from v2s_jax.training.metrics import METRICS_FILE
from v2s_jax.types import Batch

CHUNKS = 4  # of 128 samples, one beat in each
TEST_CLIPS = 512
SCORER_TILE = 256


@dataclass(frozen=True)
class Run:
    """What is trained."""

    probe: Probe
    variant: Variant
    seed: int
    steps: int
    encoder_bptt_chunks: int

    @property
    def config(self) -> Config:
        """The config of the run."""
        return Config(
            name="probe",
            clock=CLOCK,
            model=ModelConfig(
                variant=self.variant,
                big_frame_size=32,
                frame_size=8,
                dim=48,
                mlp_dim=48,
                embedding_dim=8,
                appearance_dim=FEATURE_DIM,
                motion_dim=FEATURE_DIM,
                q_levels=Q_LEVELS,
            ),
            training=TrainingConfig(
                batch_clips=32,
                chunk_samples=SAMPLES // CHUNKS,
                encoder_bptt_chunks=self.encoder_bptt_chunks,  # read by seq and flow
                steps_per_call=CHUNKS,
                steps=self.steps,
                decay_steps=self.steps // 2,
                learning_rate=3e-3,
                seed=self.seed,
                log_every_steps=100,
                checkpoint_every_steps=self.steps,
                precision="highest",
            ),
        )


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    run: Run
    bits_per_clip: np.ndarray
    """Of each held-out clip; the same clips for every run of a probe."""
    encoder_gradient: list[tuple[int, float]]
    """Steps, and the encoder's mean gradient norm over the updates since the last one."""
    train_sec: float


def seen_by(variant: Variant, batch: Batch) -> Batch:
    """Leave out motion for the variants that do not read it."""
    width = 2 * FEATURE_DIM if variant == "flow" else FEATURE_DIM
    return batch._replace(features=batch.features[..., :width])


def batches(run: Run, first: int, rows: range) -> Generator[Batch]:
    """Yield endless fresh clips; one process trains, on all rows."""
    number = first
    while True:
        batch, _ = make_batch(run.probe, "train", run.seed, number, run.config.training.batch_clips)
        yield seen_by(run.variant, batch)
        number += 1


def carry_out(run: Run) -> Outcome:
    """Train and score with the package's own loop and scorer."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder)
        began = time.perf_counter()
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar: many runs have one
            train(run.config, TrainingData(partial(batches, run), SAMPLES, None), workdir)
        train_sec = time.perf_counter() - began
        _, params = load_params(workdir)
        lines = [json.loads(line) for line in (workdir / METRICS_FILE).read_text().splitlines()]
    test, _ = make_batch(run.probe, "test", 0, 0, TEST_CLIPS)
    test = seen_by(run.variant, test)
    sounds = [Sound(*clip) for clip in zip(test.levels, test.features, strict=True)]
    scores = Scorer(run.config, params, tile=SCORER_TILE).score_all(sounds)
    gradient = [
        (line["step"], line["gradient_norm/encoder"])
        for line in lines
        if "gradient_norm/encoder" in line
    ]
    return Outcome(run, np.array([score.bits for score in scores]), gradient, train_sec)


def passes_per_clip(encoder_bptt_chunks: int) -> int:
    """Return the forward passes (a backward one counts as two) over chunks that a clip costs."""
    plain, recomputed = 3, 4
    if encoder_bptt_chunks == 1:
        return CHUNKS * plain
    return encoder_bptt_chunks * recomputed + (CHUNKS - 1) * plain


def with_steps_for(run: Run, passes: int) -> Run:
    """Return the run with as many whole clips' updates as `passes` in all allow."""
    clips = passes // passes_per_clip(run.encoder_bptt_chunks)
    return replace(run, steps=clips * CHUNKS)
