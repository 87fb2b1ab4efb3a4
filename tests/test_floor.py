"""The entropy floor of synthetic clips: below every cost that can be reached, and near it."""

import numpy as np
import pytest
from scipy.special import ndtr

from data.synthetic.floor import floor_bits, level_edges
from data.synthetic.generator import CATEGORIES, make_clip
from data.synthetic.sound import BACKGROUND_SIGMA, Track
from v2s_jax.config import Clock
from v2s_jax.quantize import quantize

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
    levels = quantize(np.round(drawn * 32_768) / 32_768, 256, "linear").astype(int)
    estimate = 0.0
    for column in levels.T:
        share = np.unique(column, return_counts=True)[1] / DRAWS
        # Plug-in entropy is too small by about (levels - 1) / (2 draws) nats (Miller 1955).
        estimate += -(share * np.log2(share)).sum() + (len(share) - 1) / (2 * DRAWS * np.log(2))
    assert floor_bits(track) == pytest.approx(estimate, rel=0.01)


def test_without_noise_beside_an_edge_a_sample_costs_its_coin():
    """A known value half a sigma from an edge: the entropy of that coin."""
    track = Track(1)
    edge = level_edges(256, "linear")[140]
    track.known[:] = edge - BACKGROUND_SIGMA / 2
    share = ndtr(0.5)
    coin = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    assert floor_bits(track) == pytest.approx(coin, rel=1e-3)


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_floor_of_a_clip_is_what_its_levels_cost_who_knows_all(category):
    """Held to the levels' own surprise for the categories whose sound is known nearly everywhere
    (drum, printer); of the others only that it costs something, and less than 8 bits."""
    clip = make_clip(category, "train", 0, 0, Clock(), 32)
    track, edges = clip.track, level_edges(256, "linear")
    levels = quantize(clip.waveform, 256, "linear").astype(int)
    bits = floor_bits(track)
    assert 0 < bits < 8 * len(levels)
    unheard = track.fresh_variance == 0  # there the oracle's mean is what was drawn
    sigma = BACKGROUND_SIGMA
    low = np.concatenate([[-np.inf], edges])[levels]
    high = np.concatenate([edges, [np.inf]])[levels]
    with np.errstate(divide="ignore"):
        surprise = -np.log2(ndtr((high - track.known) / sigma) - ndtr((low - track.known) / sigma))
    if unheard.mean() > 0.9:
        paid = surprise[unheard].sum()
        assert paid == pytest.approx(bits, rel=0.1)
