"""Detection of failures of long autoregressive runs: runaway noise, a loud buzz, dead silence.

Every window of `WINDOW_VIDEO_FRAMES` is classified:

    noise     all levels are about equally frequent and the spectrum is flat: the model has lost
              its state and draws anything
    rail      most samples are at the ends of the range
    silence   at most two neighbouring levels occur, `SILENT_WINDOWS` windows in a row
    loud      far louder than the model itself expects from the video (`v2s_jax.model.loudness`);
              only for models that predict it

Loud natural sounds are none of these: water and rain are loud, but not white; white noise that is
loud but not clipped still prefers the middle levels. A retry goes back to the end of the last good
window and continues with the next seed.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

from v2s_jax.config import MAX_SEED, Config
from v2s_jax.model import DB_PER_UNIT, loudness
from v2s_jax.quantize import dequantize

WINDOW_VIDEO_FRAMES = 16
"""1.02 s: longer than a loud hit, short enough to generate again."""

NOISE_MAX_ENTROPY_GAP_BITS = 0.25
"""Noise has an entropy of its levels at most this far below that of a uniform distribution.

Measured with 256 linear levels: uniform noise is 0.01 bit below 8, the loudest white Gaussian noise
(0.3 % clipped) 0.54 bit, generated water at least 1.9 bits."""

NOISE_FLATNESS = 0.5
"""Least spectral flatness of noise: geometric over arithmetic mean of the power spectrum.

Measured: white noise 0.98, the loudest generated water 0.37, drums 0.05."""

SPECTRUM_SAMPLES = 512
"""32 ms; the power spectra of such pieces are averaged over the window."""

RAIL_AMPLITUDE = 0.98
RAIL_FRACTION = 0.5
"""A full-scale sine is beyond that amplitude for 0.13 of its time; a stuck model always."""

SILENT_WINDOWS = 5
"""5.1 s. Measured: no window of generated drums (10 s each) is silent."""

LOUDER_DB = 15.0
"""How much louder than expected a window is loud, on the mean over time of levels in dB.

Measured with the pretrained `aligned` on 320 test clips: true sounds at most 11.9 dB, 99 % of them
below 3.2; of 640 windows of its own two at 15.6 and 17.4, the others at most 10.6. Sounds of
another category are more than 24 dB louder in one of twenty clips, Frame's buzz up to 39 dB."""

Kind = Literal["noise", "rail", "silence", "loud"]


@dataclass(frozen=True)
class Degeneracy:
    """A degenerate stretch of audio."""

    kind: Kind
    start_sec: float
    end_sec: float
    retried: bool = False
    """Whether it was replaced by audio of the next seed."""

    def __str__(self) -> str:
        names = {
            "noise": "runaway noise",
            "rail": "stuck at full scale",
            "silence": "dead silence",
            "loud": "far louder than the video calls for",
        }
        retried = ", generated again with the next seed" if self.retried else ""
        return f"{names[self.kind]} from {self.start_sec:.1f} to {self.end_sec:.1f} s{retried}"


class DegeneracyDetector:
    """Checks one clip's levels, window after window."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.window_samples = WINDOW_VIDEO_FRAMES * config.clock.samples_per_video_frame
        self._silent = 0
        self.ok = True
        """Whether the last window was neither degenerate nor silent."""
        self.position = 0
        """Sample of the clip at which the next window starts."""

    def samples_to_window_end(self, sample: int) -> int:
        """Return how many samples are left of the window that `sample` is in."""
        return self.window_samples - sample % self.window_samples

    def update(
        self,
        levels: UInt8[np.ndarray, " samples"],
        expected_db: Float32[np.ndarray, " video_frames"] | None = None,
    ) -> Degeneracy | None:
        """Check the next window; the first and last of a clip may be shorter.

        `expected_db` is the loudness that the model expects of the window's video frames.
        """
        start = self.position
        self.position += len(levels)
        kind = _classify(levels, self._config)
        if kind is None and expected_db is not None and self._is_loud(levels, expected_db):
            kind = "loud"
        self._silent = self._silent + 1 if kind == "silence" else 0
        self.ok = kind is None
        if kind is None or (kind == "silence" and self._silent < SILENT_WINDOWS):
            return None
        if kind == "silence":
            start = max(0, self.position - self._silent * self.window_samples)
        rate_hz = self._config.clock.sample_rate_hz
        return Degeneracy(kind, start / rate_hz, self.position / rate_hz)

    def video_frames(self, end: int) -> slice:
        """Return the video frames of a clip from the window's start to a sample."""
        per_frame = self._config.clock.samples_per_video_frame
        return slice(self.position // per_frame, -(-end // per_frame))

    def _is_loud(
        self, levels: UInt8[np.ndarray, " samples"], expected_db: Float32[np.ndarray, " _"]
    ) -> bool:
        size = self._config.samples_per_vector
        whole = levels[: len(levels) // size * size].astype(np.int32)
        if not len(whole):
            return False
        levels_db = DB_PER_UNIT * loudness(self._config, whole[None])
        return bool(np.mean(levels_db) - np.mean(expected_db) >= LOUDER_DB)

    def reset(self, sample: int) -> None:
        """Continue from this sample, as after a good window."""
        self.position, self._silent = sample, 0


def find_degeneracies(
    levels: UInt8[np.ndarray, " samples"],
    config: Config,
    expected_db: Float32[np.ndarray, " video_frames"] | None = None,
) -> list[Degeneracy]:
    """Return the degenerate stretches of a whole clip, adjacent ones of one kind merged."""
    detector, degeneracies = DegeneracyDetector(config), list[Degeneracy]()
    for start in range(0, len(levels), detector.window_samples):
        end = min(start + detector.window_samples, len(levels))
        frames = detector.video_frames(end)
        expected = None if expected_db is None else expected_db[frames]
        degeneracy = detector.update(levels[start:end], expected)
        if degeneracy is not None:
            merge_degeneracy(degeneracies, degeneracy)
    return degeneracies


def merge_degeneracy(degeneracies: list[Degeneracy], degeneracy: Degeneracy) -> None:
    """Append a stretch, or extend the last one if it is adjacent and of the same kind."""
    last = degeneracies[-1] if degeneracies else None
    same = last and last.kind == degeneracy.kind and not (last.retried or degeneracy.retried)
    if last and same and last.end_sec >= degeneracy.start_sec:
        degeneracies[-1] = dataclasses.replace(last, end_sec=degeneracy.end_sec)
    else:
        degeneracies.append(degeneracy)


def next_seed(key: np.ndarray) -> np.ndarray:
    """Return a clip's key with the next seed; the last seed wraps around to 0."""
    return np.array([(int(key[0]) + 1) & MAX_SEED, key[1]], np.uint32)


def _classify(levels: UInt8[np.ndarray, " samples"], config: Config) -> Kind | None:
    model = config.model
    if len(levels) < SPECTRUM_SAMPLES:
        return None
    waveform = dequantize(levels, model.q_levels, model.quantization)
    if np.mean(np.abs(waveform) >= RAIL_AMPLITUDE) >= RAIL_FRACTION:
        return "rail"
    if int(levels.max()) - int(levels.min()) <= 1:
        return "silence"
    bits = _entropy_bits(levels, model.q_levels)
    if bits >= np.log2(model.q_levels) - NOISE_MAX_ENTROPY_GAP_BITS:
        return "noise" if _flatness(waveform) >= NOISE_FLATNESS else None
    return None


def _entropy_bits(levels: UInt8[np.ndarray, " samples"], q_levels: int) -> float:
    share = np.bincount(levels, minlength=q_levels) / len(levels)
    share = share[share > 0]
    return float(-np.sum(share * np.log2(share)))


def _flatness(waveform: np.ndarray) -> float:
    """Return the flatness of the mean spectrum of a window, without DC and Nyquist."""
    waveform = waveform[: len(waveform) // SPECTRUM_SAMPLES * SPECTRUM_SAMPLES]
    frames = waveform.reshape(-1, SPECTRUM_SAMPLES) * np.hanning(SPECTRUM_SAMPLES)
    power = np.mean(np.abs(np.fft.rfft(frames)) ** 2, axis=0)[1:-1]
    return float(np.exp(np.mean(np.log(power + np.finfo(float).tiny))) / np.mean(power))
