"""Every metric of a set of sounds: true sounds reach the best, noise does not, order is nothing."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from v2s_jax.datasets.synthetic.generator import make_clip

from v2s_jax.config import TINY
from v2s_jax.datasets.synthetic.clip import SyntheticClip
from v2s_jax.errors import InputError
from v2s_jax.evaluation.categories import ALL_CLIPS
from v2s_jax.evaluation.classifier import SoundClassifier, fit_classifier
from v2s_jax.evaluation.clip_metrics import ReferenceClips
from v2s_jax.evaluation.clips import Label
from v2s_jax.evaluation.estimate import ALIKE
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.report.sound_tables import sound_tables
from v2s_jax.evaluation.report.tables import HEARD_F1
from v2s_jax.evaluation.sounds_part import sounds_part
from v2s_jax.quantize import dequantize, quantize

CATEGORIES = ("drum", "water_flowing")
OF_A_MODEL = ("own video", "shuffled video", "shifted sound")
REASON = "the train split has clips of drum alone"


def in_levels(waveform: np.ndarray) -> np.ndarray:
    return dequantize(quantize(waveform, 256, "linear"), 256, "linear")


def drawn(split: str, count: int):
    return [
        make_clip(category, split, index, 0, TINY.clock, 16)
        for index in range(count)
        for category in CATEGORIES
    ]


def known(made: Sequence[SyntheticClip]) -> ReferenceClips:
    return ReferenceClips(
        "synthetic_mini",
        [clip.clip_id for clip in made],
        [clip.category for clip in made],
        [in_levels(clip.waveform) for clip in made],
        [Label(clip.events_sec, dict(clip.state)) for clip in made],
        "none",
        TINY,
        0,
    )


@pytest.fixture(scope="module")
def clips() -> ReferenceClips:
    return known(drawn("test", 5))


@pytest.fixture(scope="module")
def classifier() -> SoundClassifier:
    made = drawn("train", 5)
    sounds = [in_levels(clip.waveform) for clip in made]
    return fit_classifier(sounds, [clip.category for clip in made], 16_000)


def model(name: str) -> Model:
    return Model(name, {None: Path(name)}, (TINY,), "")


def scored(clips: ReferenceClips, classifier: SoundClassifier | str, **sounds):
    return sounds_part([model(n) for n in sounds], clips, classifier, lambda m: sounds[m.name])


def swapped(values: list) -> list:
    """Each clip has the sound of the other category."""
    return [values[place ^ 1] for place in range(len(values))]


@pytest.fixture(scope="module")
def part(clips, classifier):
    return scored(clips, classifier, perfect=clips.true, swapped=swapped(clips.true))


def rows_of(found: dict, group: str = ALL_CLIPS) -> dict:
    return {row["name"]: row for row in found["synchrony"][group]["rows"]}


def test_true_sounds_of_a_model_are_as_good_as_the_control(part):
    perfect, true = part["models"]["perfect"], part["controls"]["true_sound"]
    for metric in set(perfect) - {"health"}:
        assert perfect[metric] == true[metric]
    for group in (*CATEGORIES, ALL_CLIPS):
        own = perfect["spectral"][group][0]
        assert own["name"] == "own_sound"
        assert [own[field]["value"] for field in ("log_mel_db", "convergence")] == [0.0, 0.0]
        assert perfect["frechet"][group]["generated"] == perfect["frechet"][group]["floor"]
    rows = rows_of(perfect)
    assert rows["own_video"]["within"] == rows["true_sound"]["within"]
    assert rows["own_video"]["within"][-1]["f1"]["value"] > 0.95
    assert rows["own_video"]["envelope_correlation"]["value"] == pytest.approx(1.0)
    assert rows["own_video"]["median_lag_ms"] == 0.0
    for group in (*CATEGORIES, ALL_CLIPS):  # also of water, which has no events
        loudness = perfect["loudness"][group]
        assert loudness["correlation"]["value"] == pytest.approx(1.0)
        assert loudness["shuffled_correlation"]["value"] < 0.5
        assert loudness["median_lag_ms"] == 0.0
    accuracy = perfect["category_accuracy"]
    assert accuracy["accuracy"] == accuracy["ceiling"]
    assert accuracy["ceiling"]["value"] > 0.9
    assert accuracy["by_category"].keys() == set(CATEGORIES)


def test_noise_and_wrong_sounds_lie_at_the_floor(part):
    noise = part["controls"]["noise"]
    wrong = part["models"]["swapped"]
    for bad in (noise, wrong):
        for group in (*CATEGORIES, ALL_CLIPS):
            assert bad["spectral"][group][0]["log_mel_db"]["value"] > 5.0
        assert rows_of(bad)["own_video"]["envelope_correlation"]["value"] < 0.3
        assert rows_of(bad, "drum")["own_video"]["within"][-1]["f1"]["value"] < 0.6
    distances = noise["frechet"][ALL_CLIPS]
    assert distances["generated"] == distances["noise"]
    assert distances["noise"]["lowest"] > distances["floor"]["highest"]
    assert noise["category_accuracy"]["accuracy"]["value"] <= 0.5
    assert wrong["category_accuracy"]["accuracy"]["value"] < 0.1


def test_models_are_compared_clip_by_clip(part):
    found = {(row["metric"], row["category"]): row for row in part["differences"]}
    assert {metric for metric, _ in found} == {"f1_100_ms", "category_accuracy", "log_mel_db"}
    assert ("f1_100_ms", "water_flowing") not in found  # it has no events
    perfect, wrong = part["models"]["perfect"], part["models"]["swapped"]
    scores = {
        "f1_100_ms": lambda m: rows_of(m, "drum")["own_video"]["within"][-1]["f1"],
        "category_accuracy": lambda m: m["category_accuracy"]["accuracy"],
        "log_mel_db": lambda m: m["spectral"][ALL_CLIPS][0]["log_mel_db"],
    }
    for metric, score in scores.items():
        values = [score(model)["value"] for model in (perfect, wrong)]
        row = found[metric, ALL_CLIPS]
        assert (row["model"], row["minus"]) == ("perfect", "swapped")
        assert row["value"] == pytest.approx(values[0] - values[1])
        if metric == "category_accuracy":  # every clip is better
            assert (row["low"], row["high"], row["reason"]) == (None, None, ALIKE)
            continue
        assert row["low"] <= row["value"] <= row["high"]
        assert min(abs(row["low"]), abs(row["high"])) > 0  # surely better


def test_rows_follow_from_the_clips_of_the_report(part):
    for kind in ("models", "controls"):
        for name, found in part[kind].items():
            own = [clip[kind][name] for clip in part["clips"]]
            mean = np.mean([clip["log_mel_db"] for clip in own])
            assert found["spectral"][ALL_CLIPS][0]["log_mel_db"]["value"] == pytest.approx(mean)
            right = [c[kind][name]["taken_for"] == c["category"] for c in part["clips"]]
            accuracy = found["category_accuracy"]["accuracy"]["value"]
            assert accuracy == pytest.approx(np.mean(right))
            silent = found["health"][ALL_CLIPS]["silent"]["value"]
            assert silent == pytest.approx(np.mean(["silent" in clip["faults"] for clip in own]))
    json.dumps(part, allow_nan=False)


def test_no_probe_is_told_in_words_and_thresholds_and_seed_are_there(part):
    for probe, name in (("counterfactual", "follow_rate"), ("delay", "delay_slope")):
        found = part["models"]["perfect"][name]
        assert found["by_category"] == {}
        assert f"--probe {probe}" in found["reason"]
        assert "synthetic_mini was not made for it" in found["reason"]
    assert part["health_thresholds"]["clip_run_samples"] == 3
    assert part["seed"] == 0


@pytest.mark.slow
def test_order_of_clips_does_not_matter(part, clips, classifier):
    backwards = range(len(clips.true))[::-1]
    turned = swapped(clips.true)[::-1]
    again = scored(clips.taken(backwards), classifier, swapped=turned)
    for kind, name in (("models", "swapped"), ("controls", "noise"), ("controls", "true_sound")):
        one, other = part[kind][name], again[kind][name]
        for group in (*CATEGORIES, ALL_CLIPS):
            for field in ("log_mel_db", "log_magnitude", "band_energy_db"):
                values = [m["spectral"][group][0][field]["value"] for m in (one, other)]
                assert values[0] == pytest.approx(values[1], abs=1e-9)
            for degeneracy in ("silent", "clipped"):
                rates = [m["health"][group][degeneracy]["value"] for m in (one, other)]
                assert rates[0] == rates[1]
        assert one["category_accuracy"]["confusion"] == other["category_accuracy"]["confusion"]
        f1 = [rows_of(m)["own_video"]["within"][-1]["f1"]["value"] for m in (one, other)]
        assert f1[0] == pytest.approx(f1[1])
    assert part["clips"][0]["controls"]["noise"] == again["clips"][-1]["controls"]["noise"]


def test_tables_tell_of_all_models_and_controls(part):
    tables = sound_tables(part)
    text = "\n".join(table.as_text() for table in tables)
    for title in (
        "Synchrony of perfect, F1 within 100 ms",
        "Synchrony of swapped, F1 within 100 ms",
        "Loudness over time",
        "Category accuracy, %",
        "Log-mel distance from the clip's own sound by category",
        "Spectral distances",
        "Frechet distance",
        "Health",
        "Probes\nCounterfactual follow rate: none, synthetic_mini",
        "Sounds of one model less another's",
        "among 2 categories; the classifier is fitted on 10 true sounds",
    ):
        assert title in text
    for table in tables:
        assert {len(row) for row in table.rows} <= {len(table.columns)}
        assert "None" not in table.as_text() and "nan" not in table.as_text()
    onsets = next(table for table in tables if table.title.startswith("Onsets met one to one"))
    assert [row[0] for row in onsets.rows] == [
        *(f"{name}, {of}" for name in ("perfect", "swapped") for of in OF_A_MODEL),
        *("noise", "true sound", "video frame"),
    ]
    of_true = part["controls"]["true_sound"]["synchrony"][ALL_CLIPS]["rows"][0]
    assert onsets.rows[-2][1:3] == [
        f"{of_true['within'][-1][of]:.3f}" for of in ("precision", "recall")
    ]
    assert onsets.rows[0][1:] == onsets.rows[-2][1:]  # perfect is the true sounds
    gain = part["models"]["perfect"]["synchrony"][ALL_CLIPS]["f1_own_minus_shuffled"]
    told = f"{gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
    assert f"perfect, own less shuffled (F1 within 100 ms, paired): {told}" in onsets.notes
    assert onsets.rows[-2][3] == "1.000" and onsets.rows[-2][-2].endswith(" ms")
    accuracy = next(table for table in tables if table.title.startswith("Category accuracy"))
    assert accuracy.columns == ["", "perfect", "swapped", "noise", "true sound"]
    assert [row[0] for row in accuracy.rows] == [*CATEGORIES, ALL_CLIPS]


def test_what_the_detector_cannot_hear_is_told_beside_every_model():
    """Snores swell: the true sounds themselves have few onsets that an F1 could rest on."""
    snores = known([make_clip("snoring", "test", i, 0, TINY.clock, 32) for i in range(5)])
    part = scored(snores, REASON, perfect=snores.true)
    reached = part["controls"]["true_sound"]["synchrony"]["snoring"]["rows"][0]["within"][-1]["f1"]
    assert reached["value"] < HEARD_F1
    told = [
        table for table in sound_tables(part) if any("detector's limit" in n for n in table.notes)
    ]
    starts = "Synchrony of perfect", "Onsets met one to one"
    assert [table.title.startswith(start) for table, start in zip(told, starts, strict=True)] == [
        True
    ] * 2
    for table in told:
        (note,) = [note for note in table.notes if "detector's limit" in note]
        assert f"snoring {reached['value']:.3f}" in note


def test_few_clips_and_no_classifier_have_reasons(clips):
    few = clips.taken([0])
    part = scored(few, REASON, one=few.true)
    found = part["models"]["one"]
    assert found["category_accuracy"] == {"reason": REASON}
    assert found["frechet"][ALL_CLIPS]["reason"] == "1 clip: two halves of two need 4"
    assert [row["name"] for row in found["spectral"]["drum"]] == ["own_sound"]
    assert found["health"]["drum"]["silent"]["reason"] == "1 clip: an interval needs 5"
    text = "\n".join(table.as_text() for table in sound_tables(part))
    assert f"none: {REASON}" in text
    assert "none of all clips: 1 clip: two halves of two need 4" in text
    assert "\nwithout an interval: 1 clip: an interval needs 5" in text
    json.dumps(part, allow_nan=False)


def test_unknown_events_are_the_onsets_of_the_true_sounds(clips):
    few = replace(clips.taken([0, 1]), labels=None, probe=None)
    found = scored(few, REASON, perfect=few.true)["models"]["perfect"]
    assert found["synchrony"].keys() == {*CATEGORIES, ALL_CLIPS}
    assert found["synchrony"]["drum"]["reference"] == "true_onsets"
    assert rows_of(found)["own_video"]["within"][0]["f1"]["value"] == 1.0


def test_sounds_that_are_not_numbers_are_refused(clips):
    few = clips.taken([0, 1])
    damaged = [few.true[0], np.full_like(few.true[1], np.nan)]
    with pytest.raises(InputError, match="clip 1: NaN or infinity in its sound"):
        scored(few, REASON, damaged=damaged)
    with pytest.raises(InputError, match="clip 0: 5 generated samples"):
        scored(few, REASON, short=[few.true[0][:5], few.true[1]])
