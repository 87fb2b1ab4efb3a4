"""The entropy floor of synthetic clips: below every cost that can be reached, and near it."""

import functools

import numpy as np
import pytest
from scipy.special import entr, ndtr

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.floor import floor_bits, level_edges
from v2s_jax.datasets.synthetic.generator import CATEGORIES, SyntheticClip, make_clip
from v2s_jax.datasets.synthetic.sound import BACKGROUND_SIGMA, Track
from v2s_jax.quantize import quantize

pytestmark = pytest.mark.slow  # the golden hashes are the fast guard

SAMPLES = 400
DRAWS = 4_000


@pytest.mark.parametrize("quantization", ["linear", "mu_law"])
@pytest.mark.parametrize("q_levels", [256, 16])
def test_edges_are_where_the_level_changes(quantization, q_levels):
    edges = level_edges(q_levels, quantization)
    assert (np.diff(edges) > 0).all()
    step = 1 / 32_768
    below, above = (
        quantize(np.round((edges + side * step / 4) / step) * step, q_levels, quantization)
        for side in (-1, 1)
    )
    np.testing.assert_array_equal(above.astype(int) - below.astype(int), 1)


def test_floor_equals_a_numerical_estimate():
    """Independent samples: known part plus noise of two known variances, drawn and counted."""
    random = np.random.default_rng(0)
    track = Track(SAMPLES)
    track.known[:] = random.uniform(-0.3, 0.3, SAMPLES)
    track.fresh_variance[:] = np.where(np.arange(SAMPLES) % 2, 0.0, 0.02**2)
    sigma = np.sqrt(track.fresh_variance + BACKGROUND_SIGMA**2)
    drawn = track.known + sigma * random.normal(size=(DRAWS, SAMPLES))
    levels = quantize(np.round(drawn * 32_768) / 32_768, 256, "linear")
    assert floor_bits(track) == pytest.approx(counted_bits(levels.T), rel=0.01)


def counted_bits(levels):
    """Entropy of each row's levels [samples draws] by their counts, all rows together."""
    rows = len(levels)
    counts = np.bincount(
        (levels.astype(int) + 256 * np.arange(rows)[:, None]).ravel(), minlength=256 * rows
    )
    share = counts / levels.shape[1]
    # Plug-in entropy is too small by about (levels - 1) / (2 draws) nats (Miller 1955).
    too_small = ((counts > 0).sum() - rows) / (2 * levels.shape[1])
    return (entr(share).sum() + too_small) / np.log(2)


def test_without_noise_beside_an_edge_a_sample_costs_its_coin():
    """A known value half a sigma from an edge: the entropy of that coin."""
    track = Track(1)
    edge = level_edges(256, "linear")[140]
    track.known[:] = edge - BACKGROUND_SIGMA / 2
    share = ndtr(0.5)
    coin = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    assert floor_bits(track) == pytest.approx(coin, rel=1e-3)


@functools.cache
def clip_of(category: str, index: int) -> SyntheticClip:
    return make_clip(category, "train", index, 0, Clock(), 12)


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_floor_of_a_clip_is_what_its_levels_cost_who_knows_all(category):
    """The levels' own surprise, to one who is told each sample's mean and variance before it.

    Its difference from the floor is a sum of terms of mean 0, whatever went before, so it stays
    within a few of its standard deviations, which follow from the same probabilities.
    """
    paid = floor = variance = 0.0
    for index in range(3):
        clip = clip_of(category, index)
        sigma = np.sqrt(clip.track.fresh_variance + BACKGROUND_SIGMA**2)
        levels = quantize(clip.waveform, 256, "linear").astype(int)
        share = shares(clip.track.known, sigma)
        entropy, spread = moments(share)
        paid -= np.log2(share[np.arange(len(levels)), levels]).sum()
        variance += spread.sum()
        assert floor_bits(clip.track) == pytest.approx(entropy.sum(), abs=1e-6 * len(levels))
        floor += floor_bits(clip.track)
    assert 0 < floor < 3 * 8 * 12 * 1_024
    assert abs(paid - floor) < 4 * np.sqrt(variance)
    assert 4 * np.sqrt(variance) < 0.1 * floor  # so that the line above says something


def moments(share):
    """Mean and variance of each sample's surprise, in bits."""
    bits = -np.log2(np.maximum(share, 1e-300))
    entropy = (share * bits).sum(axis=1)
    return entropy, (share * bits**2).sum(axis=1) - entropy**2


def shares(mean, sigma):
    """Probability of each of the 256 levels, for every sample [samples 256]."""
    edges = np.concatenate([[-np.inf], level_edges(256, "linear"), [np.inf]])
    return np.diff(ndtr((edges - mean[:, None]) / sigma[:, None]), axis=1)


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_floor_of_every_category_equals_a_numerical_estimate(category):
    """Samples of real clips, their fresh parts drawn anew and counted: every 200th by cost."""
    track = max((clip_of(category, index).track for index in range(3)), key=floor_bits)
    sigma = np.sqrt(track.fresh_variance + BACKGROUND_SIGMA**2)
    entropy, variance = moments(shares(track.known, sigma))
    some = np.argsort(-entropy)[::200]
    part = Track.of(*(p[some] for p in (track.known, track.fresh, track.fresh_variance)))
    random = np.random.default_rng(0)
    drawn = part.known[:, None] + sigma[some, None] * random.normal(size=(len(some), DRAWS))
    levels = quantize(np.round(drawn * 32_768) / 32_768, 256, "linear")
    error = np.sqrt(variance[some].sum() / DRAWS)
    assert error < 0.05 * floor_bits(part)
    assert abs(floor_bits(part) - counted_bits(levels)) < 4 * error


@pytest.mark.parametrize("category", CATEGORIES)
def test_what_a_track_calls_fresh_is_new_gaussian_noise_of_its_variance(category):
    """Of mean 0 and variance 1 once scaled, without memory, and apart from what is known."""
    scaled, known = [], []
    for index in range(3):
        track = clip_of(category, index).track
        heard = track.fresh_variance > 0
        assert (track.fresh[~heard] == 0).all()
        scaled.append(track.fresh[heard] / np.sqrt(track.fresh_variance[heard]))
        known.append(track.known[heard])
    new, before = np.concatenate(scaled), np.concatenate(known)
    if category == "drum":
        assert not new.size  # all of its sound follows from what the oracle is told
        return
    assert new.size > 1_000
    four_sigma = 4 / np.sqrt(new.size)
    assert abs(new.mean()) < four_sigma
    assert abs(new.var() - 1) < np.sqrt(2) * four_sigma
    assert abs((new**4).mean() - 3) < np.sqrt(96) * four_sigma
    assert abs((new[1:] * new[:-1]).mean()) < four_sigma
    assert abs(np.corrcoef(new, before)[0, 1]) < four_sigma
