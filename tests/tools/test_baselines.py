"""`python -m tools.baselines`: codes that see no video."""

import sys

import numpy as np
import pytest
from scipy import signal, stats

from tools import baselines
from tools.baselines import (
    ESCAPE,
    ORDER,
    Clip,
    LinearCode,
    fit_linear_code,
    linear_costs,
    read_clips,
    score,
    unigram_costs,
)
from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.floor import DEFAULT_ALPHABET, floor_bits, level_edges
from v2s_jax.datasets.synthetic.generate_dataset import generate_dataset
from v2s_jax.datasets.synthetic.generator import CATEGORIES, make_clip
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.datasets.synthetic.spec import DatasetSpec
from v2s_jax.quantize import dequantize, quantize

SCALE = 0.05
"""Of the known process's fresh part: 6.4 steps, so that rounding hides little of it."""
STEP = 2 / 256
VIDEO_FRAMES = 8


def autoregressive(samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a Laplacian process of order 16 with known weights: eight damped resonances."""
    angles = np.linspace(0.2, 2.9, ORDER // 2)
    roots = np.concatenate([0.55 * np.exp(1j * angles), 0.55 * np.exp(-1j * angles)])
    filter_ = np.poly(roots).real
    fresh = np.random.default_rng(seed).laplace(scale=SCALE, size=samples)
    return signal.lfilter([1.0], filter_, fresh), -filter_[1:]


def test_costs_equal_a_slow_reference():
    """One sample after the other."""
    alphabet = DEFAULT_ALPHABET
    random = np.random.default_rng(1)
    levels = random.integers(0, alphabet.q_levels, 60).astype(np.uint8)
    code = LinearCode(random.normal(0, 0.2, ORDER), 0.03)
    sound = dequantize(levels, *alphabet).astype(float)
    edges = [-np.inf, *level_edges(*alphabet), np.inf]
    for t, cost in enumerate(linear_costs(code, levels)):
        known = sum(code.weights[k - 1] * sound[t - k] for k in range(1, ORDER + 1) if t - k >= 0)
        law = stats.laplace(loc=known, scale=code.scale)
        share = law.cdf(edges[levels[t] + 1]) - law.cdf(edges[levels[t]])
        even = 1 / alphabet.q_levels
        assert cost == pytest.approx(-np.log2((1 - ESCAPE) * share + ESCAPE * even), rel=1e-9)


def test_probabilities_of_a_level_sum_to_one():
    alphabet = DEFAULT_ALPHABET
    every = np.arange(alphabet.q_levels, dtype=np.uint8)
    code = LinearCode(np.full(ORDER, 0.05), 0.02)
    last = [
        linear_costs(code, np.append(every[:20], level).astype(np.uint8))[-1] for level in every
    ]
    assert (2.0 ** -np.array(last)).sum() == pytest.approx(1.0)
    assert (2.0 ** -unigram_costs([every[:3]], alphabet.q_levels)).sum() == pytest.approx(1.0)


def test_process_of_order_16_costs_its_entropy_rate():
    """Fitted on one stretch, paid on another; entropy of the fresh part over a step."""
    clips = [quantize(autoregressive(40_000, seed)[0], *DEFAULT_ALPHABET) for seed in range(3)]
    code = fit_linear_code(clips[:2])
    assert code.weights == pytest.approx(autoregressive(1, 0)[1], abs=0.03)
    rate = float(stats.laplace(scale=SCALE).entropy()) / np.log(2) - np.log2(STEP)
    paid = linear_costs(code, clips[2]).mean()
    # Rounding the past to levels adds a twelfth of a step squared at each of 16 places.
    assert rate - 0.02 < paid < rate + 0.03


def test_scale_of_white_noise_is_found():
    draw = np.random.default_rng(0).laplace
    clips = [quantize(np.clip(draw(0, 0.03, 20_000), -1, 1), *DEFAULT_ALPHABET) for _ in range(4)]
    assert fit_linear_code(clips).scale == pytest.approx(0.03, rel=0.03)


def test_histogram_of_many_levels_costs_their_entropy():
    random = np.random.default_rng(0)
    share = random.dirichlet(np.ones(16))
    clips = [random.choice(16, 50_000, p=share).astype(np.uint8) for _ in range(2)]
    paid = unigram_costs(clips[:1], 16)[clips[1]].mean()
    assert paid == pytest.approx(stats.entropy(share, base=2), abs=0.02)


def test_silence_can_be_fitted():
    silent = [np.full(300, 128, np.uint8)] * 2
    assert linear_costs(fit_linear_code(silent), silent[0]).mean() < 0.01
    assert linear_costs(fit_linear_code(silent[:1]), silent[0]).mean() < 0.01


@pytest.fixture(scope="module")
def rows():
    """Every category, from few short clips."""

    def scored(category, split, index):
        clip = make_clip(category, split, index, 0, Clock(), VIDEO_FRAMES)
        return Clip(
            category, split, quantize(clip.waveform, *DEFAULT_ALPHABET), floor_bits(clip.track)
        )

    which = [("train", 0), ("train", 1), ("train", 2), ("test", 0), ("test", 1)]
    return score(scored(category, *clip) for category in CATEGORIES for clip in which)


def test_no_code_costs_less_than_the_floor(rows):
    assert list(rows) == sorted(CATEGORIES)
    for row in rows.values():
        assert 0 < row.floor <= row.linear
        assert row.floor <= row.unigram
        assert row.linear < 8.1 * row.samples  # what escapes costs more than an even share
    # Sound is not white.
    assert sum(row.linear for row in rows.values()) < 0.9 * sum(
        row.unigram for row in rows.values()
    )


@pytest.mark.slow
def test_dataset_scores_like_rendered_clips(tmp_path, rows):
    preset = Preset(
        "mini", train_clips=3, test_clips=2, video_frames=VIDEO_FRAMES, categories=("drum",)
    )
    out = tmp_path / "made"
    made = generate_dataset(out, DatasetSpec(preset, 0), 1)
    assert score(read_clips(str(made))) == {"drum": rows["drum"]}


def test_command_prints_a_line_for_each_category(monkeypatch, capsys):
    words = ["baselines", "--preset", "pair", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", words)
    baselines.main()
    title, _, drum, every = capsys.readouterr().out.splitlines()
    assert title.startswith("synthetic_pair: bits per sample of split test")
    assert drum.split()[0] == "drum" and every.split()[0] == "all"
    floor, linear = float(drum.split()[1]), float(drum.split()[2])
    assert floor <= linear
