"""Long videos: every sample is there, and memory stays bounded."""

import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import random_params
from v2s_jax.benchmarks.fresh_process import in_fresh_process
from v2s_jax.benchmarks.machine import host_peak_mb
from v2s_jax.config import TINY
from v2s_jax.media import write_clip
from v2s_jax.sonification import sonify
from v2s_jax.training.checkpoint import save_params

FPS = Fraction(5)
SAMPLE_RATE_HZ = 16_000
SHORT_SEC = 60
LONG_SEC = 600
GROWTH_MB = 150
"""Measured: 558 MB for the short one, 638 for the long one, whose samples are 38 MB as float32."""


def make_video(path: Path, duration_sec: int) -> None:
    """A bright bar that wanders over a dark picture, with silence."""
    frames = np.zeros((round(duration_sec * FPS), 48, 64, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[:, index % 64] = 255
    silence = np.zeros(duration_sec * SAMPLE_RATE_HZ, np.float32)
    write_clip(path, frames, FPS, silence, SAMPLE_RATE_HZ)


def sound_and_peak_mb(video: Path, out: Path, checkpoint: Path) -> tuple[dict[str, str], float]:
    """Run in a process of its own: a peak belongs to a process, and never falls."""
    report = sonify(video, out, checkpoint=checkpoint)
    return {str(path): problem for path, problem in report.failed.items()}, host_peak_mb()


def samples_in(wav: Path) -> int:
    with wave.open(str(wav)) as file:
        assert file.getframerate() == SAMPLE_RATE_HZ
        return file.getnframes()


@pytest.mark.soak
def test_ten_minutes_are_sounded_to_the_sample_in_bounded_memory(tmp_path):
    checkpoint = tmp_path / "tiny.safetensors"
    save_params(checkpoint, TINY, random_params(TINY))
    peaks_mb = []
    for duration_sec in (SHORT_SEC, LONG_SEC):
        video = tmp_path / f"{duration_sec}s.mp4"
        make_video(video, duration_sec)
        failed, peak_mb = in_fresh_process(sound_and_peak_mb, video, tmp_path / "out", checkpoint)
        assert failed == {}
        wav = tmp_path / "out" / f"{duration_sec}s_sound.wav"
        assert samples_in(wav) == duration_sec * SAMPLE_RATE_HZ
        peaks_mb.append(peak_mb)
    assert peaks_mb[1] - peaks_mb[0] < GROWTH_MB, peaks_mb
