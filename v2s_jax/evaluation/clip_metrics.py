"""What is measured of each clip's sound, once: all rows and differences of the report follow.

In: the clips, with what is known of them, and one sound for each: a model's, or a control's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64
from tqdm import tqdm

from v2s_jax.config import Config
from v2s_jax.evaluation.artifacts import ArtifactFlags, artifact_flags
from v2s_jax.evaluation.classifier import SoundClassifier
from v2s_jax.evaluation.clips import Label
from v2s_jax.evaluation.envelope import Agreement, agreement, envelope
from v2s_jax.evaluation.estimate import check_pairs
from v2s_jax.evaluation.frechet import segment_vectors
from v2s_jax.evaluation.shuffling import derange_within_category
from v2s_jax.evaluation.spectral import Distances, common, distances
from v2s_jax.evaluation.sync_rows import AudioFeatures, analyze_audio


@dataclass(frozen=True)
class ReferenceClips:
    """Clips whose sounds are scored, and what is known of them whatever the model."""

    data_name: str
    clip_ids: list[str]
    categories: list[str]
    true: list[Float32[np.ndarray, " _"]]
    """The clips' own sounds in the models' levels."""
    labels: list[Label] | None
    """Causes of synthetic clips; None of others, whose causes are not known."""
    probe: str | None
    """What the set was made for (data/README.md); None if it is no synthetic one."""
    config: Config
    """Clock, levels and quantiser, which all models share."""
    seed: int
    """For shuffled controls, noise and intervals."""

    def taken(self, places: Sequence[int]) -> "ReferenceClips":
        """Return some of the clips, in this order."""

        def kept(values: list[Any]) -> list[Any]:
            return [values[place] for place in places]

        return replace(
            self,
            clip_ids=kept(self.clip_ids),
            categories=kept(self.categories),
            true=kept(self.true),
            labels=None if self.labels is None else kept(self.labels),
        )

    @property
    def events_sec(self) -> list[Float64[np.ndarray, " _"]] | None:
        """Times at which something that sounds happens; None where they are not known."""
        return None if self.labels is None else [label.events_sec for label in self.labels]

    @property
    def by_category(self) -> dict[str, list[int]]:
        """The clips of each category."""
        return {
            category: [clip for clip, own in enumerate(self.categories) if own == category]
            for category in sorted(set(self.categories))
        }

    @property
    def with_onsets(self) -> dict[str, list[int]]:
        """The clips of each category that has events, or whose events are not known."""
        events = self.events_sec
        return {
            category: own
            for category, own in self.by_category.items()
            if events is None or any(events[clip].size for clip in own)
        }


@dataclass(frozen=True)
class ClipMetrics:
    """One entry of each for every clip."""

    heard: list[AudioFeatures]
    own: list[Distances]
    """From the clip's own sound."""
    shuffled: list[Distances | None]
    """From that of another clip of the category; None where there is none."""
    loudness: list[Agreement | None]
    """With the clip's own sound; None where one of them is flat."""
    shuffled_loudness: list[Agreement | None]
    """With that of the other clip."""
    segments: list[Float64[np.ndarray, "_ values"]]
    """What the Frechet distance compares."""
    degeneracies: list[ArtifactFlags]
    taken_for: list[str] | None
    """Category by the classifier; None without one."""


def compute_clip_metrics(
    name: str,
    sounds: Sequence[Float32[np.ndarray, " _"]],
    clips: ReferenceClips,
    classifier: SoundClassifier | None,
) -> ClipMetrics:
    """Measure one sound for each clip behind a progress bar.

    Raises InputError unless each sound is as long as its clip's own, and finite.
    """
    check_pairs(sounds, clips.true)
    rate_hz = clips.config.clock.sample_rate_hz
    partner = derange_within_category(clips.categories, clips.seed, within=True)
    measured = ClipMetrics([], [], [], [], [], [], [], None if classifier is None else [])
    for clip, sound in enumerate(
        tqdm(sounds, desc=f"measuring {name}", unit="clip", dynamic_ncols=True)
    ):
        heard = analyze_audio(sound, rate_hz)
        other = int(partner[clip])
        loudness, others = (envelope(clips.true[one], rate_hz) for one in (clip, other))
        measured.heard.append(heard)
        measured.loudness.append(agreement(heard.envelope, loudness))
        measured.shuffled_loudness.append(agreement(heard.envelope, others))
        measured.own.append(distances(sound, clips.true[clip], rate_hz))
        met = common(sound, clips.true[other])
        measured.shuffled.append(None if other == clip else distances(*met, rate_hz))
        measured.segments.append(segment_vectors(sound, rate_hz))
        measured.degeneracies.append(artifact_flags(sound, clips.config))
        if classifier is not None and measured.taken_for is not None:
            measured.taken_for.extend(classifier.classify([sound]))
    return measured
