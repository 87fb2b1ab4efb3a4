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
from v2s_jax.evaluation.scorer import Scorer, ScorerInput
from v2s_jax.training.loop import TrainingData, train
from v2s_jax.training.metrics import METRICS_FILE
from v2s_jax.types import Batch

CHUNKS = 4  # of 128 samples, one beat each
TEST_CLIPS = 512
SCORER_BATCH_SIZE = 256


@dataclass(frozen=True)
class Run:
    """The settings of one training run."""

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
                context_dim=16,
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
    """The results of a run."""

    run: Run
    bits_per_clip: np.ndarray
    """Of each held-out clip; the same clips for every run of a probe."""
    encoder_gradient: list[tuple[int, float]]
    """Steps, and the mean gradient norm of the encoder since the previous entry."""
    train_sec: float


def select_features(run: Run, batch: Batch) -> Batch:
    """Leave out motion for the variants that do not read it."""
    return batch._replace(features=batch.features[..., : run.config.model.feature_dim])


def batches(run: Run, first: int, rows: range) -> Generator[Batch]:
    """Yield endless fresh clips; one process trains, on all rows."""
    number = first
    while True:
        batch, _ = make_batch(run.probe, "train", run.seed, number, run.config.training.batch_clips)
        yield select_features(run, batch)
        number += 1


def run_experiment(run: Run) -> Outcome:
    """Train and score with the loop and the scorer of the package."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder)
        began = time.perf_counter()
        with contextlib.redirect_stderr(io.StringIO()):  # hides the progress bars of many runs
            train(run.config, TrainingData(partial(batches, run), SAMPLES, None), workdir)
        train_sec = time.perf_counter() - began
        _, params = load_params(workdir)
        lines = [json.loads(line) for line in (workdir / METRICS_FILE).read_text().splitlines()]
    test, _ = make_batch(run.probe, "test", 0, 0, TEST_CLIPS)
    test = select_features(run, test)
    sounds = [ScorerInput(*clip) for clip in zip(test.levels, test.features, strict=True)]
    scores = Scorer(run.config, params, batch_size=SCORER_BATCH_SIZE).score_all(sounds)
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
    """Return the run with as many updates on whole clips as `passes` allow."""
    clips = passes // passes_per_clip(run.encoder_bptt_chunks)
    return replace(run, steps=clips * CHUNKS)
