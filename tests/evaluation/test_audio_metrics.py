"""All metrics of sets of waveforms: reference audio scores best, noise and wrong audio do not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.audio import reference_clips, synthetic_clips
from v2s_jax.config import TINY
from v2s_jax.evaluation.audio_metrics import AudioMetrics, AudioResults, evaluate_audio
from v2s_jax.evaluation.classifier import AudioClassifier, TrainAudio, fit_classifier
from v2s_jax.evaluation.clips import ReferenceClips
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.report.audio_tables import DETECTOR_MIN_F1, audio_tables
from v2s_jax.evaluation.statistics import ALL_CLIPS, ALL_EQUAL

CATEGORIES = ("drum", "water_flowing")
REASON = "the train split has clips of drum only"


def rendered(split: str) -> ReferenceClips:
    """Five clips of each category, categories taking turns."""
    drums, waters = (synthetic_clips(category, split, 5, 16) for category in CATEGORIES)
    return reference_clips([clip for pair in zip(drums, waters, strict=True) for clip in pair])


@pytest.fixture(scope="module")
def clips() -> ReferenceClips:
    return rendered("test")


@pytest.fixture(scope="module")
def classifier() -> AudioClassifier:
    train = rendered("train")
    return fit_classifier(TrainAudio(train.audio, train.categories, 16_000))


def evaluate(clips: ReferenceClips, classifier: AudioClassifier | str, **audio) -> AudioResults:
    models = [Model(name, {None: Path(name)}, (TINY,), "") for name in audio]
    return evaluate_audio(models, clips, classifier, lambda model: audio[model.name])


@pytest.fixture(scope="module")
def results(clips, classifier):
    """A perfect model, and one that gives each clip the audio of the other category."""
    swapped = [clips.audio[clip ^ 1] for clip in range(10)]
    return evaluate(clips, classifier, perfect=clips.audio, swapped=swapped)


def test_reference_audio_of_a_model_scores_as_the_control(results):
    perfect, reference = results.models["perfect"], results.controls["reference"]
    assert perfect == reference
    for group in (*CATEGORIES, ALL_CLIPS):
        row = perfect.spectral[group][0]
        assert (row.name, row.log_mel_db.value, row.convergence.value) == ("reference", 0.0, 0.0)
        assert perfect.frechet[group].generated == perfect.frechet[group].floor
        loudness = perfect.loudness[group]  # also of water, which has no events
        assert loudness.correlation.value == pytest.approx(1.0)
        assert loudness.shuffled_correlation.value < 0.5
        assert loudness.median_lag_ms == 0.0
    table = perfect.synchrony[ALL_CLIPS]
    assert table.row("own_video").within == table.row("reference").within
    assert table.row("own_video").within[-1].f1.value > 0.95
    assert set(perfect.synchrony) == {"drum", ALL_CLIPS}
    assert perfect.classification.accuracy == perfect.classification.ceiling
    assert perfect.classification.ceiling.value > 0.9


def test_noise_and_wrong_audio_are_at_the_floor(results):
    noise, wrong = results.controls["noise"], results.models["swapped"]
    for bad in (noise, wrong):
        for group in (*CATEGORIES, ALL_CLIPS):
            assert bad.spectral[group][0].log_mel_db.value > 5.0
        assert bad.loudness["drum"].correlation.value < 0.3
        assert bad.synchrony["drum"].row("own_video").within[-1].f1.value < 0.6
    distances = noise.frechet[ALL_CLIPS]
    assert distances.generated == distances.noise
    assert distances.noise.min > distances.floor.max
    assert noise.classification.accuracy.value <= 0.5
    assert wrong.classification.accuracy.value < 0.1


def test_models_are_compared_clip_by_clip(results):
    rows = {(row.metric, row.category): row for row in results.differences}
    assert {metric for metric, _ in rows} == {"f1_100_ms", "category_accuracy", "log_mel_db"}
    assert ("f1_100_ms", "water_flowing") not in rows  # it has no events

    def scores(metrics: AudioMetrics) -> dict[str, float]:
        return {
            "f1_100_ms": metrics.synchrony["drum"].row("own_video").within[-1].f1.value,
            "category_accuracy": metrics.classification.accuracy.value,
            "log_mel_db": metrics.spectral[ALL_CLIPS][0].log_mel_db.value,
        }

    perfect, wrong = scores(results.models["perfect"]), scores(results.models["swapped"])
    for metric, value in perfect.items():
        row = rows[metric, ALL_CLIPS]
        assert (row.model, row.minus) == ("perfect", "swapped")
        assert row.estimate.value == pytest.approx(value - wrong[metric])
        if metric == "category_accuracy":  # every clip is better
            assert row.estimate.reason == ALL_EQUAL
        else:
            assert row.estimate.low <= row.estimate.value <= row.estimate.high
            assert min(abs(row.estimate.low), abs(row.estimate.high)) > 0


def test_rows_follow_from_the_clips_of_the_report(results):
    for kind in ("models", "controls"):
        for name, metrics in getattr(results, kind).items():
            clips = [getattr(clip, kind)[name] for clip in results.clips]
            mean = np.mean([clip.distances.log_mel_db for clip in clips])
            assert metrics.spectral[ALL_CLIPS][0].log_mel_db.value == pytest.approx(mean)
            right = [getattr(c, kind)[name].predicted_category == c.category for c in results.clips]
            assert metrics.classification.accuracy.value == pytest.approx(np.mean(right))
            silent = np.mean(["silent" in clip.artifacts for clip in clips])
            assert metrics.artifacts[ALL_CLIPS]["silent"].value == pytest.approx(silent)


def test_tables_have_all_models_and_controls(results):
    tables = {table.title.split(",")[0]: table for table in audio_tables(results)}
    for title in ("Synchrony of perfect", "Synchrony of swapped", "Loudness over time", "Probes"):
        assert title in tables
    for table in tables.values():
        assert {len(row) for row in table.rows} <= {len(table.columns)}
        assert "None" not in table.as_text() and "nan" not in table.as_text()
    onsets = next(table for title, table in tables.items() if title.startswith("Onsets matched"))
    controls = ("own video", "shuffled video", "shifted audio")
    assert [row[0] for row in onsets.rows] == [
        *(f"{name}, {of}" for name in ("perfect", "swapped") for of in controls),
        *("noise", "reference", "video frame"),
    ]
    assert onsets.rows[0][1:] == onsets.rows[-2][1:]  # perfect is the reference audio
    accuracy = tables["Category accuracy"]
    assert accuracy.columns == ["", "perfect", "swapped", "noise", "reference"]
    assert [row[0] for row in accuracy.rows] == [*CATEGORIES, ALL_CLIPS]
    assert "--probe counterfactual" in tables["Probes"].as_text()


def test_limit_of_the_detector_is_noted():
    """Snores swell: the reference audio itself has few onsets that F1 could rest on."""
    snores = reference_clips(list(synthetic_clips("snoring", "test", 5, 32)))
    results = evaluate(snores, REASON, perfect=snores.audio)
    f1 = results.controls["reference"].synchrony["snoring"].row("own_video").within[-1].f1
    assert f1.value < DETECTOR_MIN_F1
    notes = [n for table in audio_tables(results) for n in table.notes if "onset detector:" in n]
    assert len(notes) == 2 and all(f"snoring {f1.value:.3f}" in note for note in notes)


def test_few_clips_and_no_classifier_have_reasons(clips):
    few = clips.subset([0])
    results = evaluate(few, REASON, one=few.audio)
    metrics = results.models["one"]
    assert (metrics.classification, results.no_classifier) == (None, REASON)
    assert metrics.frechet[ALL_CLIPS].reason == "1 clip: two halves of two need 4"
    assert [row.name for row in metrics.spectral["drum"]] == ["reference"]
    text = "\n".join(table.as_text() for table in audio_tables(results))
    assert f"none: {REASON}" in text
    assert "none of all clips: 1 clip: two halves of two need 4" in text
    assert "\nwithout an interval: 1 clip: an interval needs 5" in text


def test_unknown_events_are_the_onsets_of_the_reference_audio(clips):
    few = replace(clips.subset([0, 1]), labels=None, probe=None)
    metrics = evaluate(few, REASON, perfect=few.audio).models["perfect"]
    assert metrics.synchrony.keys() == {*CATEGORIES, ALL_CLIPS}
    assert metrics.synchrony["drum"].reference == "reference_onsets"
    assert metrics.synchrony["drum"].row("own_video").within[0].f1.value == 1.0
