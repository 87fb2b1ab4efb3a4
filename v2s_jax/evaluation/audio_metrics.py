"""All metrics of generated audio, by category and of all clips, and models compared by clip.

The controls have the same metrics as models (`measurement.py`).
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from v2s_jax.evaluation import artifacts, following, frechet, probes, spectral, synchrony
from v2s_jax.evaluation.classifier import (
    AudioClassifier,
    CategoryReport,
    evaluate_classification,
    hits,
)
from v2s_jax.evaluation.clips import ReferenceClips
from v2s_jax.evaluation.measurement import (
    NOISE,
    REFERENCE,
    Measured,
    Measurement,
    control_audio,
    measure_clips,
)
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.onsets import MAX_WINDOW_SEC, MS_PER_SEC, f1, match
from v2s_jax.evaluation.statistics import (
    Audio,
    Estimate,
    pooled_difference,
    share,
)
from v2s_jax.evaluation.synchrony import LoudnessRow, SynchronyTable

F1_METRIC = f"f1_{MS_PER_SEC * MAX_WINDOW_SEC:g}_ms"


@dataclass(frozen=True)
class AudioMetrics:
    """Metrics of one set of waveforms; dictionaries have an entry for each category and all."""

    synchrony: dict[str, SynchronyTable]
    """Of the categories that have events."""
    loudness: dict[str, LoudnessRow]
    following: dict[str, following.FollowingRow]
    """Empty where nothing is known that loudness should follow."""
    spectral: dict[str, tuple[spectral.SpectralRow, ...]]
    frechet: dict[str, frechet.FrechetRow]
    artifacts: dict[str, dict[str, Estimate]]
    """Share of the clips with each artifact."""
    classification: CategoryReport | None
    follow_rate: probes.ProbeResult[probes.FollowRate]
    delay_slope: probes.ProbeResult[probes.DelaySlope]


@dataclass(frozen=True)
class DifferenceRow:
    """A metric of one model less that of another, paired by clip."""

    model: str
    minus: str
    metric: str
    category: str
    estimate: Estimate


@dataclass(frozen=True)
class ClipSummary:
    """Measurements of one clip's audio, for the report."""

    distances: spectral.Distances
    predicted_category: str | None
    artifacts: list[str]
    onsets_sec: list[float]


@dataclass(frozen=True)
class ClipRow:
    """Measurements of one clip by model and control."""

    clip_id: str
    category: str
    models: dict[str, ClipSummary]
    controls: dict[str, ClipSummary]


@dataclass(frozen=True)
class AudioResults:
    """Metrics of all models and controls."""

    models: dict[str, AudioMetrics]
    controls: dict[str, AudioMetrics]
    differences: list[DifferenceRow]
    clips: list[ClipRow]
    no_classifier: str | None
    """Why no classifier could be fitted."""
    followed: str
    """What loudness should follow, or why nothing is known of it."""
    artifact_thresholds: dict[str, int | float]
    seed: int


def evaluate_audio(
    models: Sequence[Model],
    clips: ReferenceClips,
    classifier: AudioClassifier | str,
    generate: Callable[[Model], Audio],
) -> AudioResults:
    """Return every metric of each model's audio and of the controls, and paired differences.

    Args:
        models: Models to compare.
        clips: The clips and their reference audio.
        classifier: The classifier, or why there is none.
        generate: Returns a model's audio, one waveform as long as the reference for each clip.
    """
    known = None if isinstance(classifier, str) else classifier
    audio_of_controls = control_audio(clips)
    controls = {
        name: measure_clips(name, audio, clips, known) for name, audio in audio_of_controls.items()
    }
    control_metrics = {
        name: _audio_metrics(audio, controls[name], controls, clips, known)
        for name, audio in audio_of_controls.items()
    }
    measured: dict[str, Measured] = {}
    metrics: dict[str, AudioMetrics] = {}
    for model in models:
        audio = generate(model)
        measured[model.name] = measure_clips(f"audio of {model.name}", audio, clips, known)
        metrics[model.name] = _audio_metrics(audio, measured[model.name], controls, clips, known)
    return AudioResults(
        metrics,
        control_metrics,
        _differences(measured, controls[REFERENCE], clips, known is not None),
        [
            ClipRow(
                clip_id,
                clips.categories[clip],
                {name: _summary(of_model[clip]) for name, of_model in measured.items()},
                {name: _summary(control[clip]) for name, control in controls.items()},
            )
            for clip, clip_id in enumerate(clips.clip_ids)
        ],
        classifier if isinstance(classifier, str) else None,
        clips.cues if isinstance(clips.cues, str) else clips.cues.name,
        artifacts.THRESHOLDS,
        clips.seed,
    )


def _audio_metrics(
    audio: Audio,
    measured: Measured,
    controls: Mapping[str, Measured],
    clips: ReferenceClips,
    classifier: AudioClassifier | None,
) -> AudioMetrics:
    reference, noise = controls[REFERENCE], controls[NOISE]
    seed, events, clock = clips.seed, clips.events_sec, clips.config.clock
    onset_rows = {
        name: synchrony.evaluate_synchrony(
            [measured[clip].onsets_sec for clip in members],
            [reference[clip].onsets_sec for clip in members],
            None if events is None else [events[clip] for clip in members],
            np.array([len(clips.audio[clip]) / clock.sample_rate_hz for clip in members]),
            clock,
            seed,
        )
        for name, members in clips.groups_with_events.items()
    }
    loudness_rows, following_rows = {}, {}
    spectral_rows, frechet_rows, artifact_rows = {}, {}, {}
    for name, members in clips.groups.items():
        own = [measured[clip] for clip in members]
        paired = [one for one in own if one.shuffled_distances is not None]
        loudness_rows[name] = synchrony.evaluate_loudness(
            [one.agreement for one in own], [one.shuffled_agreement for one in paired], seed
        )
        if followed := [one.following for one in own if one.following is not None]:
            following_rows[name] = following.evaluate_following(followed, seed)
        shuffled = [one.shuffled_distances for one in paired if one.shuffled_distances]
        distances = [one.distances for one in own]
        spectral_rows[name] = spectral.evaluate_spectral(distances, shuffled, seed)
        frechet_rows[name] = frechet.evaluate_frechet(
            [one.segments for one in own],
            [reference[clip].segments for clip in members],
            [noise[clip].segments for clip in members],
            [clips.categories[clip] for clip in members],
            seed,
        )
        artifact_rows[name] = artifacts.evaluate_artifacts([one.artifacts for one in own], seed)
    classification = None
    if classifier is not None:
        classification = evaluate_classification(
            classifier.fitted.categories,
            classifier.fitted.trained_on,
            _predicted(measured),
            _predicted(reference),
            clips.categories,
            seed,
        )
    return AudioMetrics(
        onset_rows,
        loudness_rows,
        following_rows,
        spectral_rows,
        frechet_rows,
        artifact_rows,
        classification,
        probes.evaluate_probe(probes.FOLLOW_PROBE, probes.follow_rate, audio, clips),
        probes.evaluate_probe(probes.DELAY_PROBE, probes.delay_slope, audio, clips),
    )


def _predicted(measured: Measured) -> list[str]:
    return [str(one.predicted_category) for one in measured]


def _differences(
    models: Mapping[str, Measured], reference: Measured, clips: ReferenceClips, has_categories: bool
) -> list[DifferenceRow]:
    """Return F1, category accuracy and log-mel distance of each model less another.

    F1 of the categories that have events only.
    """
    targets = clips.events_sec or [one.onsets_sec for one in reference]

    def onset_counts(measured: Measured) -> Float64[np.ndarray, "clips 3"]:
        pairs = zip(targets, measured, strict=True)
        counts = [match(times, one.onsets_sec, MAX_WINDOW_SEC) for times, one in pairs]
        return np.array(counts, np.float64)

    def category_counts(measured: Measured) -> Float64[np.ndarray, "clips 2"]:
        return hits(_predicted(measured), clips.categories)

    def log_mel_counts(measured: Measured) -> Float64[np.ndarray, "clips 2"]:
        return np.array([[one.distances.log_mel_db, 1.0] for one in measured])

    metrics = [
        (F1_METRIC, onset_counts, f1, clips.groups_with_events),
        ("category_accuracy", category_counts, share, clips.groups if has_categories else {}),
        ("log_mel_db", log_mel_counts, share, clips.groups),
    ]
    rows = []
    for one, other in itertools.combinations(models, 2):
        for metric, counts, score, groups in metrics:
            a, b = counts(models[one]), counts(models[other])
            for category, members in groups.items():
                estimate = pooled_difference(a[members], b[members], score, clips.seed)
                rows.append(DifferenceRow(one, other, metric, category, estimate))
    return rows


def _summary(measurement: Measurement) -> ClipSummary:
    return ClipSummary(
        measurement.distances,
        measurement.predicted_category,
        [name for name in artifacts.ARTIFACTS if name in measurement.artifacts],
        measurement.onsets_sec.tolist(),
    )
