"""Find recordings that are the same under another name: cut, encoded, equalised or amplified.

Cross-correlation with the phase transform (Knapp and Carter 1976, GCC-PHAT): the phases of two
spectra agree at one lag if the recordings share a second or more, and nowhere otherwise. Before it
the level is made even over time: all clicks are alike, and one must not decide.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Complex64, Float

from v2s_jax.config import Clock
from v2s_jax.features.controls import CONTROLS_PER_FRAME, part_levels_db

LOWEST_HZ = 150.0
HIGHEST_HZ = 4_000.0
"""Codecs and equalisers keep the phases between these."""
MAX_SEC = 240.0
"""What is compared of a recording: its beginning."""
LEVEL_RANGE_DB = 45.0
"""Parts are raised to the level of the loudest one, by at most this."""
SAME_PEAK = 50.0
"""Peak of the correlation over its RMS. On ESC-10 one recording, cut to 1.2 s, filtered and encoded
as MP3 at 48 kbit/s, has 38 to 271, in most cases more than 90; two recordings have at most 40."""

Spectrum = Complex64[np.ndarray, " bins"]


def find_duplicates(
    test: Mapping[str, Float[np.ndarray, " _"]],
    train: Mapping[str, Float[np.ndarray, " _"]],
    clock: Clock,
) -> dict[str, str]:
    """Return the training recordings that are in the test set too, each with its twin."""
    longest = max((len(x) for group in (test, train) for x in group.values()), default=1)
    size = 1 << (2 * min(longest, round(MAX_SEC * clock.sample_rate_hz)) - 1).bit_length()
    spectra = {name: _phases(x, size, clock) for name, x in test.items()}
    twins: dict[str, str] = {}
    for name, waveform in train.items():
        phases = _phases(waveform, size, clock)
        twin = next((other for other, x in spectra.items() if _peak(x, phases) >= SAME_PEAK), None)
        if twin is not None:
            twins[name] = twin
    return twins


def _phases(waveform: Float[np.ndarray, " samples"], size: int, clock: Clock) -> Spectrum:
    spectrum = np.fft.rfft(_even_level(waveform[: size // 2], clock), size)
    hz = np.fft.rfftfreq(size, 1 / clock.sample_rate_hz)
    phases = spectrum / np.maximum(np.abs(spectrum), np.finfo(np.float32).tiny)
    return np.where((hz >= LOWEST_HZ) & (hz <= HIGHEST_HZ), phases, 0).astype(np.complex64)


def _even_level(waveform: Float[np.ndarray, " samples"], clock: Clock) -> np.ndarray:
    levels_db = part_levels_db(waveform, clock)
    raised_db = -np.maximum(levels_db, levels_db.max() - LEVEL_RANGE_DB)
    size = clock.samples_per_video_frame // CONTROLS_PER_FRAME
    middles = (np.arange(len(levels_db)) + 0.5) * size
    return waveform * 10 ** (np.interp(np.arange(len(waveform)), middles, raised_db) / 20)


def _peak(a: Spectrum, b: Spectrum) -> float:
    correlation = np.fft.irfft(a * np.conj(b))
    return float(np.abs(correlation).max() / np.sqrt(np.mean(correlation**2)))
