"""Controls: what a sound does, as features that can come from a sound, a video or a person.

Each video frame has S = CONTROLS_PER_FRAME equal parts (16 ms at the default clock):

    appearance_i = weights of the categories, at most 1 in sum
    motion_i     = loudness of the S parts, then onset strength of the S parts, each in [0, 1]

    level(p)     = 20 log10 of the RMS over the part, dB
    reference    = REFERENCE_PERCENTILE of level over the clip
    loudness(p)  = 1 + (level(p) - reference) / RANGE_DB, clipped to [0, 1]
    rise(p)      = mean over BANDS of max(0, L_b(p) - L_b(p - 1)), dB, L_b >= reference - RANGE_DB
    onset(p)     = rise(p) / ONSET_DB, clipped to [0, 1]

where L_b is the level of band b in the part's spectrum, without a window: a hit is an onset of its
own part, not of an earlier one. Both curves are relative to the clip, so a gain changes nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float16, Float32

from v2s_jax.config import Clock
from v2s_jax.config.extractor import QUANTILES
from v2s_jax.types import Features

CONTROLS_VERSION = 1
"""Version of the definitions in this docstring; a model refuses controls of another."""
CONTROLS_PER_FRAME = 4
MOTION_DIM = 2 * CONTROLS_PER_FRAME
RANGE_DB = 60.0
"""From silence to loud: about what 256 mu-law levels resolve."""
REFERENCE_PERCENTILE = 95.0
"""Loud, but not the loudest click."""
ONSET_DB = 12.0
"""Rise within one part, averaged over the bands, that counts as a full onset: drum hits of the
synthetic set rise by 10 to 30 dB, steady noise by 1 to 2."""
BANDS = 16
LOWEST_BAND_HZ = 60.0
"""Bands are equally wide in octaves from here to half the sample rate."""
MAX_MEMORY = 0.999
"""A curve that never changes would have 1."""
SILENCE = 1e-6
"""Smallest RMS, -120 dB."""


class ControlRange(NamedTuple):
    """The range and the pace of the curves of a category in the training set."""

    quantiles: tuple[float, ...]
    """QUANTILES of loudness, then of onset strength."""
    memory: float
    """Correlation of loudness between neighbouring parts."""


class Curves(NamedTuple):
    """Loudness and onset strength of the parts of a clip, to be drawn or written."""

    loudness: Float[np.ndarray, " parts"]
    onset: Float[np.ndarray, " parts"]
    part_sec: float


def control_curves(
    waveform: Float[np.ndarray, " samples"], clock: Clock
) -> tuple[Float32[np.ndarray, " parts"], Float32[np.ndarray, " parts"]]:
    """Return loudness and onset strength of all parts of the clip's video frames."""
    level = part_levels_db(waveform, clock)
    reference = float(np.percentile(level, REFERENCE_PERCENTILE))
    loudness = np.clip(1 + (level - reference) / RANGE_DB, 0, 1)
    bands = np.maximum(band_levels_db(waveform, clock), reference - RANGE_DB)
    rise = np.maximum(np.diff(bands, axis=0), 0).mean(axis=1)
    onset = np.clip(np.concatenate([[0.0], rise]) / ONSET_DB, 0, 1)
    return loudness.astype(np.float32), onset.astype(np.float32)


def part_levels_db(
    waveform: Float[np.ndarray, " samples"], clock: Clock
) -> Float[np.ndarray, " parts"]:
    """Return the level of each part, in dB of full scale."""
    return _db(np.sqrt(np.mean(_parts(waveform, clock) ** 2, axis=1)))


def _parts(
    waveform: Float[np.ndarray, " samples"], clock: Clock
) -> Float[np.ndarray, "parts part_samples"]:
    """Return the parts of all video frames that the waveform touches, the last ones padded."""
    size = clock.samples_per_video_frame // CONTROLS_PER_FRAME
    parts = clock.video_frames(len(waveform)) * CONTROLS_PER_FRAME
    padded = np.zeros(parts * size, np.float64)
    padded[: len(waveform)] = waveform
    return padded.reshape(parts, size)


def band_levels_db(
    waveform: Float[np.ndarray, " samples"], clock: Clock
) -> Float[np.ndarray, "parts bands"]:
    """Return the level of each band in the spectrum of each part, in dB."""
    pieces = _parts(waveform, clock)
    power = np.abs(np.fft.rfft(pieces)) ** 2
    hz = np.fft.rfftfreq(pieces.shape[1], 1 / clock.sample_rate_hz)
    edges_hz = np.geomspace(LOWEST_BAND_HZ, clock.sample_rate_hz / 2, BANDS + 1)
    first_bins = np.unique(np.searchsorted(hz, edges_hz[:-1]))
    sums = np.add.reduceat(power[:, :-1], first_bins, axis=1)
    return _db(np.sqrt(sums) / pieces.shape[1])


def _db(amplitude: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return 20 * np.log10(np.maximum(amplitude, SILENCE))


def pack_controls(
    categories: Float[np.ndarray, "video_frames categories"],
    loudness: Float[np.ndarray, " parts"],
    onset: Float[np.ndarray, " parts"],
) -> Features:
    """Return curves as the features that a model reads."""
    frames = len(categories)
    motion = [curve.reshape(frames, CONTROLS_PER_FRAME) for curve in (loudness, onset)]
    return Features(categories.astype(np.float16), np.concatenate(motion, 1).astype(np.float16))


def unpack_curves(controls: Features, clock: Clock) -> Curves:
    """Return the curves of features that a model reads."""
    loudness, onset = (curve.reshape(-1) for curve in np.split(controls.motion, 2, axis=1))
    return Curves(loudness, onset, 1 / (float(clock.fps) * CONTROLS_PER_FRAME))


def controls_of_sound(
    waveform: Float[np.ndarray, " samples"],
    clock: Clock,
    category: str,
    categories: Sequence[str],
) -> Features:
    """Return the controls of a recording of one category."""
    loudness, onset = control_curves(waveform, clock)
    weights = np.zeros((clock.video_frames(len(waveform)), len(categories)), np.float32)
    weights[:, list(categories).index(category)] = 1
    return pack_controls(weights, loudness, onset)


def category_range(motions: Sequence[Float16[np.ndarray, "_ motion_dim"]]) -> ControlRange:
    """Return the range of the curves over the clips of a category."""
    curves = np.split(np.concatenate(motions).astype(np.float64), 2, axis=1)
    quantiles = [np.percentile(curve, np.linspace(0, 100, QUANTILES)) for curve in curves]
    return ControlRange(tuple(np.concatenate(quantiles).round(3).tolist()), _memory(motions))


def _memory(motions: Sequence[Float16[np.ndarray, "_ motion_dim"]]) -> float:
    """Return the correlation of loudness between neighbouring parts, over several clips."""
    curves = [x[:, :CONTROLS_PER_FRAME].astype(np.float64).reshape(-1) for x in motions]
    mean = np.concatenate(curves).mean()
    variance = sum(np.sum((x - mean) ** 2) for x in curves) or 1.0
    covariance = sum(np.sum((x[1:] - mean) * (x[:-1] - mean)) for x in curves)
    return round(float(np.clip(covariance / variance, 0, MAX_MEMORY)), 4)
