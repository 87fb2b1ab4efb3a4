"""Spectral distances of generated audio from the reference audio of its clip.

    log-mel distance      mean over bands and times of |L' - L|, dB                       (mel.py)
    spectral convergence  || |S'| - |S| ||_F / || |S| ||_F, mean over resolutions, no unit
    log magnitude         mean of |ln |S'| - ln |S||, mean over resolutions, nepers
    band energy           mean over 1/3-octave bands and blocks of 50 ms of |B' - B|, dB

L, S, B: levels, short-time Fourier transforms and band levels of the reference audio, with a prime
those of the generated audio. All compare instant by instant, so the right sound at the wrong time
is wrong, and so is another draw of the same noise: read them next to the controls. Resolutions and
the two Fourier terms as in Parallel WaveGAN (Yamamoto et al. 2020, arXiv:1910.11480, equations 4
to 6); bands as in IEC 61260-1.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from v2s_jax.evaluation.mel import AUDIO_SCALE, band_levels_db, librosa
from v2s_jax.evaluation.statistics import Estimate, Waveform, mean

RESOLUTIONS_SEC = ((0.025, 0.005), (0.050, 0.010), (0.010, 0.002))
"""(window, hop): those of Parallel WaveGAN at 24 kHz, 600/120, 1200/240 and 240/50 samples."""
MIN_MAGNITUDE = 10.0 ** (AUDIO_SCALE.floor_db / 20.0)
"""Magnitude of white noise at the floor of the mel scale; anything quieter counts as silence."""
BLOCK_SEC = 0.050
MIN_BAND = -9
"""Number of the lowest band; band n is centred on 1000 Hz 10^(n / 10), 126 Hz for -9. It is 29 Hz
wide, the next lower one less than 1.2 of the 20-Hz bins of a block."""

RowName = Literal["reference", "shuffled_reference"]
SILENT = "all reference audio is silent"


class Distances(NamedTuple):
    """Of one pair of waveforms."""

    log_mel_db: float
    convergence: float | None
    """None where the reference audio is silent."""
    log_magnitude: float
    band_energy_db: float


@dataclass(frozen=True)
class SpectralRow:
    """Means over clips; 0 is perfect.

    Row `reference` compares with the reference audio of the clip, `shuffled_reference` with that of
    another clip of its category.
    """

    name: RowName
    log_mel_db: Estimate
    convergence: Estimate
    log_magnitude: Estimate
    band_energy_db: Estimate


def evaluate_spectral(
    own: Sequence[Distances], shuffled: Sequence[Distances], seed: int
) -> tuple[SpectralRow, ...]:
    """Average the distances over clips; row `shuffled_reference` only where there are any."""

    def row(name: RowName, clips: Sequence[Distances]) -> SpectralRow:
        return SpectralRow(
            name, *(mean(values, seed, SILENT) for values in zip(*clips, strict=True))
        )

    rows = (row("reference", own),)
    return (*rows, row("shuffled_reference", shuffled)) if shuffled else rows


def distances(generated: Waveform, reference: Waveform, sample_rate_hz: int) -> Distances:
    """Compare two waveforms over their common beginning."""
    samples = min(len(generated), len(reference))
    pair = generated[:samples], reference[:samples]
    made, target = (band_levels_db(waveform, sample_rate_hz, AUDIO_SCALE) for waveform in pair)
    log_mel_db = float(np.mean(np.abs(made - target)))
    made, target = (third_octave_levels_db(waveform, sample_rate_hz) for waveform in pair)
    band_energy_db = float(np.mean(np.abs(made - target)))
    convergences, logs = [], []
    for window_sec, hop_sec in RESOLUTIONS_SEC:
        sizes = round(window_sec * sample_rate_hz), round(hop_sec * sample_rate_hz)
        made, target = (_magnitudes(waveform, *sizes) for waveform in pair)
        loudness = float(np.linalg.norm(target))
        if loudness >= MIN_MAGNITUDE * np.sqrt(target.size):
            convergences.append(float(np.linalg.norm(made - target)) / loudness)
        difference = np.log(np.maximum(made, MIN_MAGNITUDE))
        difference -= np.log(np.maximum(target, MIN_MAGNITUDE))
        logs.append(float(np.mean(np.abs(difference))))
    is_complete = len(convergences) == len(RESOLUTIONS_SEC)
    convergence = float(np.mean(convergences)) if is_complete else None
    return Distances(log_mel_db, convergence, float(np.mean(logs)), band_energy_db)


def _magnitudes(waveform: Waveform, window: int, hop: int) -> Float32[np.ndarray, "bins times"]:
    """Return magnitudes of the Fourier transform, 1 for white noise of full scale.

    Padded with silence, so that every sample counts and any length works.
    """
    shape = librosa().filters.get_window("hann", window)
    padded = np.pad(waveform, (0, max(0, window - len(waveform))))
    transform = librosa().stft(padded, n_fft=window, hop_length=hop, pad_mode="constant")
    return np.abs(transform) / np.float32(np.sqrt(np.sum(shape**2)))


def third_octave_levels_db(
    waveform: Waveform, sample_rate_hz: int
) -> Float64[np.ndarray, "bands blocks"]:
    """Return the power of each 1/3-octave band below half the sample rate, dB of power 1.

    Blocks do not overlap; the last one is padded with silence. The floor is that of the mel bands.
    """
    block = round(BLOCK_SEC * sample_rate_hz)
    padded = np.pad(waveform.astype(np.float64), (0, -len(waveform) % block))
    shape = librosa().filters.get_window("hann", block)
    spectra = np.abs(np.fft.rfft(padded.reshape(-1, block) * shape, axis=1)) ** 2
    bins_hz = np.fft.rfftfreq(block, 1.0 / sample_rate_hz)
    highest = int(np.floor(10.0 * np.log10(sample_rate_hz / 2_000.0) - 0.5))
    edges_hz = 1_000.0 * 10.0 ** ((np.arange(MIN_BAND, highest + 2) - 0.5) / 10.0)
    inside = (bins_hz >= edges_hz[:-1, None]) & (bins_hz < edges_hz[1:, None])
    power = 2.0 * inside @ spectra.T / (block * np.sum(shape**2))
    return 10.0 * np.log10(np.maximum(power, 10.0 ** (AUDIO_SCALE.floor_db / 10.0)))


def level_matched_noise(waveform: Waveform, seed: int) -> Waveform:
    """Return white Gaussian noise of the waveform's RMS; it may exceed full scale.

    The noise depends on the seed and this waveform only.
    """
    deviation = np.sqrt(np.mean(waveform.astype(np.float64) ** 2))
    random = np.random.default_rng([seed, zlib.crc32(waveform.tobytes())])
    noise = random.normal(0.0, 1.0, len(waveform))
    return (deviation * noise).astype(np.float32)
