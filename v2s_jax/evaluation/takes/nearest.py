"""The part of a training set that sounds most like a part of a take: did the model copy?

Takes and training clips are cut into windows of `WINDOW_SEC`, and each window is described by the
levels of its mel bands less their mean, so loudness does not count:

    distance(a, b) = sqrt(mean over bands and times of (a - b)^2)      in dB

The nearest pair is what to listen to. Two sounds of one spectrum differ in their waveforms, two
copies do not, so the window of the take is also moved along each of the nearest clips:

    correlation = max over lags of  x . y[lag] / (|x| |y[lag]|)
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64
from tqdm import tqdm

from v2s_jax.config import Clock
from v2s_jax.datasets import ClipSource
from v2s_jax.evaluation.mel import MelScale, band_levels_db
from v2s_jax.evaluation.statistics import Waveform
from v2s_jax.quantize import INT16_SCALE

WINDOW_SEC = 1.0
"""Long enough for a bark or a hit with its ring."""
WINDOW_HOP_SEC = 0.256
"""Eight columns of the spectrum: an excerpt is found to an eighth of a second."""
SCALE = MelScale(bands=32, window_sec=0.064, hop_sec=0.032, floor_db=-60.0)
"""Coarser than the scales of the metrics: an hour of training sounds takes 55 MB."""
CLIPS_COMPARED = 8
"""Clips nearest by spectrum whose waveforms are compared."""
COPY_CORRELATION = 0.8
"""Correlation of a copy with noise 4 dB below it. A steady tone exceeds it with any other."""
MIN_ENERGY_SHARE = 0.1
"""Of the loudest part of a clip: what is fainter cannot be a copy."""

Times = Float64[np.ndarray, " _"]

Windows = Float32[np.ndarray, "_ bands_and_times"]


class Excerpt(NamedTuple):
    """A second of a training clip, and the second of a take that it is nearest to."""

    clip_id: str
    waveform: Waveform
    start_sec: float
    """In the training clip."""
    take_start_sec: float
    distance_db: float
    correlation: float
    """Of the waveforms, at the lag where it is largest: 0 to 1."""

    @property
    def is_copy(self) -> bool:
        """Whether the take has a part of the clip's waveform."""
        return self.correlation >= COPY_CORRELATION


class TrainingSounds(NamedTuple):
    """The windows of all clips of a training set."""

    clock: Clock
    clip_ids: tuple[str, ...]
    waveforms: tuple[Waveform, ...]
    windows: Windows
    clip: Int64[np.ndarray, " _"]
    """The clip of each window."""
    start_sec: Times
    """Its place there."""

    def nearest(self, take: Waveform) -> Excerpt:
        """Return the training window that is nearest to any window of a take."""
        own, own_starts_sec = cut_windows(take, self.clock.sample_rate_hz)
        distances = _distances_db(own, self.windows)
        nearest_clips = dict.fromkeys(self.clip[np.argsort(distances.min(axis=0))].tolist())
        excerpts = [
            self._excerpt(take, own_starts_sec, distances, clip)
            for clip in list(nearest_clips)[:CLIPS_COMPARED]
        ]
        return next((excerpt for excerpt in excerpts if excerpt.is_copy), excerpts[0])

    def _excerpt(
        self,
        take: Waveform,
        take_starts_sec: Times,
        distances: Float32[np.ndarray, "take_windows windows"],
        clip: int,
    ) -> Excerpt:
        """Return the pair of windows of the take and of one clip that are nearest."""
        of_clip = np.where(self.clip == clip, distances, np.inf)
        own, window = np.unravel_index(int(np.argmin(of_clip)), of_clip.shape)
        size = round(WINDOW_SEC * self.clock.sample_rate_hz)
        take_first, first = (
            round(float(start_sec) * self.clock.sample_rate_hz)
            for start_sec in (take_starts_sec[own], self.start_sec[window])
        )
        return Excerpt(
            self.clip_ids[clip],
            self.waveforms[clip][first : first + size],
            float(self.start_sec[window]),
            float(take_starts_sec[own]),
            float(distances[own, window]),
            best_correlation(take[take_first : take_first + size], self.waveforms[clip]),
        )


def best_correlation(part: Waveform, whole: Waveform) -> float:
    """Return the largest correlation, by magnitude, of `part` with what it covers of `whole`."""
    part, whole = part.astype(np.float64), np.pad(whole.astype(np.float64), len(part))
    size = len(whole) + len(part)
    products = np.fft.irfft(np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size)), size)
    lags = len(whole) - len(part) + 1
    power = np.cumsum(np.concatenate([[0.0], whole**2]))
    energy = power[len(part) :] - power[:lags]
    # Where little of `whole` is covered, its energy is small, and so is that part's similarity.
    scale = np.sqrt(np.sum(part**2) * np.maximum(energy, MIN_ENERGY_SHARE * energy.max()))
    return float(np.max(np.abs(products[:lags]) / np.maximum(scale, np.finfo(np.float64).tiny)))


def read_sounds(source: ClipSource) -> TrainingSounds:
    """Read the sounds of a training set."""
    ids, waveforms, clock = [], [], source.clock
    records = source.read(range(len(source)))
    for record in tqdm(records, desc="reading the dataset", total=len(source), unit="clip"):
        ids.append(record.clip_id)
        waveforms.append(record.waveform.astype(np.float32) / INT16_SCALE)
    cuts = [cut_windows(waveform, clock.sample_rate_hz) for waveform in waveforms]
    return TrainingSounds(
        clock,
        tuple(ids),
        tuple(waveforms),
        np.concatenate([windows for windows, _ in cuts]),
        np.repeat(np.arange(len(cuts)), [len(windows) for windows, _ in cuts]),
        np.concatenate([starts_sec for _, starts_sec in cuts]),
    )


def _distances_db(a: Windows, b: Windows) -> Float32[np.ndarray, "a_windows b_windows"]:
    squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0) / a.shape[1])


def cut_windows(waveform: Waveform, sample_rate_hz: int) -> tuple[Windows, Times]:
    """Return the level of each window's bands less their mean, in dB, and where each starts.

    A waveform shorter than a window is one window, with silence after it.
    """
    missing = round(WINDOW_SEC * sample_rate_hz) - len(waveform)
    levels = band_levels_db(np.pad(waveform, (0, max(0, missing))), sample_rate_hz, SCALE)
    columns, hop = round(WINDOW_SEC / SCALE.hop_sec), round(WINDOW_HOP_SEC / SCALE.hop_sec)
    view = np.lib.stride_tricks.sliding_window_view(levels, columns, axis=1)[:, ::hop]
    windows = view.transpose(1, 0, 2).reshape(view.shape[1], -1)
    centred = windows - windows.mean(axis=1, keepdims=True)
    return centred.astype(np.float32), np.arange(len(centred)) * WINDOW_HOP_SEC
