"""Artifacts: faults of a waveform, whatever it should sound like.

A waveform is checked in windows of `WINDOW_VIDEO_FRAMES` (1.02 s), as in sampling/degeneracy.py:

    noise      a window of runaway noise                                     (degeneracy detector)
    rail       a window stuck at full scale                                  (degeneracy detector)
    silent     every window is silent: at most two neighbouring levels       (degeneracy detector)
    clipped    CLIP_RUN consecutive samples or more at one end of the range
    dc         the mean of a window exceeds DC_AMPLITUDE
    repeating  a window that is not silent repeats itself, sample for sample

Rates are shares of clips. Compare them with those of the reference audio: an artifact that it has
too is a property of the data, or of the detector.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, UInt8
from scipy.signal import correlate

from v2s_jax.config import Config
from v2s_jax.evaluation.statistics import Estimate, Waveform, mean
from v2s_jax.quantize import quantize
from v2s_jax.sampling.degeneracy import SPECTRUM_SAMPLES, DegeneracyDetector

CLIP_RUN = 3
"""Consecutive samples at one end of the range (ours). A waveform that just touches full scale stays
there for one or two samples; a clipped one stays longer."""
DC_AMPLITUDE = 0.02
"""Mean of a window, of full scale: -34 dB, two and a half of 256 linear levels (ours). No window
of 300 reference clips of the synthetic train split exceeds 0.0016."""
REPEAT_SEC = (0.001, 0.5)
"""Shortest and longest period that counts as repeating; half a window fits twice at most."""
REPEAT_SHARE = 0.99
"""Share of a window's levels that equal those one period before (ours), where either is not the
window's most common level, or near-silence would repeat. A deterministic loop reaches 1; the noise
of any recorded sound keeps it far below; a pure tone can reach it too."""

ARTIFACTS = ("noise", "rail", "silent", "clipped", "dc", "repeating")
THRESHOLDS: dict[str, int | float] = {
    "clip_run_samples": CLIP_RUN,
    "dc_amplitude": DC_AMPLITUDE,
    "repeat_shortest_sec": REPEAT_SEC[0],
    "repeat_longest_sec": REPEAT_SEC[1],
    "repeat_share": REPEAT_SHARE,
}
"""The thresholds of this module, for the report; the degeneracy detector has its own."""


def evaluate_artifacts(clips: Sequence[set[str]], seed: int) -> dict[str, Estimate]:
    """Return the share of clips with each artifact."""
    return {
        artifact: mean([float(artifact in found) for found in clips], seed, "")
        for artifact in ARTIFACTS
    }


def find_artifacts(waveform: Waveform, config: Config) -> set[str]:
    """Return the ARTIFACTS of one waveform, in the model's levels."""
    model, rate_hz = config.model, config.clock.sample_rate_hz
    levels = quantize(waveform, model.q_levels, model.quantization)
    detector = DegeneracyDetector(config)
    found, silent = set[str](), []
    for start in range(0, len(levels), detector.window_samples):
        if start and len(levels) - start < SPECTRUM_SAMPLES:
            break  # a remainder that is too short for a spectrum is not checked
        window = slice(start, start + detector.window_samples)
        degeneracy = detector.update(levels[window])
        kind = degeneracy.kind if degeneracy else None
        if kind is not None and kind != "silence":
            found.add(kind)
        # The detector reports silence after a while; one silent window is not ok.
        silent.append(kind == "silence" or (kind is None and not detector.ok))
        if not silent[-1] and repeats(levels[window], rate_hz):
            found.add("repeating")
        if abs(float(waveform[window].mean())) > DC_AMPLITUDE:
            found.add("dc")
    if all(silent):
        found.add("silent")
    if any(_longest_run(levels == end) >= CLIP_RUN for end in (0, model.q_levels - 1)):
        found.add("clipped")
    return found


def repeats(levels: UInt8[np.ndarray, " samples"], sample_rate_hz: int) -> bool:
    """Return whether nearly all levels equal those of one period before.

    The period is the lag where the autocorrelation, normalised by the energy of both parts,
    is largest.
    """
    shortest = max(1, round(REPEAT_SEC[0] * sample_rate_hz))
    longest = min(round(REPEAT_SEC[1] * sample_rate_hz), len(levels) // 2)
    if longest < shortest:
        return False
    centred = levels - levels.mean()
    period = shortest + int(np.argmax(_autocorrelation(centred)[shortest : longest + 1]))
    now, before = levels[period:], levels[:-period]
    resting = np.bincount(levels).argmax()
    active = (now != resting) | (before != resting)
    return bool(active.any() and np.mean((now == before)[active]) >= REPEAT_SHARE)


def _autocorrelation(centred: Float64[np.ndarray, " samples"]) -> Float64[np.ndarray, " lags"]:
    """Return for each lag the normalised correlation of `centred[lag:]` with `centred[:-lag]`."""
    samples = len(centred)
    products = correlate(centred, centred, method="fft")[samples - 1 :]
    energy = np.concatenate([[0.0], np.cumsum(centred**2)])
    lags = np.arange(samples)
    both = (energy[-1] - energy[lags]) * energy[samples - lags]
    min_energy = np.finfo(np.float64).eps * max(float(energy[-1]) ** 2, 1.0)
    return products / np.sqrt(np.maximum(both, min_energy))


def _longest_run(values: Bool[np.ndarray, " samples"]) -> int:
    """Return the length of the longest stretch of True."""
    edges = np.flatnonzero(np.diff(values.astype(np.int8), prepend=0, append=0))
    return int((edges[1::2] - edges[::2]).max(initial=0))
