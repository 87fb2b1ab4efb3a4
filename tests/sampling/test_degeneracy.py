"""The guard: what is runaway noise or dead silence, and what is only loud."""

import numpy as np
import pytest
from v2s_jax.datasets.synthetic.generator import make_clip

from tests.conftest import random_params, with_model
from v2s_jax.checkpoints import load_params
from v2s_jax.config import TINY
from v2s_jax.quantize import quantize
from v2s_jax.sampling import GenerationOptions, Request, Sampler, clip_key, find_degeneracies
from v2s_jax.sampling import degeneracy as guarding
from v2s_jax.sampling.multi_device import generate_all
from v2s_jax.sampling.streaming import first_carry, stream
from v2s_jax.pretrained import DEFAULT_CHECKPOINT

SEC = 16_000


def kinds(waveform, config=TINY) -> list[str]:
    model = config.model
    levels = quantize(waveform, model.q_levels, model.quantization)
    return [degeneracy.kind for degeneracy in find_degeneracies(levels, config)]


def rain(seconds: int = 6) -> np.ndarray:
    """Dense drops, each a click that rings off, over a hiss."""
    random = np.random.default_rng(0)
    drops = (random.random(seconds * SEC) < 0.02) * random.normal(size=seconds * SEC)
    fallen = np.convolve(drops, np.exp(-np.arange(60) / 12), "same")
    return fallen + 0.02 * random.normal(size=seconds * SEC)


@pytest.mark.parametrize("quantization", ["linear", "mu_law"])
@pytest.mark.parametrize("loud", [1.0, 2.0])
def test_loud_sounds_of_nature_are_no_fault(quantization, loud):
    """At full scale, and 6 dB too loud, so that they clip."""
    config = with_model(TINY, quantization=quantization)
    water = [make_clip("water_flowing", "test", i, 1, TINY.clock, 94).waveform for i in (0, 2, 3)]
    for sound in (rain(), *water):
        assert kinds(np.clip(loud * sound / np.abs(sound).max(), -1, 1), config) == []
    hit = make_clip("drum", "test", 0, 1, TINY.clock, 156).waveform
    assert kinds(hit, config) == []


def test_white_noise_as_loud_as_it_gets_without_clipping_much_is_no_fault():
    noise = np.random.default_rng(0).normal(size=4 * SEC) / 3
    assert kinds(np.clip(noise, -1, 1)) == []


@pytest.mark.parametrize("quantization", ["linear", "mu_law"])
def test_noise_over_all_levels_is_runaway(quantization):
    config = with_model(TINY, quantization=quantization)
    levels = np.random.default_rng(0).integers(0, 256, 3 * SEC).astype(np.uint8)
    (degeneracy,) = find_degeneracies(levels, config)
    assert (degeneracy.kind, degeneracy.start_sec, degeneracy.end_sec) == ("noise", 0.0, 3.0)


def test_a_guard_that_begins_behind_a_prefix_tells_the_time_of_the_clip(tiny):
    """The prefix itself is not looked at: it is not the model's."""
    sampler = Sampler(tiny, random_params(tiny), batch_size=1)
    noise = np.random.default_rng(0).integers(0, 256, 8_000).astype(np.uint8)
    features = np.zeros((40, tiny.model.feature_dim), np.float32)
    request = Request(clip_key(0, b"prefix"), 40 * 1_024, features, noise)
    looked: list[np.ndarray] = []

    def kind(levels, config):
        looked.append(levels)
        return "noise" if len(looked) == 1 else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guarding, "_kind", kind)
        (made,) = generate_all([sampler], [request], GenerationOptions(max_retries=1))
    (degeneracy,) = made.degeneracies
    window = guarding.WINDOW_VIDEO_FRAMES * 1_024
    assert (degeneracy.start_sec, degeneracy.end_sec) == (8_000 / SEC, window / SEC)
    assert len(looked[0]) == window - 8_000


def test_stuck_and_silent():
    assert kinds(np.ones(2 * SEC)) == ["rail"]
    assert kinds(np.sign(np.sin(np.arange(2 * SEC)))) == ["rail"]
    assert kinds(np.sin(np.arange(2 * SEC))) == []
    assert kinds(np.zeros(4 * SEC)) == []
    (degeneracy,) = find_degeneracies(np.full(10 * SEC, 128, np.uint8), TINY)
    assert (degeneracy.kind, degeneracy.start_sec, degeneracy.end_sec) == ("silence", 0.0, 10.0)


@pytest.mark.parametrize("max_retries", [0, 1])
def test_a_corrupted_carry_is_seen_and_a_redraw_heals_it(monkeypatch, max_retries):
    """The shipped model, whose state once turns to NaN: from there on it sticks at full scale,
    unless the stream goes on from the last healthy carry. (Finite states of any size heal
    themselves: its cells are bounded.)"""
    config, params = load_params(DEFAULT_CHECKPOINT)
    sampler = Sampler(config, params, batch_size=1)
    features = np.tile(np.float16(0.2), (64, config.model.feature_dim))
    block, calls = sampler.block, 0

    def corrupted(stream, *rest):
        nonlocal calls
        calls += 1
        if calls == 20:
            state = stream.carry.big_frame
            stream = stream._replace(carry=stream.carry._replace(big_frame=state * np.nan))
        return block(stream, *rest)

    monkeypatch.setattr(sampler, "block", corrupted)
    start = first_carry(sampler, clip_key(0, b"drums"))
    blocks = list(stream(sampler, features, start, max_retries=max_retries))
    degeneracies = [b.degeneracy for b in blocks if b.degeneracy]
    if max_retries:
        (degeneracy,) = degeneracies
        assert (degeneracy.kind, degeneracy.retried, degeneracy.start_sec) == ("rail", True, 1.024)
        assert np.ptp(np.concatenate([b.levels for b in blocks[32:]])) > 1
    else:
        assert [degeneracy.kind for degeneracy in degeneracies] == ["rail"] * 3


def test_silence_that_was_drawn_again_is_over(monkeypatch):
    """A model that stays silent: each redraw begins the five windows anew."""
    sampler = Sampler(TINY, random_params(TINY), batch_size=1)
    block = sampler.block

    def silent(*arguments):
        going_on, levels = block(*arguments)
        return going_on, np.full_like(levels, 128)

    monkeypatch.setattr(sampler, "block", silent)
    features = np.zeros((11 * guarding.WINDOW_VIDEO_FRAMES, TINY.model.feature_dim), np.float16)
    blocks = stream(sampler, features, first_carry(sampler, clip_key(0, b"")), max_retries=1)
    told = [
        (b.degeneracy.retried, b.degeneracy.start_sec, b.degeneracy.end_sec)
        for b in blocks
        if b.degeneracy
    ]
    assert told == [(True, 0.0, 5.12), (False, 5.12, 10.24), (False, 5.12, 11.264)]
