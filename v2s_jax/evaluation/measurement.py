"""What is measured of one clip's audio, and the controls, which depend on no model.

White noise as loud as the reference audio (`noise`), and the reference audio itself (`reference`),
which no model can beat.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from tqdm import tqdm

from v2s_jax.evaluation import artifacts, following, frechet, spectral, synchrony
from v2s_jax.evaluation.classifier import AudioClassifier
from v2s_jax.evaluation.clips import ReferenceClips, requantize
from v2s_jax.evaluation.onsets import Times, detect_onsets
from v2s_jax.evaluation.statistics import Audio, Waveform, derange_within_category

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
    following: following.Following | None
    """None where nothing is known that loudness should follow."""
    segments: Float64[np.ndarray, "_ values"]
    """For the Frechet distance."""
    artifacts: set[str]
    predicted_category: str | None
    """By the classifier; None without one."""


Measured = Sequence[Measurement]
"""Measurements of each clip."""


def control_audio(clips: ReferenceClips) -> dict[str, Audio]:
    """Return the waveforms of the controls: noise as loud as reference audio, and that itself."""
    noise = [
        requantize(spectral.level_matched_noise(waveform, clips.seed), clips.config.model)
        for waveform in clips.audio
    ]
    return {NOISE: noise, REFERENCE: clips.audio}


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
            None
            if isinstance(clips.cues, str)
            else following.follow(
                waveform, clips.config.clock, clips.cues, clip, int(partner[clip])
            ),
            frechet.segment_vectors(waveform, rate_hz),
            artifacts.find_artifacts(waveform, clips.config),
            None if classifier is None else classifier.classify(waveform),
        )

    bar = tqdm(audio, desc=f"measuring {name}", unit="clip", dynamic_ncols=True)
    return [measure(clip, waveform) for clip, waveform in enumerate(bar)]
