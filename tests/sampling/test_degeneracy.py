"""Degeneracy: what is runaway noise or dead silence, and what is only loud; retries."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import random_params, with_model
from v2s_jax.checkpoints import load_params
from v2s_jax.config import TINY, Config
from v2s_jax.datasets.synthetic.generator import make_clip
from v2s_jax.kernels.interface import BlockOutputs
from v2s_jax.model import VideoToSound, predict_loudness, window_frames
from v2s_jax.pretrained import PRETRAINED
from v2s_jax.quantize import quantize
from v2s_jax.sampling import (
    GenerationOptions,
    Request,
    Sampler,
    clip_key,
    degeneracy,
    find_degeneracies,
)
from v2s_jax.sampling.multi_device import generate_all
from v2s_jax.sampling.streaming import first_carry, stream

pytestmark = pytest.mark.usefixtures("compilation_cache")

SEC = 16_000


def kinds(waveform, config=TINY) -> list[str]:
    model = config.model
    levels = quantize(waveform, model.q_levels, model.quantization)
    return [found.kind for found in find_degeneracies(levels, config)]


def rain(seconds: int = 6) -> np.ndarray:
    """Dense drops, each a decaying click, over white noise."""
    random = np.random.default_rng(0)
    drops = (random.random(seconds * SEC) < 0.02) * random.normal(size=seconds * SEC)
    drops = np.convolve(drops, np.exp(-np.arange(60) / 12), "same")
    return drops + 0.02 * random.normal(size=seconds * SEC)


@pytest.mark.parametrize("quantization", ["linear", "mu_law"])
@pytest.mark.parametrize("loud", [1.0, pytest.param(2.0, marks=pytest.mark.slow)])
def test_loud_natural_sounds_are_not_degenerate(quantization, loud):
    """At full scale, and 6 dB too loud, so that they clip."""
    config = with_model(TINY, quantization=quantization)
    water = [make_clip("water_flowing", "test", i, 1, TINY.clock, 94).waveform for i in (0, 2, 3)]
    for sound in (rain(), *water):
        assert kinds(np.clip(loud * sound / np.abs(sound).max(), -1, 1), config) == []
    hit = make_clip("drum", "test", 0, 1, TINY.clock, 156).waveform
    assert kinds(hit, config) == []


def test_loud_white_noise_that_hardly_clips_is_not_degenerate():
    noise = np.random.default_rng(0).normal(size=4 * SEC) / 3
    assert kinds(np.clip(noise, -1, 1)) == []


@pytest.mark.parametrize("quantization", ["linear", "mu_law"])
def test_noise_over_all_levels_is_runaway(quantization):
    config = with_model(TINY, quantization=quantization)
    levels = np.random.default_rng(0).integers(0, 256, 3 * SEC).astype(np.uint8)
    (found,) = find_degeneracies(levels, config)
    assert (found.kind, found.start_sec, found.end_sec) == ("noise", 0.0, 3.0)


def test_times_after_a_prefix_count_from_the_clip_start(tiny):
    """The prefix itself is not checked: it is not the model's."""
    sampler = Sampler(tiny, random_params(tiny), batch_size=1)
    noise = np.random.default_rng(0).integers(0, 256, 8_000).astype(np.uint8)
    features = np.zeros((40, tiny.model.feature_dim), np.float32)
    request = Request(clip_key(0, b"prefix"), 40 * 1_024, features, noise)
    checked: list[np.ndarray] = []

    def classify(levels, config):
        checked.append(levels)
        return "noise" if len(checked) == 1 else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(degeneracy, "_classify", classify)
        (result,) = generate_all([sampler], [request], GenerationOptions(max_retries=1))
    (found,) = result.degeneracies
    window = degeneracy.WINDOW_VIDEO_FRAMES * 1_024
    assert (found.start_sec, found.end_sec) == (8_000 / SEC, window / SEC)
    assert len(checked[0]) == window - 8_000


def aligned(**training) -> Config:
    """The tiny `aligned`, which predicts loudness."""
    config = with_model(TINY, variant="aligned")
    settings = dataclasses.replace(config.training, loudness_weight=0.1, **training)
    return dataclasses.replace(config, training=settings)


@pytest.mark.parametrize(("expected_db", "kind"), [(-60.0, ["loud"]), (-20.0, []), (np.inf, [])])
def test_loud_is_what_the_video_does_not_call_for(expected_db, kind):
    """A hum at -12 dB from the second second on; only whole windows of it count."""
    config = aligned()
    time_sec = np.arange(4 * SEC) / SEC
    hum = np.where(time_sec < 1.024, 0.0, 0.35 * np.sin(2 * np.pi * 200 * time_sec))
    levels = quantize(hum, 256, "linear")
    video_frames = config.clock.video_frames(len(levels))
    expected = np.full(video_frames, expected_db, np.float32)
    found = find_degeneracies(levels, config, expected)
    assert [one.kind for one in found] == kind
    if kind:
        assert (found[0].start_sec, found[0].end_sec) == (1.024, 4.0)
        assert "far louder than the video calls for from 1.0 to 4.0 s" in str(found[0])
    assert not find_degeneracies(levels, config)


@pytest.mark.parametrize("engine", ["scan", "cpu"])
def test_expected_loudness_is_what_the_model_predicts(engine, engine_of_auto):
    """Of every video frame, whatever the blocks; of a prefix it is not asked."""
    if engine == "cpu" and engine_of_auto != "cpu":
        pytest.skip("no C++ compiler")
    config = aligned()
    params = random_params(config)
    sampler = Sampler(config, params, batch_size=2, engine=engine)
    random = np.random.default_rng(0)
    clips = [random.random((frames, config.model.feature_dim), np.float32) for frames in (40, 21)]
    prefix = np.full(3 * 1_024 + 512, 128, np.uint8)
    requests = [
        Request(clip_key(0, b"a"), 40 * 1_024, clips[0]),
        Request(clip_key(0, b"b"), 20 * 1_024 + 100, clips[1], prefix),
    ]
    results = generate_all([sampler], requests, GenerationOptions())
    model = VideoToSound(config)
    for features, result, first in zip(clips, results, (0, 3), strict=True):
        count = len(features)
        window = features[window_frames(config.model, 0, count, count)][None]
        vectors = np.asarray(predict_loudness(model, params, jnp.asarray(window)))[0]
        expected = 20 * vectors.reshape(count, -1).mean(axis=1)
        np.testing.assert_allclose(result.expected_db[first:], expected[first:], atol=1e-3)
        assert np.isinf(result.expected_db[:first]).all()


@pytest.mark.parametrize("max_retries", [0, 2])
def test_sound_far_louder_than_expected_is_reported_and_retried(max_retries):
    """Random parameters make noise, and are made to expect silence."""
    config = aligned()
    params = random_params(config)
    params["params"]["loudness"]["bias"] = jnp.full((1,), -50.0)
    sampler = Sampler(config, params, batch_size=1)
    features = np.zeros((48, config.model.feature_dim), np.float32)
    request = Request(clip_key(0, b"a"), 48 * 1_024, features)
    (result,) = generate_all([sampler], [request], GenerationOptions(max_retries=max_retries))
    found = result.degeneracies or find_degeneracies(result.levels, config, result.expected_db)
    assert {one.kind for one in found} <= {"loud", "noise"} and found
    assert sum(one.retried for one in found) <= max_retries
    blocks = stream(
        sampler, features, first_carry(sampler, clip_key(0, b"a")), max_retries=max_retries
    )
    streamed = [block.degeneracy for block in blocks if block.degeneracy]
    assert streamed and {one.kind for one in streamed} <= {"loud", "noise"}


def test_stuck_and_silent():
    assert kinds(np.ones(2 * SEC)) == ["rail"]
    assert kinds(np.sign(np.sin(np.arange(2 * SEC)))) == ["rail"]
    assert kinds(np.sin(np.arange(2 * SEC))) == []
    assert kinds(np.zeros(4 * SEC)) == []
    (found,) = find_degeneracies(np.full(10 * SEC, 128, np.uint8), TINY)
    assert (found.kind, found.start_sec, found.end_sec) == ("silence", 0.0, 10.0)


@pytest.mark.slow
@pytest.mark.parametrize("max_retries", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_retry_recovers_from_a_corrupt_carry(monkeypatch, max_retries):
    """The state turns to NaN once: from there on the output sticks at full scale, unless the stream
    continues from the carry after the last good window. (Finite states recover by themselves: the
    cells are bounded.)"""
    config, params = load_params(PRETRAINED["frame"])
    sampler = Sampler(config, params, batch_size=1)
    features = np.tile(np.float16(0.2), (64, config.model.feature_dim))
    generate_block, calls = sampler.generate_block, 0

    def corrupt(state, *args):
        nonlocal calls
        calls += 1
        if calls == 20:
            big_frame = state.carry.big_frame * np.nan
            state = state._replace(carry=state.carry._replace(big_frame=big_frame))
        return generate_block(state, *args)

    monkeypatch.setattr(sampler, "generate_block", corrupt)
    start = first_carry(sampler, clip_key(0, b"drums"))
    blocks = list(stream(sampler, features, start, max_retries=max_retries))
    degeneracies = [b.degeneracy for b in blocks if b.degeneracy]
    if max_retries:
        (found,) = degeneracies
        assert (found.kind, found.retried, found.start_sec) == ("rail", True, 1.024)
        assert np.ptp(np.concatenate([b.levels for b in blocks[32:]])) > 1
    else:
        assert [found.kind for found in degeneracies] == ["rail"] * 3


@pytest.mark.slow
def test_a_retry_of_seq_goes_on_under_the_video_of_its_window(monkeypatch):
    """Its first second is degenerate: the retry starts from the encoded video, not from zero."""
    config = with_model(TINY, variant="seq")
    sampler = Sampler(config, random_params(config), batch_size=1)
    features = np.random.default_rng(0).random((17, config.model.feature_dim)).astype(np.float16)
    states, generate_block = [], sampler.generate_block

    def record(state, *args):
        states.append(np.asarray(state.carry.big_frame))
        return generate_block(state, *args)

    found = degeneracy.Degeneracy("rail", 0.0, 1.024)
    monkeypatch.setattr(sampler, "generate_block", record)
    monkeypatch.setattr(degeneracy.DegeneracyDetector, "update", lambda *_: found)
    list(stream(sampler, features, first_carry(sampler, clip_key(0, b"")), max_retries=1))
    np.testing.assert_array_equal(states[16], states[0])
    assert np.abs(states[0]).max() > 0


def test_a_retry_resets_the_count_of_silent_windows(monkeypatch):
    sampler = Sampler(TINY, random_params(TINY), batch_size=1)

    def generate_silence(state, *args):
        return state, BlockOutputs(np.full((1024, 1), 128, np.uint8))

    monkeypatch.setattr(sampler, "generate_block", generate_silence)
    features = np.zeros((11 * degeneracy.WINDOW_VIDEO_FRAMES, TINY.model.feature_dim), np.float16)
    blocks = stream(sampler, features, first_carry(sampler, clip_key(0, b"")), max_retries=1)
    degeneracies = [
        (b.degeneracy.retried, b.degeneracy.start_sec, b.degeneracy.end_sec)
        for b in blocks
        if b.degeneracy
    ]
    assert degeneracies == [(True, 0.0, 5.12), (False, 5.12, 10.24), (False, 5.12, 11.264)]
