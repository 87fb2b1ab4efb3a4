"""Onset detection: a waveform in, the times of its onsets out.

    strength(t) = mean over mel bands of max(0, L(t) - L(t - LAG_SEC))
    L           = level of a band in dB, never below FLOOR_DB

An onset is where the strength, rising, first exceeds its surroundings by PEAK_DB (librosa). Floor
and threshold are absolute, so detection does not depend on the rest of the clip: scaling each clip
by its own loudest onset, librosa's default, finds onsets in steady noise.

The constants were chosen on reference drum audio of the synthetic *train* split and on noise, never
on generated audio.
"""

import numpy as np
from jaxtyping import Float32, Float64

from v2s_jax.evaluation.mel import MelScale, band_levels_db, librosa

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


def detect_onsets(
    waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int
) -> Float64[np.ndarray, " onsets"]:
    """Return the onset times of `waveform` in seconds from its start, ascending.

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
