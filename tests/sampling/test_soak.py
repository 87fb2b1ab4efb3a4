"""Long runs: every sample is there, memory stays bounded, and one seed is one waveform."""

import os
import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from benchmarks.machine import host_peak_mb
from tests.conftest import random_params
from v2s_jax.checkpoints import load_params, save_params
from v2s_jax.config import TINY, Config
from v2s_jax.datasets.synthetic.generator import make_clip
from v2s_jax.features.pixels import PixelsExtractor
from v2s_jax.media import write_clip
from v2s_jax.pretrained import PRETRAINED
from v2s_jax.processes import run_isolated
from v2s_jax.sampling import Request, Sampler, clip_key, content_hash, generate
from v2s_jax.sampling.types import BLOCK_VIDEO_FRAMES
from v2s_jax.sonification import SampleOptions, sonify
from v2s_jax.sonification.streaming import stream_audio

FPS = Fraction(5)
SAMPLE_RATE_HZ = 16_000
SHORT_SEC = 60
LONG_SEC = 600
GROWTH_MB = 150
"""Measured: 558 MB for the short one, 638 for the long one, whose samples are 38 MB as float32."""


def make_video(path: Path, duration_sec: int) -> None:
    """A bright bar that moves over a dark background, with silence."""
    frames = np.zeros((round(duration_sec * FPS), 48, 64, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[:, index % 64] = 255
    silence = np.zeros(duration_sec * SAMPLE_RATE_HZ, np.float32)
    write_clip(path, frames, FPS, silence, SAMPLE_RATE_HZ)


def sonify_and_peak_mb(video: Path, out: Path, checkpoint: Path) -> tuple[dict[str, str], float]:
    """To be run in its own process: a peak belongs to a process, and never falls."""
    report = sonify(video, out, SampleOptions(checkpoint=checkpoint))
    return {str(path): problem for path, problem in report.failed.items()}, host_peak_mb()


def samples_in(wav: Path) -> int:
    with wave.open(str(wav)) as file:
        assert file.getframerate() == SAMPLE_RATE_HZ
        return file.getnframes()


@pytest.mark.soak
def test_ten_minutes_of_audio_in_bounded_memory(tmp_path):
    checkpoint = tmp_path / "tiny.safetensors"
    save_params(checkpoint, TINY, random_params(TINY))
    peaks_mb = []
    for duration_sec in (SHORT_SEC, LONG_SEC):
        video = tmp_path / f"{duration_sec}s.mp4"
        make_video(video, duration_sec)
        failed, peak_mb = run_isolated(sonify_and_peak_mb, video, tmp_path / "out", checkpoint)
        assert failed == {}
        wav = tmp_path / "out" / f"{duration_sec}s_sound.wav"
        assert samples_in(wav) == duration_sec * SAMPLE_RATE_HZ
        peaks_mb.append(peak_mb)
    assert peaks_mb[1] - peaks_mb[0] < GROWTH_MB, peaks_mb


ONE_SEED_CLIPS = 64
ONE_SEED_VIDEO_FRAMES = 156  # the paper's 10 s


@pytest.mark.soak
def test_sixty_four_clips_of_ten_seconds_have_one_waveform_per_seed():
    """The pretrained model on drums: whatever the order, the other clips and the pauses, not one
    of ten million levels differs. Short runs could pass by luck: a difference in rounding shows
    only at a near-tie.
    """
    config, params = load_params(PRETRAINED["frame"])
    sampler = Sampler(config, params)
    random = np.random.default_rng(0)
    requests = [drum_request(config, clip) for clip in range(ONE_SEED_CLIPS)]
    whole = generate(sampler, requests)
    assert {levels.size for levels in whole} == {ONE_SEED_VIDEO_FRAMES * 1024}
    assert len({levels.tobytes() for levels in whole}) == ONE_SEED_CLIPS

    shuffled = random.permutation(ONE_SEED_CLIPS)
    for members in np.array_split(shuffled, [1, 3, 6, 11, 30]):
        again = generate(sampler, [requests[clip] for clip in members])
        for clip, levels in zip(members, again, strict=True):
            np.testing.assert_array_equal(levels, whole[clip])

    clips = shuffled[: sampler.batch_size]
    paused = with_pauses(sampler, [requests[clip] for clip in clips], random)
    for clip, levels in zip(clips, paused, strict=True):
        np.testing.assert_array_equal(levels, whole[clip])


def drum_request(config: Config, clip: int) -> Request:
    rendered = make_clip("drum", "test", clip, 1, config.clock, ONE_SEED_VIDEO_FRAMES)
    features = np.stack(list(PixelsExtractor().stream_appearance(rendered.frames)))
    key = clip_key(0, content_hash(features.tobytes()))
    return Request(key, ONE_SEED_VIDEO_FRAMES * 1024, features)


def with_pauses(
    sampler: Sampler, requests: list[Request], random: np.random.Generator
) -> np.ndarray:
    """Generate one batch of equally long clips, stopping after random numbers of big frames."""
    per_frame = sampler.block_ticks // BLOCK_VIDEO_FRAMES
    rows = np.stack([request.features for request in requests])
    rows = np.pad(rows, ((0, 0), (0, BLOCK_VIDEO_FRAMES), (0, 0)))
    stream = sampler.init_state(np.stack([request.key for request in requests]))
    left, parts = ONE_SEED_VIDEO_FRAMES * per_frame, []
    while left:
        ticks = min(left, int(random.integers(1, sampler.block_ticks - per_frame + 1)))
        first = int(stream.tick) // per_frame
        block = rows[:, first : first + BLOCK_VIDEO_FRAMES]
        stream, outputs = sampler.generate_block(stream, block, 1.0, ticks)
        parts.append(outputs.levels.T)
        left -= ticks
    return np.concatenate(parts, axis=1)


STREAM_GROWTH_MB = 50
WARM_VIDEO_FRAMES = 200


def stream_growth_mb(video_frames: int) -> tuple[int, float]:
    """Stream frames; return the samples, and the growth of resident memory after the first ones."""
    sampler = Sampler(TINY, random_params(TINY), batch_size=1)
    sampler.compile()
    frame = np.zeros((128, 128, 3), np.uint8)

    def frames() -> Iterator[np.ndarray]:
        for index in range(video_frames):
            frame[:, index % 128] += 1
            yield frame

    samples, warm_mb = 0, 0.0
    blocks = stream_audio(
        sampler, PixelsExtractor(), frames(), clip_key(0, b"endless"), SampleOptions()
    )
    for index, block in enumerate(blocks):
        samples += block.waveform.size
        if index == WARM_VIDEO_FRAMES:
            warm_mb = resident_mb()
    return samples, resident_mb() - warm_mb


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.parametrize(
    "duration_sec",
    [
        pytest.param(120, marks=pytest.mark.slow),
        pytest.param(7200, marks=pytest.mark.soak),
    ],
    ids=["2 min", "2 h"],
)
def test_a_long_stream_has_every_sample_and_does_not_grow(duration_sec):
    video_frames = round(duration_sec * TINY.clock.fps)
    samples, growth_mb = run_isolated(stream_growth_mb, video_frames)
    print(f"{duration_sec} s: {samples} samples, {growth_mb:.1f} MB")
    assert samples == duration_sec * SAMPLE_RATE_HZ
    assert growth_mb < STREAM_GROWTH_MB
