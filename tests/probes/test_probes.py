"""The probes show the codes where they claim to, and the variants use them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.probes import precision
from tests.probes.clips import (
    AMPLITUDES,
    BEAT_VIDEO_FRAMES,
    CHANCE_BITS,
    CLOCK,
    CODES,
    FEATURE_DIM,
    FLOOR_BITS,
    PROBES,
    SAMPLES,
    SILENCE,
    VIDEO_FRAMES,
    make_batch,
    sound,
)
from tests.probes.report import Interval, over_seeds, separated
from tests.probes.study import CHUNKS, Run, passes_per_clip, run_experiment, with_steps_for

CLIPS = 2_000


def accuracy(features: np.ndarray, codes: np.ndarray) -> float:
    """Held-out accuracy of a linear classifier (least squares) of one beat's code."""
    half = len(features) // 2
    inputs = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    weights, *_ = np.linalg.lstsq(inputs[:half], np.eye(CODES)[codes[:half]], rcond=None)
    return float(np.mean(np.argmax(inputs[half:] @ weights, axis=1) == codes[half:]))


def permuted(features: np.ndarray, codes: np.ndarray, times: int = 19) -> list[float]:
    """The accuracies with codes permuted among the clips: chance level."""
    random = np.random.default_rng(0)
    return [accuracy(features, random.permutation(codes)) for _ in range(times)]


@pytest.fixture(scope="module")
def probes() -> dict:
    return {probe: make_batch(probe, "train", 0, 0, CLIPS) for probe in PROBES}


def appearance_of(batch) -> np.ndarray:
    return batch.features[..., :FEATURE_DIM].astype(np.float64)


@pytest.mark.parametrize("beat", range(len(BEAT_VIDEO_FRAMES)))
def test_appearance_probe_shows_the_code_in_every_video_frame(probes, beat):
    batch, codes = probes["appearance"]
    for video_frame in (0, BEAT_VIDEO_FRAMES[beat], VIDEO_FRAMES - 1):
        assert accuracy(appearance_of(batch)[:, video_frame], codes[:, beat]) > 0.95


@pytest.mark.parametrize("beat", range(len(BEAT_VIDEO_FRAMES)))
def test_motion_probe_shows_the_code_in_motion_only(probes, beat):
    """Neither one video frame nor all together show it in their appearance."""
    batch, codes = probes["motion"]
    appearance = appearance_of(batch)
    motion = batch.features[:, BEAT_VIDEO_FRAMES[beat], FEATURE_DIM:].astype(np.float64)
    assert accuracy(motion, codes[:, beat]) > 0.95
    one = appearance[:, BEAT_VIDEO_FRAMES[beat]]
    every = appearance.reshape(CLIPS, -1)
    for features in (one, every):
        assert accuracy(features, codes[:, beat]) <= max(permuted(features, codes[:, beat]))


@pytest.mark.parametrize("beat", range(len(BEAT_VIDEO_FRAMES)))
def test_foresight_probe_shows_the_code_in_the_last_video_frame_only(probes, beat):
    batch, codes = probes["foresight"]
    appearance = appearance_of(batch)
    assert accuracy(appearance[:, -1], codes[:, beat]) > 0.95
    before = appearance[:, :-1].reshape(CLIPS, -1)
    assert accuracy(before, codes[:, beat]) <= max(permuted(before, codes[:, beat]))


def test_entropy_of_the_sound():
    """Each set of codes has a different sound and the same probability: 4 ** 4 sounds, 8 bits."""
    every = np.stack(np.meshgrid(*[np.arange(CODES)] * 4), axis=-1).reshape(-1, 4)
    sounds = {levels.tobytes() for levels in sound(every)}
    assert np.log2(len(sounds)) == CHANCE_BITS
    assert FLOOR_BITS == 0
    levels = sound(every)
    silent = np.ones(SAMPLES, bool)
    for beat, video_frame in enumerate(BEAT_VIDEO_FRAMES):
        start = video_frame * CLOCK.samples_per_video_frame
        silent[start : start + CLOCK.samples_per_video_frame] = False
        first = levels[:, start].astype(int) - SILENCE
        np.testing.assert_array_equal(first, np.array(AMPLITUDES)[every[:, beat]])
    assert (levels[:, silent] == SILENCE).all()


def test_probes_share_sounds_and_splits_share_nothing(probes):
    levels = [probes[probe][0].levels for probe in PROBES]
    np.testing.assert_array_equal(levels[0], levels[1])
    np.testing.assert_array_equal(levels[0], levels[2])
    again, _ = make_batch("motion", "train", 0, 0, CLIPS)
    np.testing.assert_array_equal(again.features, probes["motion"][0].features)
    for other in (("test", 0, 0), ("train", 1, 0), ("train", 0, 1)):
        batch, _ = make_batch("motion", *other, CLIPS)
        assert np.mean(batch.features == probes["motion"][0].features) < 0.01


def test_intervals():
    """Student's t with two degrees of freedom: 4.303 standard errors."""
    interval = over_seeds([1.0, 2.0, 3.0])
    assert interval.mean == 2
    assert interval.high == pytest.approx(2 + 4.3027 / np.sqrt(3), abs=1e-3)
    assert separated(interval) == "not separated"
    assert separated(Interval(-1, -2, -0.5)) == "yes"


def test_compute_counts_forward_and_backward_passes():
    assert [passes_per_clip(window) for window in (1, 2, 4)] == [12, 17, 25]
    longer = with_steps_for(Run("foresight", "seq", 0, 400, 1), 100 * passes_per_clip(4))
    assert longer.steps == 100 * 25 // 12 * CHUNKS


@pytest.mark.slow
def test_command_writes_tables_and_plots(tmp_path):
    args = ["starvation", "--seeds", "1", "--steps", str(CHUNKS), "--out", str(tmp_path)]
    result = subprocess.run(
        [sys.executable, "-m", "tests.probes", *args],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"XLA_FLAGS": ""},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    written = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(written) == {"starvation.json", "starvation.md", "starvation.png", "encoder.png"}
    assert all(written.values())
    assert (tmp_path / "starvation.md").read_text() in result.stdout


@pytest.mark.slow
def test_precision_curves(tmp_path):
    """Two calls of eight updates: the first loss hardly differs, and the plot is written."""
    exact, rounded = curves = [
        precision.run_experiment(name, 0, 16) for name in precision.PRECISIONS
    ]
    assert [step for step, _ in exact.train] == [8, 16]
    (_, first), (_, rounded_first) = exact.train[0], rounded.train[0]
    assert first != rounded_first
    assert rounded_first == pytest.approx(first, rel=1e-3)
    assert exact.held_out_bits < 8
    precision.draw(curves, tmp_path / "precision.png")
    assert (tmp_path / "precision.png").stat().st_size > 0


@pytest.mark.slow
def test_variants_use_the_features_they_read():
    """A short study, one seed: Frame learns from appearance but not from foresight, Seq learns from
    foresight, and the unconditional model stays at chance."""
    unconditional, frame, blind, seq = (
        run_experiment(Run(probe, variant, 0, steps, CHUNKS)).bits_per_clip
        for probe, variant, steps in (
            ("appearance", "unconditional", 800),
            ("appearance", "frame", 800),
            ("foresight", "frame", 800),
            ("foresight", "seq", 1_600),
        )
    )

    def error(difference: np.ndarray) -> float:
        return 3 * float(difference.std() / np.sqrt(len(difference)))

    assert np.mean(unconditional - frame) > 4 + error(unconditional - frame)
    assert np.mean(blind - seq) > 2 + error(blind - seq)
    assert unconditional.mean() > CHANCE_BITS
    assert blind.mean() > CHANCE_BITS
