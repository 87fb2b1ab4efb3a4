"""All metrics of generated audio, by category and of all clips, and models compared by clip.

Two controls that depend on no model have the same metrics: white noise as loud as the reference
audio (`noise`), and the reference audio itself (`reference`), which no model can beat.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64
from tqdm import tqdm

from v2s_jax.evaluation.artifacts import (
    ARTIFACTS,
    THRESHOLDS,
    ArtifactFlags,
    ArtifactRow,
    artifact_flags,
    evaluate_artifacts,
)
from v2s_jax.evaluation.classifier import (
    AudioClassifier,
    CategoryReport,
    evaluate_classification,
    hits,
)
from v2s_jax.evaluation.clips import ReferenceClips, requantize
from v2s_jax.evaluation.frechet import FrechetRow, evaluate_frechet, segment_vectors
from v2s_jax.evaluation.loudness import (
    Agreement,
    LoudnessRow,
    compare_envelopes,
    envelope,
    evaluate_loudness,
)
from v2s_jax.evaluation.matching import (
    MAX_WINDOW_SEC,
    MS_PER_SEC,
    derange_within_category,
    f1,
    match,
)
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.probes import (
    DelaySlope,
    FollowRate,
    ProbeResult,
    evaluate_delay_slope,
    evaluate_follow_rate,
)
from v2s_jax.evaluation.spectral import (
    Distances,
    SpectralRow,
    distances,
    evaluate_spectral,
    level_matched_noise,
    trim_to_shorter,
)
from v2s_jax.evaluation.statistics import Audio, Estimate, check_pairs, pooled_difference, share
from v2s_jax.evaluation.synchrony import (
    AudioFeatures,
    SynchronyTable,
    analyze_audio,
    evaluate_synchrony,
)

F1_METRIC = f"f1_{MS_PER_SEC * MAX_WINDOW_SEC:g}_ms"
NOISE, REFERENCE = "noise", "reference"
"""The controls."""


@dataclass(frozen=True)
class ClipMetrics:
    """Measurements of each clip's audio, from which all rows follow; one entry for each clip."""

    features: list[AudioFeatures] = field(default_factory=list)
    distances: list[Distances] = field(default_factory=list)
    """From the reference audio of the clip."""
    shuffled_distances: list[Distances | None] = field(default_factory=list)
    """From that of another clip of the category; None where there is none."""
    agreements: list[Agreement | None] = field(default_factory=list)
    """Of loudness with the reference audio; None where one of them is flat."""
    shuffled_agreements: list[Agreement | None] = field(default_factory=list)
    segments: list[Float64[np.ndarray, "_ values"]] = field(default_factory=list)
    """For the Frechet distance."""
    artifacts: list[ArtifactFlags] = field(default_factory=list)
    predicted: list[str] = field(default_factory=list)
    """Category by the classifier; empty without one."""


@dataclass(frozen=True)
class AudioMetrics:
    """Metrics of one set of waveforms; dictionaries have an entry for each category and all."""

    synchrony: dict[str, SynchronyTable]
    """Of the categories that have events."""
    loudness: dict[str, LoudnessRow]
    spectral: dict[str, tuple[SpectralRow, ...]]
    frechet: dict[str, FrechetRow]
    artifacts: dict[str, ArtifactRow]
    classification: CategoryReport | None
    follow_rate: ProbeResult[FollowRate]
    delay_slope: ProbeResult[DelaySlope]


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

    distances: Distances
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
        generate: Returns a model's audio of each clip.

    Raises:
        InputError: A waveform has not its clip's length, or is not finite.
    """
    known = None if isinstance(classifier, str) else classifier
    noise = [
        requantize(level_matched_noise(waveform, clips.seed), clips.config.model)
        for waveform in clips.audio
    ]
    measured = {
        NOISE: measure_clips("noise", noise, clips, known),
        REFERENCE: measure_clips("reference audio", clips.audio, clips, known),
    }
    of_models: dict[str, ClipMetrics] = {}
    metrics: dict[str, AudioMetrics] = {}
    for model in models:
        audio = generate(model)
        clip_metrics = measure_clips(f"audio of {model.name}", audio, clips, known)
        of_models[model.name] = clip_metrics
        metrics[model.name] = _audio_metrics(audio, clip_metrics, measured, clips, known)
    return AudioResults(
        metrics,
        {
            NOISE: _audio_metrics(noise, measured[NOISE], measured, clips, known),
            REFERENCE: _audio_metrics(clips.audio, measured[REFERENCE], measured, clips, known),
        },
        _differences(of_models, measured[REFERENCE], clips),
        [
            ClipRow(
                clip_id,
                clips.categories[clip],
                {name: _summary(of_model, clip) for name, of_model in of_models.items()},
                {name: _summary(control, clip) for name, control in measured.items()},
            )
            for clip, clip_id in enumerate(clips.clip_ids)
        ],
        classifier if isinstance(classifier, str) else None,
        THRESHOLDS,
        clips.seed,
    )


def measure_clips(
    name: str, audio: Audio, clips: ReferenceClips, classifier: AudioClassifier | None
) -> ClipMetrics:
    """Measure one waveform for each clip; raise InputError unless lengths fit and all is finite."""
    check_pairs(audio, clips.audio)
    rate_hz = clips.config.clock.sample_rate_hz
    partner = derange_within_category(clips.categories, clips.seed, within=True)
    metrics = ClipMetrics()
    for clip, waveform in enumerate(
        tqdm(audio, desc=f"measuring {name}", unit="clip", dynamic_ncols=True)
    ):
        features, other = analyze_audio(waveform, rate_hz), int(partner[clip])
        own, shuffled = (envelope(clips.audio[one], rate_hz) for one in (clip, other))
        metrics.features.append(features)
        metrics.agreements.append(compare_envelopes(features.envelope, own))
        metrics.shuffled_agreements.append(compare_envelopes(features.envelope, shuffled))
        metrics.distances.append(distances(waveform, clips.audio[clip], rate_hz))
        pair = trim_to_shorter(waveform, clips.audio[other])
        metrics.shuffled_distances.append(None if other == clip else distances(*pair, rate_hz))
        metrics.segments.append(segment_vectors(waveform, rate_hz))
        metrics.artifacts.append(artifact_flags(waveform, clips.config))
        if classifier is not None:
            metrics.predicted.extend(classifier.classify([waveform]))
    return metrics


def _audio_metrics(
    audio: Audio,
    metrics: ClipMetrics,
    controls: Mapping[str, ClipMetrics],
    clips: ReferenceClips,
    classifier: AudioClassifier | None,
) -> AudioMetrics:
    reference, noise, seed = controls[REFERENCE], controls[NOISE], clips.seed
    events = clips.events_sec

    def synchrony(members: list[int]) -> SynchronyTable:
        return evaluate_synchrony(
            [metrics.features[i] for i in members],
            [reference.features[i] for i in members],
            None if events is None else [events[i] for i in members],
            clips.config.clock,
            seed,
        )

    def loudness(members: list[int]) -> LoudnessRow:
        paired = [i for i in members if metrics.shuffled_distances[i] is not None]
        shuffled = [metrics.shuffled_agreements[i] for i in paired]
        return evaluate_loudness([metrics.agreements[i] for i in members], shuffled, seed)

    def spectral(members: list[int]) -> tuple[SpectralRow, ...]:
        shuffled = [one for i in members if (one := metrics.shuffled_distances[i]) is not None]
        return evaluate_spectral([metrics.distances[i] for i in members], shuffled, seed)

    def frechet(members: list[int]) -> FrechetRow:
        own, target, noisy = (
            [one.segments[i] for i in members] for one in (metrics, reference, noise)
        )
        categories = [clips.categories[i] for i in members]
        return evaluate_frechet(own, target, noisy, categories, seed)

    def artifacts(members: list[int]) -> ArtifactRow:
        return evaluate_artifacts([metrics.artifacts[i] for i in members], seed)

    groups = clips.groups
    return AudioMetrics(
        {name: synchrony(members) for name, members in clips.groups_with_events.items()},
        {name: loudness(members) for name, members in groups.items()},
        {name: spectral(members) for name, members in groups.items()},
        {name: frechet(members) for name, members in groups.items()},
        {name: artifacts(members) for name, members in groups.items()},
        None
        if classifier is None
        else evaluate_classification(
            classifier, metrics.predicted, reference.predicted, clips.categories, seed
        ),
        evaluate_follow_rate(audio, clips),
        evaluate_delay_slope(audio, clips),
    )


def _differences(
    models: Mapping[str, ClipMetrics], reference: ClipMetrics, clips: ReferenceClips
) -> list[DifferenceRow]:
    """Return F1, category accuracy and log-mel distance of each model less another.

    F1 of the categories that have events only.
    """
    targets = clips.events_sec or [features.onsets_sec for features in reference.features]

    def onset_counts(metrics: ClipMetrics) -> Float64[np.ndarray, "clips 3"]:
        pairs = zip(targets, metrics.features, strict=True)
        counts = [match(times, found.onsets_sec, MAX_WINDOW_SEC) for times, found in pairs]
        return np.array(counts, np.float64)

    def category_counts(metrics: ClipMetrics) -> Float64[np.ndarray, "clips 2"]:
        return hits(metrics.predicted, clips.categories)

    def log_mel_counts(metrics: ClipMetrics) -> Float64[np.ndarray, "clips 2"]:
        return np.array([[found.log_mel_db, 1.0] for found in metrics.distances])

    return [
        DifferenceRow(
            one,
            other,
            metric,
            category,
            pooled_difference(a[members], b[members], score, clips.seed),
        )
        for one, other in itertools.combinations(models, 2)
        for metric, counts, score, groups in (
            (F1_METRIC, onset_counts, f1, clips.groups_with_events),
            (
                "category_accuracy",
                category_counts,
                share,
                clips.groups if reference.predicted else {},
            ),
            ("log_mel_db", log_mel_counts, share, clips.groups),
        )
        if groups
        for a, b in ((counts(models[one]), counts(models[other])),)
        for category, members in groups.items()
    ]


def _summary(metrics: ClipMetrics, clip: int) -> ClipSummary:
    flags = metrics.artifacts[clip]
    return ClipSummary(
        metrics.distances[clip],
        metrics.predicted[clip] if metrics.predicted else None,
        [name for name in ARTIFACTS if getattr(flags, name)],
        metrics.features[clip].onsets_sec.tolist(),
    )
