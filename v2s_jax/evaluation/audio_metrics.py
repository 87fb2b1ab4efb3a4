"""All metrics of generated audio, by category and of all clips, and models compared by clip.

Two controls that depend on no model have the same metrics: white noise as loud as the reference
audio (`noise`), and the reference audio itself (`reference`), which no model can beat.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from tqdm import tqdm

from v2s_jax.evaluation import artifacts, frechet, probes, spectral, synchrony
from v2s_jax.evaluation.classifier import (
    AudioClassifier,
    CategoryReport,
    evaluate_classification,
    hits,
)
from v2s_jax.evaluation.clips import ReferenceClips, requantize
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.onsets import MAX_WINDOW_SEC, MS_PER_SEC, Times, detect_onsets, f1, match
from v2s_jax.evaluation.statistics import (
    Audio,
    Estimate,
    Waveform,
    derange_within_category,
    pooled_difference,
    share,
)
from v2s_jax.evaluation.synchrony import LoudnessRow, SynchronyTable

F1_METRIC = f"f1_{MS_PER_SEC * MAX_WINDOW_SEC:g}_ms"
NOISE, REFERENCE = "noise", "reference"
"""The controls."""


@dataclass(frozen=True)
class Measurement:
    """What is measured of one clip's audio, from which all rows follow."""

    onsets_sec: Times
    distances: spectral.Distances
    """From the reference audio of the clip."""
    shuffled_distances: spectral.Distances | None
    """From that of another clip of the category; None where there is none."""
    agreement: synchrony.Agreement | None
    """Of loudness with the reference audio; None where one of them is flat."""
    shuffled_agreement: synchrony.Agreement | None
    segments: Float64[np.ndarray, "_ values"]
    """For the Frechet distance."""
    artifacts: set[str]
    predicted_category: str | None
    """By the classifier; None without one."""


Measured = Sequence[Measurement]
"""Measurements of each clip."""


@dataclass(frozen=True)
class AudioMetrics:
    """Metrics of one set of waveforms; dictionaries have an entry for each category and all."""

    synchrony: dict[str, SynchronyTable]
    """Of the categories that have events."""
    loudness: dict[str, LoudnessRow]
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
    noise = [
        requantize(spectral.level_matched_noise(waveform, clips.seed), clips.config.model)
        for waveform in clips.audio
    ]
    controls = {
        NOISE: measure_clips("noise", noise, clips, known),
        REFERENCE: measure_clips("reference audio", clips.audio, clips, known),
    }
    control_metrics = {
        name: _audio_metrics(audio, controls[name], controls, clips, known)
        for name, audio in ((NOISE, noise), (REFERENCE, clips.audio))
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
        artifacts.THRESHOLDS,
        clips.seed,
    )


def measure_clips(
    name: str, audio: Audio, clips: ReferenceClips, classifier: AudioClassifier | None
) -> list[Measurement]:
    """Measure one waveform for each clip."""
    rate_hz = clips.config.clock.sample_rate_hz
    partner = derange_within_category(clips.categories, clips.seed, within=True)

    def measure(clip: int, waveform: Waveform) -> Measurement:
        own, other = clips.audio[clip], clips.audio[partner[clip]]
        envelope, of_own, of_other = (
            synchrony.envelope(one, rate_hz) for one in (waveform, own, other)
        )
        is_alone = int(partner[clip]) == clip
        return Measurement(
            detect_onsets(waveform, rate_hz),
            spectral.distances(waveform, own, rate_hz),
            None if is_alone else spectral.distances(waveform, other, rate_hz),
            synchrony.compare_envelopes(envelope, of_own),
            synchrony.compare_envelopes(envelope, of_other),
            frechet.segment_vectors(waveform, rate_hz),
            artifacts.find_artifacts(waveform, clips.config),
            None if classifier is None else classifier.classify(waveform),
        )

    bar = tqdm(audio, desc=f"measuring {name}", unit="clip", dynamic_ncols=True)
    return [measure(clip, waveform) for clip, waveform in enumerate(bar)]


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
    loudness_rows, spectral_rows, frechet_rows, artifact_rows = {}, {}, {}, {}
    for name, members in clips.groups.items():
        own = [measured[clip] for clip in members]
        paired = [one for one in own if one.shuffled_distances is not None]
        loudness_rows[name] = synchrony.evaluate_loudness(
            [one.agreement for one in own], [one.shuffled_agreement for one in paired], seed
        )
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
        predicted, expected = _predicted(measured), _predicted(reference)
        classification = evaluate_classification(
            classifier, predicted, expected, clips.categories, seed
        )
    return AudioMetrics(
        onset_rows,
        loudness_rows,
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
