"""Onsets of a waveform, and how they match the times of events one to one.

    strength(t) = mean over mel bands of max(0, L(t) - L(t - LAG_SEC))
    L           = level of a band in dB, never below FLOOR_DB

An onset is where the strength, rising, first exceeds its surroundings by PEAK_DB (librosa). Floor
and threshold are absolute, so detection does not depend on the rest of the clip: scaling each clip
by its own loudest onset, librosa's default, finds onsets in steady noise.

The constants were chosen on reference drum audio of the synthetic *train* split and on noise, never
on generated audio.

    precision = matched / onsets    recall = matched / events    F1 = 2 matched / (onsets + events)

of counts summed over clips. A share of nothing is 0, as in mir_eval.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.optimize import linear_sum_assignment

from v2s_jax.evaluation.mel import MelScale, band_levels_db, librosa
from v2s_jax.evaluation.statistics import Waveform, derangements, share

WINDOW_SEC = 0.032
"""Length of the spectrum's window: 512 samples at 16 kHz. With 64 ms onsets are found twice
as early, and spread wider."""
HOP_SEC = 0.004
"""Time between two spectra, the grid of the onset times: 64 samples at 16 kHz. A sixth of the
narrowest matching window, 25 ms."""
LAG_SEC = 0.008
"""Time over which a level has to rise. Over 16 ms steady noise rises more, and more often."""
MEL_BANDS = 24
"""Bands of the spectrum, each at least 7 of its bins wide; single bins of noise vary more."""
FLOOR_DB = -40.0
"""What is quieter counts as silence: dB of full scale, for white noise at the level of the band.
The synthetic background is at -60, at -84 once quantized to 256 levels; no band exceeds -52."""
PEAK_DB = 2.0
"""Height over the surroundings that makes an onset. The weakest of 906 true hits reaches 4.5 dB; in
240 clips of white noise, 2 s each and from -60 to -10 dB, nothing exceeded 1.5. A single loud
sample, as from an undertrained model, is an audible click and counts."""
LEAD_SEC = 0.009
"""How early an onset is found, added to every time: half a window reaches ahead. Measured on 906
true hits of 200 clips of the train split: median 9.8 ms, all from 7.1 to 12.5. Set on an earlier
version of the dataset, whose median was 9.2."""
SCALE = MelScale(MEL_BANDS, WINDOW_SEC, HOP_SEC, FLOOR_DB)

MS_PER_SEC = 1_000.0
WINDOWS_SEC = (0.025, 0.050, 0.100)
"""Half-widths within which an onset and an event may match."""
MAX_WINDOW_SEC = WINDOWS_SEC[-1]
"""Window whose matched pairs give the timing errors."""

Times = Float64[np.ndarray, " _"]
"""Times of one clip in seconds from its start."""


def detect_onsets(waveform: Waveform, sample_rate_hz: int) -> Times:
    """Return the onset times of `waveform`, ascending.

    Audio that is present from the first sample has no onset, because what precedes it is unknown. A
    waveform shorter than one window has none either.
    """
    if len(waveform) < round(WINDOW_SEC * sample_rate_hz):
        return np.empty(0)
    strength = librosa().onset.onset_strength(
        S=band_levels_db(waveform, sample_rate_hz, SCALE),
        lag=round(LAG_SEC / HOP_SEC),
        center=False,  # the spectra are centred already; librosa would shift them once more
    )
    times = librosa().onset.onset_detect(
        onset_envelope=strength,
        sr=sample_rate_hz,
        hop_length=round(HOP_SEC * sample_rate_hz),
        normalize=False,
        delta=PEAK_DB,
        units="time",
    )
    return np.asarray(times, np.float64) + LEAD_SEC


class Counts(NamedTuple):
    """What one or more clips add to a score; fractional where pairings were averaged."""

    matched: float
    events: float
    onsets: float

    @property
    def precision(self) -> float:
        """Share of the onsets that match an event."""
        return float(share(np.array([self.matched, self.onsets], np.float64)))

    @property
    def recall(self) -> float:
        """Share of the events that match an onset."""
        return float(share(np.array([self.matched, self.events], np.float64)))


class Matching(NamedTuple):
    """How the onsets of some clips match their events."""

    counts: Float64[np.ndarray, "clips windows 3"]
    """`Counts` of each clip within each of WINDOWS_SEC, averaged over a control's pairings."""
    errors_sec: Float64[np.ndarray, " matched"]
    """Onset minus event of the pairs matched within the widest window, of all pairings."""

    def pooled(self, window: int) -> Counts:
        """Return the sums over clips within WINDOWS_SEC[window]."""
        return Counts(*self.counts[:, window].sum(axis=0).tolist())


def f1(counts: Float64[np.ndarray, "*many 3"]) -> Float64[np.ndarray, "*many"]:
    """Return F1 of each row of `Counts`: the harmonic mean of precision and recall."""
    return share(np.stack([2.0 * counts[..., 0], counts[..., 1] + counts[..., 2]], axis=-1))


def match(events_sec: Times, onsets_sec: Times, window_sec: float) -> Counts:
    """Count the largest one-to-one matching of pairs at most `window_sec` apart."""
    from mir_eval.util import match_events  # extra `eval`

    pairs = match_events(events_sec, onsets_sec, window_sec)
    return Counts(float(len(pairs)), float(len(events_sec)), float(len(onsets_sec)))


def timing_errors(
    events_sec: Times, onsets_sec: Times, window_sec: float
) -> Float64[np.ndarray, " matched"]:
    """Return onset minus event, in seconds, of the matched pairs; late is positive.

    Of several largest matchings it is the one with the smallest sum of absolute errors.
    """
    error = onsets_sec[None, :] - events_sec[:, None]
    near = np.abs(error) <= window_sec
    too_far = window_sec * (min(error.shape) + 1)  # costs more than any set of near pairs
    rows, columns = linear_sum_assignment(np.where(near, np.abs(error), too_far))
    return error[rows, columns][near[rows, columns]]


def match_clips(events_sec: Sequence[Times], onsets_sec: Sequence[Times]) -> Matching:
    """Match each clip's events with the onsets of the same clip."""
    pairs = list(zip(events_sec, onsets_sec, strict=True))
    counts = [[match(*pair, window_sec) for window_sec in WINDOWS_SEC] for pair in pairs]
    errors = [timing_errors(*pair, MAX_WINDOW_SEC) for pair in pairs]
    return Matching(np.array(counts, np.float64), np.concatenate(errors))


def match_shuffled(events_sec: Sequence[Times], onsets_sec: Sequence[Times], seed: int) -> Matching:
    """Match each clip's onsets with other clips' events: the score of audio blind to its video.

    Averaged over derangements of at least two clips, which should have one length.
    """
    matchings = [
        match_clips([events_sec[i] for i in partner], onsets_sec)
        for partner in derangements(len(events_sec), seed)
    ]
    return average(matchings)


def average(matchings: Sequence[Matching]) -> Matching:
    """Return the mean of the counts, and the errors of all."""
    return Matching(
        np.mean([matching.counts for matching in matchings], axis=0),
        np.concatenate([matching.errors_sec for matching in matchings]),
    )
