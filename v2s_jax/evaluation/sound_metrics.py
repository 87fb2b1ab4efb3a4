"""Every metric of one set of sounds, by category and of all clips; and models beside each other.

A set is what one model made, or a control: white noise as loud as the true sounds, which knows
nothing of anything, and the true sounds themselves, which nothing can beat.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from v2s_jax.evaluation.artifacts import FAULTS, ArtifactFlags, artifact_row
from v2s_jax.evaluation.artifacts import Name as HealthName
from v2s_jax.evaluation.categories import ALL_CLIPS
from v2s_jax.evaluation.classifier import SoundClassifier, category_report, hits
from v2s_jax.evaluation.clip_metrics import ClipMetrics, ReferenceClips
from v2s_jax.evaluation.estimate import mean, pooled_difference, share_of
from v2s_jax.evaluation.frechet import frechet_row
from v2s_jax.evaluation.probe_part import delay_slopes, follow_rates
from v2s_jax.evaluation.spectral import Distances, spectral_row
from v2s_jax.evaluation.sync import MS_PER_SEC, WIDEST_WINDOW_SEC, f1_of, match
from v2s_jax.evaluation.sync_rows import FLAT, ONE_CLIP, synchrony_of

F1_NAME = f"f1_{MS_PER_SEC * WIDEST_WINDOW_SEC:g}_ms"


def sound_metrics(
    kind: HealthName,
    sounds: Sequence[Float32[np.ndarray, " _"]],
    measured: ClipMetrics,
    real: ClipMetrics,
    noise: ClipMetrics,
    clips: ReferenceClips,
    classifier: SoundClassifier | str,
) -> dict[str, Any]:
    """Return every metric of a set of sounds by name, as plain values for the report.

    `real` and `noise` are what was measured of the controls; a `classifier` that could not be
    fitted is the reason.
    """
    groups = clips.by_category | {ALL_CLIPS: list(range(len(clips.clip_ids)))}
    return {
        "synchrony": _synchrony(measured, real, clips),
        "loudness": {name: _loudness(measured, own, clips.seed) for name, own in groups.items()},
        "spectral": {name: _spectral(measured, own, clips.seed) for name, own in groups.items()},
        "frechet": {
            name: _frechet((measured, real, noise), own, clips) for name, own in groups.items()
        },
        "health": {
            name: asdict(artifact_row(kind, [measured.degeneracies[i] for i in own], clips.seed))
            for name, own in groups.items()
        },
        "category_accuracy": _category_accuracy(measured, real, clips, classifier),
        "follow_rate": follow_rates(sounds, clips),
        "delay_slope": delay_slopes(sounds, clips),
    }


def _synchrony(measured: ClipMetrics, real: ClipMetrics, clips: ReferenceClips) -> dict[str, Any]:
    """Return the tables of categories with events, and of all clips of these."""
    groups = clips.with_onsets
    if groups:
        groups = groups | {ALL_CLIPS: sorted(itertools.chain(*groups.values()))}
    events = clips.events_sec
    return {
        name: asdict(
            synchrony_of(
                [measured.heard[i] for i in own],
                [real.heard[i] for i in own],
                None if events is None else [events[i] for i in own],
                clips.config.clock,
                clips.seed,
            )
        )
        for name, own in groups.items()
    }


def _loudness(measured: ClipMetrics, own: Sequence[int], seed: int) -> dict[str, Any]:
    """Return how loudness over time agrees: of all categories, also of those without events."""
    found = [measured.loudness[i] for i in own]
    others = [measured.shuffled_loudness[i] for i in own if measured.shuffled[i] is not None]
    lags_sec = [one.lag_sec for one in found if one is not None]
    scores = {
        "correlation": mean([one and one.correlation for one in found], seed, FLAT),
        "best_correlation": mean([one and one.best_correlation for one in found], seed, FLAT),
        "shuffled_correlation": mean(
            [one and one.correlation for one in others], seed, FLAT if others else ONE_CLIP
        ),
    }
    median_lag_ms = float(MS_PER_SEC * np.median(lags_sec)) if lags_sec else None
    return {name: asdict(score) for name, score in scores.items()} | {
        "median_lag_ms": median_lag_ms
    }


def _spectral(measured: ClipMetrics, own: Sequence[int], seed: int) -> list[dict[str, Any]]:
    rows = [spectral_row("own_sound", [measured.own[i] for i in own], seed)]
    met = [found for i in own if (found := measured.shuffled[i]) is not None]
    if met:
        rows.append(spectral_row("shuffled_sound", met, seed))
    return [asdict(row) for row in rows]


def _frechet(
    sets: tuple[ClipMetrics, ClipMetrics, ClipMetrics], own: Sequence[int], clips: ReferenceClips
) -> dict[str, Any]:
    made, real, noise = ([measured.segments[i] for i in own] for measured in sets)
    categories = [clips.categories[i] for i in own]
    return asdict(frechet_row(made, real, noise, categories, clips.seed))


def _category_accuracy(
    measured: ClipMetrics,
    real: ClipMetrics,
    clips: ReferenceClips,
    classifier: SoundClassifier | str,
) -> dict[str, Any]:
    if isinstance(classifier, str):
        return {"reason": classifier}
    assert measured.taken_for is not None and real.taken_for is not None
    guesses = measured.taken_for, real.taken_for
    report = category_report(classifier, *guesses, clips.categories, clips.seed)
    by_category = {
        name: {"accuracy": asdict(row.accuracy), "ceiling": asdict(row.ceiling)}
        for name, row in report.by_category.items()
    }
    return {"reason": None} | asdict(report) | {"by_category": by_category}


def differences(
    models: Mapping[str, ClipMetrics], real: ClipMetrics, clips: ReferenceClips
) -> list[dict]:
    """Return F1, category accuracy and log-mel distance of each model less another, paired by clip.

    Of each category and of all clips; F1 of the categories that have events.
    """
    everywhere = clips.by_category
    rows = []
    for one, other in itertools.combinations(models, 2):
        for metric, score, groups in (
            (F1_NAME, f1_of, clips.with_onsets),
            ("category_accuracy", share_of, everywhere),
            ("log_mel_db", share_of, everywhere),
        ):
            both = [_counts(metric, models[name], real, clips) for name in (one, other)]
            if both[0] is None or both[1] is None or not groups:
                continue
            own, others = both[0], both[1]
            of_all = {ALL_CLIPS: sorted(itertools.chain(*groups.values()))}
            for category, members in (groups | of_all).items():
                found = pooled_difference(own[members], others[members], score, clips.seed)
                head = {"model": one, "minus": other, "metric": metric, "category": category}
                rows.append(head | asdict(found))
    return rows


def _counts(
    metric: str, measured: ClipMetrics, real: ClipMetrics, clips: ReferenceClips
) -> Float64[np.ndarray, "clips counts"] | None:
    """Return what each clip adds to a score; None where it does not exist."""
    if metric == F1_NAME:
        reference = clips.events_sec or [heard.onsets_sec for heard in real.heard]
        return np.array(
            [
                match(times, heard.onsets_sec, WIDEST_WINDOW_SEC)
                for times, heard in zip(reference, measured.heard, strict=True)
            ],
            np.float64,
        )
    if metric == "log_mel_db":
        return np.array([[found.log_mel_db, 1.0] for found in measured.own])
    return None if measured.taken_for is None else hits(measured.taken_for, clips.categories)


def clip_rows(
    models: Mapping[str, ClipMetrics], controls: Mapping[str, ClipMetrics], clips: ReferenceClips
) -> list[dict[str, Any]]:
    """Return what was measured of the sounds of every clip."""
    return [
        {
            "clip_id": clip_id,
            "category": clips.categories[clip],
            "models": {name: _clip(measured, clip) for name, measured in models.items()},
            "controls": {name: _clip(measured, clip) for name, measured in controls.items()},
        }
        for clip, clip_id in enumerate(clips.clip_ids)
    ]


def _clip(measured: ClipMetrics, clip: int) -> dict[str, Any]:
    own: Distances = measured.own[clip]
    degeneracies: ArtifactFlags = measured.degeneracies[clip]
    return own._asdict() | {
        "taken_for": None if measured.taken_for is None else measured.taken_for[clip],
        "faults": [name for name in FAULTS if getattr(degeneracies, name)],
        "onsets_sec": measured.heard[clip].onsets_sec.tolist(),
    }
