"""How far a generated sound's spectrum lies from that of the clip's own sound.

    log-mel distance      mean over bands and times of |L' - L|, dB                       (mel.py)
    spectral convergence  || |S'| - |S| ||_F / || |S| ||_F, mean over resolutions, no unit
    log magnitude         mean of |ln |S'| - ln |S||, mean over resolutions, nepers
    band energy           mean over 1/3-octave bands and blocks of 50 ms of |B' - B|, dB

L, S, B: levels, short-time Fourier transforms and band levels of the true sound, with a prime those
of the generated one. All compare place by place in time, so a right sound at a wrong time is wrong,
and so is a fresh draw of the same noise: read them beside the controls. Resolutions and the two
Fourier terms as in Parallel WaveGAN (Yamamoto et al. 2020, arXiv:1910.11480, equations 4 to 6);
bands as in IEC 61260-1.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from v2s_jax.evaluation.estimate import Estimate, check_pairs, mean
from v2s_jax.evaluation.mel import SOUND, band_levels_db
from v2s_jax.evaluation.sound_library import librosa
from v2s_jax.evaluation.sync import derangements

RESOLUTIONS_SEC = ((0.025, 0.005), (0.050, 0.010), (0.010, 0.002))
"""(window, hop): those of Parallel WaveGAN at 24 kHz, 600/120, 1200/240 and 240/50 samples."""
LEAST_MAGNITUDE = 10.0 ** (SOUND.floor_db / 20.0)
"""Magnitudes of white noise at the floor of the mel scale; what is quieter is as good as silent."""
BLOCK_SEC = 0.050
LOWEST_BAND = -9
"""Number of the lowest band; band n lies around 1000 Hz 10^(n / 10), 126 Hz for -9. It is 29 Hz
wide, that below it less than 1.2 of the 20-Hz bins of a block."""

Name = Literal["own_sound", "shuffled_sound", "noise"]
SILENT = "every true sound is silent"


class Distances(NamedTuple):
    """Of one pair of sounds."""

    log_mel_db: float
    convergence: float | None
    """None where the true sound is silent."""
    log_magnitude: float
    band_energy_db: float


@dataclass(frozen=True)
class SpectralRow:
    """Means over clips; 0 is perfect.

    Row `own_sound` compares each generated sound with its clip's own, `shuffled_sound` with those
    of other clips, and `noise` puts white noise as loud as the true sound in its place.
    """

    name: Name
    log_mel_db: Estimate
    convergence: Estimate
    log_magnitude: Estimate
    band_energy_db: Estimate


def spectral_rows(
    generated: Sequence[Float32[np.ndarray, " _"]],
    true: Sequence[Float32[np.ndarray, " _"]],
    sample_rate_hz: int,
    seed: int,
) -> tuple[SpectralRow, ...]:
    """Compare generated sounds with the clips' own, beside both controls.

    A single clip cannot be shuffled, and has no such row. Raises InputError unless there is one
    sound of each kind, of one length, for every clip.
    """
    check_pairs(generated, true)

    def row(name: Name, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> SpectralRow:
        return spectral_row(name, [distances(*pair, sample_rate_hz) for pair in pairs], seed)

    rows = [row("own_sound", list(zip(generated, true, strict=True)))]
    for partner in derangements(len(true), seed)[:1]:
        met = [common(generated[i], true[other]) for i, other in enumerate(partner)]
        rows.append(row("shuffled_sound", met))
    noise = [level_matched_noise(real, seed) for real in true]
    return (*rows, row("noise", list(zip(noise, true, strict=True))))


def spectral_row(name: Name, found: Sequence[Distances], seed: int) -> SpectralRow:
    """Return the means of what was found of each clip."""
    fields = zip(*found, strict=True)
    return SpectralRow(name, *(mean(values, seed, SILENT) for values in fields))


def distances(
    generated: Float32[np.ndarray, " samples"],
    true: Float32[np.ndarray, " samples"],
    sample_rate_hz: int,
) -> Distances:
    """Compare two sounds of one length."""

    def apart(levels: Callable[[np.ndarray, int], np.ndarray]) -> float:
        made, real = levels(generated, sample_rate_hz), levels(true, sample_rate_hz)
        return float(np.mean(np.abs(made - real)))

    convergence, log_magnitude = _multi_resolution(generated, true, sample_rate_hz)
    log_mel_db = apart(lambda waveform, rate_hz: band_levels_db(waveform, rate_hz, SOUND))
    return Distances(log_mel_db, convergence, log_magnitude, apart(third_octave_levels_db))


def _multi_resolution(
    generated: Float32[np.ndarray, " samples"],
    true: Float32[np.ndarray, " samples"],
    sample_rate_hz: int,
) -> tuple[float | None, float]:
    """Return spectral convergence and log-magnitude distance, each averaged over resolutions."""
    convergences, logs = [], []
    for window_sec, hop_sec in RESOLUTIONS_SEC:
        sizes = round(window_sec * sample_rate_hz), round(hop_sec * sample_rate_hz)
        made, real = _magnitudes(generated, *sizes), _magnitudes(true, *sizes)
        loudness = float(np.linalg.norm(real))
        if loudness >= LEAST_MAGNITUDE * np.sqrt(real.size):
            convergences.append(float(np.linalg.norm(made - real)) / loudness)
        difference = np.log(np.maximum(made, LEAST_MAGNITUDE))
        difference -= np.log(np.maximum(real, LEAST_MAGNITUDE))
        logs.append(float(np.mean(np.abs(difference))))
    whole = len(convergences) == len(RESOLUTIONS_SEC)
    return (float(np.mean(convergences)) if whole else None), float(np.mean(logs))


def _magnitudes(
    waveform: Float32[np.ndarray, " samples"], window: int, hop: int
) -> Float32[np.ndarray, "bins times"]:
    """Return magnitudes of the Fourier transform, 1 for white noise of full scale.

    Silence is put around the waveform, so that every sample counts and none is too few.
    """
    shape = librosa().filters.get_window("hann", window)
    padded = np.pad(waveform, (0, max(0, window - len(waveform))))
    transform = librosa().stft(padded, n_fft=window, hop_length=hop, pad_mode="constant")
    return np.abs(transform) / np.float32(np.sqrt(np.sum(shape**2)))


def third_octave_levels_db(
    waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int
) -> Float64[np.ndarray, "bands blocks"]:
    """Return the power of each 1/3-octave band in each block, dB of a sound of power 1.

    Blocks do not overlap; the last one is filled up with silence. Levels end at the same floor as
    those of mel bands.
    """
    block = round(BLOCK_SEC * sample_rate_hz)
    padded = np.pad(waveform.astype(np.float64), (0, -len(waveform) % block))
    shape = librosa().filters.get_window("hann", block)
    spectra = np.abs(np.fft.rfft(padded.reshape(-1, block) * shape, axis=1)) ** 2
    bins_hz = np.fft.rfftfreq(block, 1.0 / sample_rate_hz)
    edges_hz = _edges_hz(sample_rate_hz)
    inside = (bins_hz >= edges_hz[:-1, None]) & (bins_hz < edges_hz[1:, None])
    power = 2.0 * inside @ spectra.T / (block * np.sum(shape**2))
    return 10.0 * np.log10(np.maximum(power, 10.0 ** (SOUND.floor_db / 10.0)))


def _edges_hz(sample_rate_hz: int) -> Float64[np.ndarray, " edges"]:
    """Return the edges of the bands that lie below half the sample rate."""
    highest = int(np.floor(10.0 * np.log10(sample_rate_hz / 2_000.0) - 0.5))
    return 1_000.0 * 10.0 ** ((np.arange(LOWEST_BAND, highest + 2) - 0.5) / 10.0)


def level_matched_noise(
    waveform: Float32[np.ndarray, " samples"], seed: int
) -> Float32[np.ndarray, " samples"]:
    """Return white Gaussian noise of the waveform's own RMS; it may pass full scale.

    Each waveform has noise of its own, whatever others there are.
    """
    deviation = np.sqrt(np.mean(waveform.astype(np.float64) ** 2))
    random = np.random.default_rng([seed, zlib.crc32(waveform.tobytes())])
    noise = random.normal(0.0, 1.0, len(waveform))
    return (deviation * noise).astype(np.float32)


def common(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the beginnings of two sounds, as long as the shorter one."""
    samples = min(len(one), len(other))
    return one[:samples], other[:samples]
