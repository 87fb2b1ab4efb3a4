"""Health: what is wrong with a sound whatever it should sound like.

A sound is looked at in windows of `WINDOW_VIDEO_FRAMES` (1.02 s), as the guard of generation does:

    noise      a window of runaway noise                                      (generate/guard.py)
    rail       a window stuck at full scale                                   (generate/guard.py)
    silent     every window silent: no more than two neighbouring levels      (generate/guard.py)
    clipped    a run of CLIP_RUN samples or more at one end of the range
    dc         the mean of a window beyond DC_AMPLITUDE
    repeating  a window that is not silent repeats itself, sample for sample

Rates are shares of sounds. Those of the true sounds stand beside: a fault that true sounds have
too is a property of the data, or of the detector.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from scipy.signal import correlate

from v2s_jax.config import Config
from v2s_jax.evaluation.estimate import Estimate, check_pairs, mean
from v2s_jax.quantize import quantize
from v2s_jax.sampling.degeneracy import SPECTRUM_SAMPLES, DegeneracyDetector

CLIP_RUN = 3
"""Samples in a row at one end of the range (ours). A waveform that just touches full scale stays
there for one sample or two; one that was cut off stays longer."""
DC_AMPLITUDE = 0.02
"""Mean of a window, of full scale: -34 dB, two and a half of 256 linear levels (ours). No window
of 300 true sounds of the synthetic train split lies beyond 0.0016."""
REPEAT_SEC = (0.001, 0.5)
"""Shortest and longest period that counts as repeating; half a window is the longest that can be
seen twice."""
REPEAT_SHARE = 0.99
"""Share of a window's levels that equal those one period before (ours), where either is not the
window's commonest level, or near-silence would repeat. A deterministic loop has 1; the noise in any
real sound keeps it far below; a pure tone can reach it as well."""


Name = Literal["generated", "true_sound", "noise"]


@dataclass(frozen=True)
class ArtifactFlags:
    """What was found in one sound."""

    noise: bool
    rail: bool
    silent: bool
    clipped: bool
    dc: bool
    repeating: bool


FAULTS = tuple(field.name for field in fields(ArtifactFlags))


@dataclass(frozen=True)
class ArtifactRow:
    """Shares of sounds with each fault."""

    name: Name
    noise: Estimate
    rail: Estimate
    silent: Estimate
    clipped: Estimate
    dc: Estimate
    repeating: Estimate


THRESHOLDS: dict[str, float] = {
    "clip_run_samples": CLIP_RUN,
    "dc_amplitude": DC_AMPLITUDE,
    "repeat_shortest_sec": REPEAT_SEC[0],
    "repeat_longest_sec": REPEAT_SEC[1],
    "repeat_share": REPEAT_SHARE,
}
"""The thresholds of this module, to be written beside the rates; the guard has its own."""


def artifact_rows(
    generated: Sequence[Float32[np.ndarray, " _"]],
    true: Sequence[Float32[np.ndarray, " _"]],
    config: Config,
    seed: int,
) -> tuple[ArtifactRow, ArtifactRow]:
    """Return the rates of faults in generated and in true sounds.

    Raises InputError unless there is one sound of each kind, of one length, for every clip.
    """
    check_pairs(generated, true)
    made, real = (
        [artifact_flags(sound, config) for sound in sounds] for sounds in (generated, true)
    )
    return artifact_row("generated", made, seed), artifact_row("true_sound", real, seed)


def artifact_row(name: Name, found: Sequence[ArtifactFlags], seed: int) -> ArtifactRow:
    """Return the rates of faults among what was found in each sound."""
    each = [asdict(one) for one in found]
    return ArtifactRow(
        name, *(mean([float(one[kind]) for one in each], seed, "") for kind in FAULTS)
    )


def artifact_flags(waveform: Float32[np.ndarray, " samples"], config: Config) -> ArtifactFlags:
    """Look at one sound, in the model's levels."""
    model, rate_hz = config.model, config.clock.sample_rate_hz
    levels = quantize(waveform, model.q_levels, model.quantization)
    detector = DegeneracyDetector(config)
    windows = [
        slice(start, start + detector.window_samples)
        for start in range(0, len(levels), detector.window_samples)
        # What is left at the end may be too short for a spectrum, and is not looked at.
        if start == 0 or len(levels) - start >= SPECTRUM_SAMPLES
    ]
    kinds, silent, repeating = set(), [], False
    for window in windows:
        degeneracy = detector.update(levels[window])
        kind = degeneracy.kind if degeneracy else None
        kinds.add(kind)
        # The guard reports silence when it has lasted; a window that merely is silent is unhealthy.
        silent.append(kind == "silence" or (kind is None and not detector.ok))
        repeating |= not silent[-1] and repeats(levels[window], rate_hz)
    return ArtifactFlags(
        noise="noise" in kinds,
        rail="rail" in kinds,
        silent=all(silent),
        clipped=any(_longest_run(levels == end) >= CLIP_RUN for end in (0, model.q_levels - 1)),
        dc=any(abs(float(waveform[window].mean())) > DC_AMPLITUDE for window in windows),
        repeating=repeating,
    )


def repeats(levels: UInt8[np.ndarray, " samples"], sample_rate_hz: int) -> bool:
    """Return whether the levels are those of one period before, nearly all of them.

    The period is where the autocorrelation, normalised by the energy of both parts, is largest.
    """
    shortest = max(1, round(REPEAT_SEC[0] * sample_rate_hz))
    longest = min(round(REPEAT_SEC[1] * sample_rate_hz), len(levels) // 2)
    if longest < shortest:
        return False
    centred = levels - levels.mean()
    period = shortest + int(np.argmax(_autocorrelation(centred)[shortest : longest + 1]))
    now, before = levels[period:], levels[:-period]
    rest = np.bincount(levels).argmax()
    sounding = (now != rest) | (before != rest)
    return bool(sounding.any() and np.mean((now == before)[sounding]) >= REPEAT_SHARE)


def _autocorrelation(centred: Float64[np.ndarray, " samples"]) -> Float64[np.ndarray, " lags"]:
    """Return the correlation of the part after each lag with the part before the end less it."""
    samples = len(centred)
    products = correlate(centred, centred, method="fft")[samples - 1 :]
    energy = np.concatenate([[0.0], np.cumsum(centred**2)])
    lags = np.arange(samples)
    both = (energy[-1] - energy[lags]) * energy[samples - lags]
    least = np.finfo(np.float64).eps * max(float(energy[-1]) ** 2, 1.0)
    return products / np.sqrt(np.maximum(both, least))


def _longest_run(at_the_end: Bool[np.ndarray, " samples"]) -> int:
    """Return the length of the longest stretch of True."""
    edges = np.flatnonzero(np.diff(at_the_end.astype(np.int8), prepend=0, append=0))
    return int((edges[1::2] - edges[::2]).max(initial=0))
