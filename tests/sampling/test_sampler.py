"""The sampler: batch-invariance, pauses, teacher forcing, noise, and bad input."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import random_params, with_model
from tests.requests import LENGTHS, NEAR_TIE, gap_to_border, request_of
from v2s_jax.errors import InputError
from v2s_jax.model import VideoToSound, forward, initial_carry
from v2s_jax.sampling import Request, Sampler, clip_key, generate
from v2s_jax.sampling.rng import inverse_cdf, uniforms
from v2s_jax.sampling.types import BLOCK_VIDEO_FRAMES

pytestmark = pytest.mark.usefixtures("compilation_cache")

BATCH_SIZE = 3


@pytest.fixture(scope="module")
def sampler(tiny):
    return Sampler(tiny, random_params(tiny), batch_size=BATCH_SIZE)


@pytest.fixture(scope="module")
def alone(sampler):
    """Each clip's levels when it is generated alone."""
    return {n: generate(sampler, [request_of(n, size)])[0] for n, size in LENGTHS.items()}


def test_lengths_are_exact(alone):
    assert {n: len(levels) for n, levels in alone.items()} == LENGTHS


def test_generated_equals_scored(tiny, sampler):
    """Teacher forcing with the same noise chooses the same levels, through every layer.

    Stepwise and teacher-forced logits round differently, so a uniform number at the border between
    two levels may choose the other one: rarely, and then the adjacent one.
    """
    samples = 12 * 1024  # more than a block of video frames
    request = request_of(7, samples)
    levels = jnp.asarray(generate(sampler, [request])[0].astype(np.int32))[None]
    params = random_params(tiny)
    model = VideoToSound(tiny, precision="highest")
    appearance = jnp.asarray(np.stack(request.features))[None]
    _, logits = forward(model, params, initial_carry(model, params, 1), levels, appearance)
    keys = jnp.asarray(request.key)[None]
    noise = jnp.concatenate([uniforms(keys, jnp.int32(i), 1024)[0] for i in range(12)])
    expected = np.asarray(inverse_cdf(logits[0], noise))
    differing = expected != np.asarray(levels[0])
    assert differing.mean() < 1e-3
    assert np.abs(expected - np.asarray(levels[0])).max() <= 1


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6], [6, 2, 5, 0], [4, 4], [3, 1]])
def test_levels_do_not_depend_on_order_and_other_clips(sampler, alone, order):
    together = generate(sampler, [request_of(n, LENGTHS[n]) for n in order])
    for n, levels in zip(order, together, strict=True):
        np.testing.assert_array_equal(levels, alone[n])


@pytest.fixture(scope="module")
def flow_sampler(tiny):
    config = with_model(tiny, variant="flow")
    return Sampler(config, random_params(config), batch_size=BATCH_SIZE)


@pytest.mark.parametrize("variant", ["frame", "flow"])
@pytest.mark.parametrize("pauses", [[1] * 7 + [64, 3, 190], [100, 157, 8], [255, 1, 9]], ids=str)
def test_pausing_at_any_big_frame_changes_nothing(sampler, flow_sampler, variant, pauses):
    """64 big frames of 16 samples per video frame: pauses are inside video frames and between."""
    sampler = sampler if variant == "frame" else flow_sampler
    request = request_of(5, 16 * sum(pauses), config=sampler.config)
    expected = generate(sampler, [request])[0]

    width = sampler.config.model.feature_dim
    features = np.zeros((BATCH_SIZE, 12 + BLOCK_VIDEO_FRAMES, width), np.float32)
    features[0, : len(request.features)] = request.features
    keys = np.zeros((BATCH_SIZE, 2), np.uint32)
    keys[0] = request.key
    state = sampler.init_state(keys)
    if variant == "flow":
        for first in range(0, len(request.features), BLOCK_VIDEO_FRAMES):
            state = sampler.encode(state, {0: request.features[first : first + BLOCK_VIDEO_FRAMES]})
        features = features[..., :0]
    parts = []
    for ticks in pauses:
        first = int(state.tick) // 64
        block = features[:, first : first + BLOCK_VIDEO_FRAMES]
        state, outputs = sampler.generate_block(state, block, 1.0, ticks)
        parts.append(outputs.levels[:, 0])
    np.testing.assert_array_equal(np.concatenate(parts), expected)


@pytest.mark.slow
@pytest.mark.parametrize("batch_sizes", [(1, 4), (2, 7)], ids=str)
def test_batch_sizes_differ_only_after_a_near_tie(tiny, batch_sizes):
    """Other batch sizes round differently: the first level that differs has a uniform number at
    the border between two levels."""
    params = random_params(tiny)
    request = request_of(5, 20_000)
    first, second = (
        generate(Sampler(tiny, params, batch_size=batch_size, precision="highest"), [request])[0]
        for batch_size in batch_sizes
    )
    differing = np.flatnonzero(first != second)
    agreed = int(differing[0]) if differing.size else len(first)
    gap = gap_to_border(tiny, params, request, first)[: agreed + 1]
    if differing.size:
        assert gap[agreed] < NEAR_TIE
    assert agreed > 1000


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((2, 4096), np.float16), "clip 1: features of 2 video frames, .* span 3"),
        (np.zeros((4, 4096), np.float16), "clip 1: features of 4 video frames, .* span 3"),
        (np.zeros((3, 7), np.float16), r"clip 1: features of shape \(3, 7\), the model reads 4096"),
        (np.full((3, 4096), np.nan, np.float16), "clip 1: NaN .* 3 of 3 .* number 0"),
        (iter(np.zeros((2, 4096), np.float16)), "clip 1: features of 2 video frames"),
    ],
    ids=["few", "many", "width", "nan", "short stream"],
)
def test_bad_features(sampler, features, message):
    bad = Request(clip_key(0, b"clip"), 3000, features)
    with pytest.raises(InputError, match=message):
        generate(sampler, [request_of(0, LENGTHS[0]), bad])


def test_levels_are_causal(sampler):
    """A longer clip begins like the shorter one: later features have no influence."""
    long = request_of(1, LENGTHS[1])
    short = Request(long.key, 5000, long.features[:5])
    np.testing.assert_array_equal(
        generate(sampler, [short])[0], generate(sampler, [long])[0][:5000]
    )


def test_seed_content_and_temperature_matter(sampler, alone):
    def differing(levels):
        return np.mean(levels != alone[2])

    assert differing(generate(sampler, [request_of(2, LENGTHS[2], seed=1)])[0]) > 0.5
    assert differing(generate(sampler, [request_of(2, LENGTHS[2])], temperature=0.5)[0]) > 0.2
    same_video_other_file = dataclasses.replace(
        request_of(2, LENGTHS[2]), key=clip_key(0, b"other")
    )
    assert differing(generate(sampler, [same_video_other_file])[0]) > 0.5


def test_low_temperature_draws_fewer_levels(sampler):
    spread = [
        np.unique(generate(sampler, [request_of(5, 20_000)], temperature=t)[0]).size
        for t in (0.05, 1.0)
    ]
    assert spread[0] < spread[1]


def test_progress_counts_the_samples_of_the_clips(sampler):
    blocks: list[int] = []
    generate(sampler, [request_of(n, LENGTHS[n]) for n in (0, 1)], on_samples=blocks.append)
    assert sum(blocks) == LENGTHS[0] + LENGTHS[1]


def test_features_are_read_block_by_block(sampler):
    read = 0

    def stream():
        nonlocal read
        for vector in request_of(5, 20_000).features:
            read += 1
            yield vector

    read_at_block: list[int] = []
    generate(
        sampler,
        [Request(clip_key(0, b"long"), 20_000, stream())],
        on_samples=lambda _: read_at_block.append(read),
    )
    assert read_at_block == [8, 16, 20]


def test_noise_is_a_function_of_key_and_position():
    keys = jnp.array([[0, 1], [0, 2], [0, 1]], jnp.uint32)
    first = np.asarray(uniforms(keys, jnp.int32(5), 1024))
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(first[1:2], uniforms(keys[1:2], jnp.int32(5), 1024))
    assert abs(np.corrcoef(first[0], first[1])[0, 1]) < 0.1
    assert abs(np.corrcoef(first[0], np.asarray(uniforms(keys, jnp.int32(6), 1024))[0])[0, 1]) < 0.1


def test_inverse_cdf_draws_with_the_given_probabilities():
    """Chi-square of 40,000 draws against a known distribution; one level is impossible."""
    probabilities = np.array([0.5, 0.0, 0.2, 0.05, 0.25])
    logits = np.log(probabilities + 1e-30).astype(np.float32)
    draws = 40_000
    uniform = np.random.default_rng(0).random(draws, np.float32)
    levels = np.asarray(inverse_cdf(jnp.tile(logits, (draws, 1)), jnp.asarray(uniform)))
    counts = np.bincount(levels, minlength=5)
    assert counts[1] == 0
    expected = draws * probabilities[[0, 2, 3, 4]]
    chi_square = np.sum((counts[[0, 2, 3, 4]] - expected) ** 2 / expected)
    assert chi_square < 16.3  # 0.1 % point with 3 degrees of freedom


jitted_inverse_cdf = jax.jit(inverse_cdf)


@given(
    st.lists(st.floats(-30, 30, width=32), min_size=256, max_size=256), st.floats(0, 1, width=32)
)
def test_inverse_cdf_is_always_a_level(logits, uniform):
    level = jitted_inverse_cdf(np.array([logits], np.float32), np.array([uniform], np.float32))
    assert 0 <= int(level[0]) < 256


@pytest.mark.parametrize("temperature", [0.0, 1e-38, -1.0, float("nan"), float("inf")])
def test_bad_temperature(sampler, temperature):
    with pytest.raises(InputError, match="temperature"):
        generate(sampler, [request_of(0, 10)], temperature)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_bad_seed(seed):
    with pytest.raises(InputError, match="seed"):
        clip_key(seed, b"abcd")


def test_bad_batch_size(tiny):
    with pytest.raises(InputError, match="batch size 0"):
        Sampler(tiny, {}, batch_size=0)
