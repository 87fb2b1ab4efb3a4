"""Continuous batching, several devices, likelihood, prefixes and retries."""

import dataclasses
import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import random_params, with_model
from tests.requests import request_of
from v2s_jax.errors import InputError
from v2s_jax.model import VideoToSound, forward, initial_carry
from v2s_jax.model.loss import BITS_PER_NAT, masked_nll
from v2s_jax.sampling import (
    GenerationOptions,
    Sampler,
    degeneracy,
    generate,
    generate_stream,
    replicate_sampler,
)
from v2s_jax.sampling.multi_device import generate_all

pytestmark = pytest.mark.usefixtures("compilation_cache")

BATCH_SIZE = 3
LENGTHS = [3000, 12_345, 2048, 1, 5000, 1024, 7000, 16]


@pytest.fixture(
    scope="module", params=["frame", "aligned", pytest.param("flow", marks=pytest.mark.slow)]
)
def sampler(request, tiny):
    config = with_model(tiny, variant=request.param)
    return Sampler(config, random_params(config), batch_size=BATCH_SIZE)


@pytest.fixture(scope="module")
def requests(sampler):
    return [request_of(i, samples, config=sampler.config) for i, samples in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def alone(sampler, requests):
    """Each clip's levels when it is generated alone."""
    return [generate(sampler, [request])[0] for request in requests]


def test_refilled_slots_generate_the_same_levels(sampler, requests, alone):
    blocks: list[int] = []
    options = GenerationOptions(with_nll=False)
    results = dict(generate_stream([sampler], requests, options, blocks.append))
    assert sum(blocks) == sum(LENGTHS)
    for index, levels in enumerate(alone):
        np.testing.assert_array_equal(results[index].levels, levels)


def test_clips_of_different_lengths_leave_no_slot_idle(sampler, monkeypatch):
    """Batches of whole clips would take as long as the longest clip of each."""
    lengths = [40 * 1024, *[4 * 1024] * 20]
    requests = [request_of(i, size, config=sampler.config) for i, size in enumerate(lengths)]
    samples = 0
    generate_block = sampler.generate_block

    def count_samples(state, features, temperature, ticks, *, keep):
        nonlocal samples
        samples += ticks * sampler.config.model.big_frame_size
        return generate_block(state, features, temperature, ticks, keep=keep)

    monkeypatch.setattr(sampler, "generate_block", count_samples)
    generate(sampler, requests)
    assert samples == max(lengths[0], sum(lengths) / BATCH_SIZE)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["frame"], indirect=True)
def test_eight_devices_generate_the_same_levels(sampler, requests, alone):
    config = sampler.config
    samplers = replicate_sampler(
        lambda: Sampler(config, random_params(config), batch_size=BATCH_SIZE)
    )
    assert len(samplers) == 8
    for index, result in generate_stream(samplers, requests, GenerationOptions()):
        np.testing.assert_array_equal(result.levels, alone[index])


def test_an_error_on_one_device_ends_all(sampler, requests):
    samplers = replicate_sampler(lambda: sampler, jax.local_devices()[:1]) * 2
    short = dataclasses.replace(requests[1], features=iter(requests[1].features[:9]))
    with pytest.raises(
        InputError, match="features of 9 video frames, but its 12345 samples span 13"
    ):
        generate_all(samplers, [requests[0], short], GenerationOptions())


def test_error_names_the_first_video_frame_with_bad_features(sampler, requests):
    wrong = requests[1].features.copy()
    wrong[11, 2] = np.nan
    with pytest.raises(InputError, match="first in number 11"):
        generate(sampler, [dataclasses.replace(requests[1], features=wrong)])


@pytest.mark.parametrize(("with_nll", "nll"), [(False, None), (True, 0.0)])
def test_a_clip_without_samples(sampler, with_nll, nll):
    request = request_of(0, 0, config=sampler.config)
    (result,) = generate_all([sampler], [request], GenerationOptions(with_nll=with_nll))
    assert (len(result.levels), result.nll, result.degeneracies) == (0, nll, ())


@pytest.fixture(scope="module")
def exact_sampler(tiny):
    """Frame in the highest precision."""
    return Sampler(tiny, random_params(tiny), batch_size=BATCH_SIZE, precision="highest")


@pytest.mark.slow
def test_nll_of_generation_equals_teacher_forcing(tiny, exact_sampler):
    requests = [request_of(i, 1024 * (i + 3)) for i in range(4)]
    results = generate_all([exact_sampler], requests, GenerationOptions(with_nll=True))
    model, params = VideoToSound(tiny, precision="highest"), random_params(tiny)
    for request, result in zip(requests, results, strict=True):
        np.testing.assert_array_equal(result.levels, generate(exact_sampler, [request])[0])
        levels = jnp.asarray(result.levels, jnp.int32)[None]
        carry = initial_carry(model, params, 1)
        _, logits = forward(model, params, carry, levels, jnp.asarray(request.features)[None])
        nll = float(masked_nll(logits, levels, jnp.ones(levels.shape, bool))[0])
        assert abs(result.nll - nll) * BITS_PER_NAT / request.samples < 1e-4


@pytest.fixture(scope="module")
def exact_other_sampler(tiny):
    """Samplers of the other variants, made when a test asks for one."""
    return functools.cache(partial(_make_exact_sampler, tiny))


def _make_exact_sampler(tiny, variant):
    config = with_model(tiny, variant=variant)
    return Sampler(config, random_params(config), batch_size=BATCH_SIZE, precision="highest")


@pytest.mark.parametrize(
    "variant", ["frame", *(pytest.param(v, marks=pytest.mark.slow) for v in ("aligned", "seq"))]
)
@pytest.mark.parametrize("prefix_samples", [1024, 1600, 2064])
def test_continuing_after_a_prefix_equals_having_generated_it(
    exact_sampler, exact_other_sampler, variant, prefix_samples
):
    """Prefill restores every tier's carry: if one were missing the next samples would differ."""
    sampler = exact_sampler if variant == "frame" else exact_other_sampler(variant)
    config = sampler.config
    clip = request_of(3, 4000, config=config)
    expected = generate(sampler, [clip])[0]
    continued = dataclasses.replace(clip, prefix=expected[:prefix_samples])
    other = request_of(4, 2500, config=config)
    np.testing.assert_array_equal(generate(sampler, [other, continued])[1], expected)
    changed = dataclasses.replace(clip, prefix=expected[:prefix_samples][::-1].copy())
    is_different = generate(sampler, [changed])[0][prefix_samples:] != expected[prefix_samples:]
    assert is_different[:100].any()


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        (
            np.zeros(17, np.uint8),
            "17 samples is not a multiple of the big frame size 16: cut it to 16",
        ),
        (np.zeros(3008, np.uint8), "leaves nothing of the clip's 3000"),
    ],
    ids=["part of a big frame", "too long"],
)
def test_bad_prefixes(sampler, requests, prefix, message):
    with pytest.raises(InputError, match=message):
        generate(sampler, [dataclasses.replace(requests[0], prefix=prefix)])


@pytest.mark.slow
def test_a_degenerate_window_is_generated_again(tiny, monkeypatch):
    """The detector rejects one window once: what is before it stays, what follows comes from the
    next seed and the carry after the last good window. The other clips stay."""
    sampler = Sampler(tiny, random_params(tiny), batch_size=BATCH_SIZE)
    requests = [request_of(i, 40 * 1024 + 100 * i) for i in range(4)]
    untouched = generate_all([sampler], requests, GenerationOptions())
    window = degeneracy.WINDOW_VIDEO_FRAMES * 1024
    rejected = untouched[1].levels[window : 2 * window].tobytes()
    monkeypatch.setattr(
        degeneracy, "_classify", lambda levels, _: "noise" if levels.tobytes() == rejected else None
    )
    results = generate_all([sampler], requests, GenerationOptions(max_retries=1))
    for index in (0, 2, 3):
        np.testing.assert_array_equal(results[index].levels, untouched[index].levels)
    np.testing.assert_array_equal(results[1].levels[:window], untouched[1].levels[:window])
    assert np.mean(results[1].levels[window:] != untouched[1].levels[window:]) > 0.5
    (found,) = results[1].degeneracies
    assert (found.kind, found.retried) == ("noise", True)
    assert (found.start_sec, found.end_sec) == (window / 16_000, 2 * window / 16_000)
    alone = generate_all([sampler], [requests[1]], GenerationOptions(max_retries=1))[0]
    np.testing.assert_array_equal(alone.levels, results[1].levels)
