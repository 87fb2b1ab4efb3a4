"""Likelihood: exact for any chunks and batches, and equal to the size of compressed audio."""

from collections.abc import Callable

import constriction
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

from tests.conftest import random_params, read_along, with_model
from tests.stepwise import run_tiers
from v2s_jax.checkpoints import load_params
from v2s_jax.config import Config
from v2s_jax.datasets.synthetic.generator import make_clip
from v2s_jax.errors import InputError
from v2s_jax.evaluation.scorer import Score, Scorer, ScorerInput
from v2s_jax.features.pixels import PixelsExtractor
from v2s_jax.model import VideoToSound, encode, forward, initial_carry, visual_gates
from v2s_jax.pretrained import PRETRAINED
from v2s_jax.quantize import quantize
from v2s_jax.sampling import Sampler

VARIANTS = [
    pytest.param({"variant": "frame"}, marks=pytest.mark.slow),
    pytest.param({"variant": "flow", "cell": "lstm"}, marks=pytest.mark.slow),
    pytest.param({"variant": "unconditional"}, marks=pytest.mark.slow),
    {"variant": "aligned"},
]
LENGTHS = [5 * 1024, 3000, 16, 4 * 1024 + 1]


def inputs_of(config: Config) -> list[ScorerInput]:
    """Clips of several lengths, the last video frame of some covered in part."""
    random = np.random.default_rng(0)
    return [
        ScorerInput(
            random.integers(100, 156, samples).astype(np.uint8),
            random.random((-(-samples // 1024), config.model.feature_dim)).astype(np.float16),
        )
        for samples in LENGTHS
    ]


def bits_in_one_pass(config: Config, params, sound: ScorerInput) -> float:
    """The same from one forward pass over the whole clip, padded at its end."""
    model = VideoToSound(config, "highest")
    features = jnp.asarray(sound.features, jnp.float32)[None]
    samples = len(sound.levels)
    levels = np.zeros((1, features.shape[1] * 1024), np.int32)
    levels[0, :samples] = sound.levels
    carry = initial_carry(model, params, 1)
    carry = encode(model, params, carry, features, jnp.ones(features.shape[:2], bool))
    _, logits = forward(model, params, carry, jnp.asarray(levels), read_along(config, features))
    probabilities = jax.nn.softmax(np.asarray(logits, np.float64)[0, :samples], axis=-1)
    return float(-np.log2(probabilities[np.arange(samples), sound.levels]).sum())


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda c: c["variant"])
def test_chunks_batch_and_order_change_no_score(tiny, changes):
    config = with_model(tiny, **changes)
    params = random_params(config)
    sounds = inputs_of(config)
    scorer = Scorer(config, params, batch_size=3)
    scored: list[int] = []
    scores = scorer.score_all(sounds, scored.append)
    assert sum(scored) == sum(LENGTHS)
    assert [score.samples for score in scores] == LENGTHS
    backwards = scorer.score_all(sounds[::-1])[::-1]
    for sound, score, other in zip(sounds, scores, backwards, strict=True):
        whole = bits_in_one_pass(config, params, sound) / score.samples
        assert score.bits_per_sample == pytest.approx(whole, abs=1e-5)
        assert other.bits_per_sample == pytest.approx(whole, abs=1e-5)
        assert scorer.score(sound).bits_per_sample == pytest.approx(whole, abs=1e-5)


def test_a_score_is_bits_over_samples():
    assert Score(bits=24.0, samples=16).bits_per_sample == 1.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": np.zeros(15, np.uint8)}, "15 samples are fewer than one big frame of 16"),
        ({"features": np.zeros((3, 7), np.float16)}, r"shape \(3, 7\), the model reads 4096"),
        ({"features": np.zeros((2, 4096), np.float16)}, "of 2 video frames, .* last 3"),
        ({"features": np.full((3, 4096), np.nan, np.float16)}, "NaN .* 3 of 3 .* number 0"),
    ],
    ids=["short", "width", "count", "nan"],
)
def test_bad_clips_are_refused(tiny, change, message):
    good = {"levels": np.zeros(3000, np.uint8), "features": np.zeros((3, 4096), np.float16)}
    with pytest.raises(InputError, match=f"clip 7: .*{message}"):
        Scorer(tiny, random_params(tiny)).score(ScorerInput(**{**good, **change}, name="clip 7"))


def test_unknown_levels_are_refused(tiny):
    config = with_model(tiny, q_levels=64)
    sound = ScorerInput(np.full(1024, 64, np.uint8), np.zeros((1, 4096), np.float16))
    with pytest.raises(InputError, match="level 64, the model has 0 to 63"):
        Scorer(config, random_params(config)).score(sound)


class Coder:
    """Drive an arithmetic coder with the generator's own compiled step.

    One program runs both ways: at each sample it hands its probabilities to the host, which
    answers with the true level (and encodes it) or with the one that it decoded.
    """

    def __init__(self, config: Config, params) -> None:
        sampler = Sampler(config, params, batch_size=1)
        model, folded = sampler.model, sampler.folded
        self._begin = lambda: initial_carry(model, folded.params, 1)
        self._per_frame = config.clock.samples_per_video_frame

        def select_fn(logits: jax.Array, given: jax.Array) -> tuple[jax.Array, jax.Array]:
            level = io_callback(
                lambda *asked: self._answer(*asked),  # looked up when asked, not when traced
                jax.ShapeDtypeStruct((), jnp.int32),
                logits[0],
                given[0],
                ordered=True,
            )[None]
            return level, level

        @jax.jit
        def video_frame(carry, features, given):
            gates = visual_gates(model, folded.params, features[None, None])
            return run_tiers(model, folded, carry, gates[:, 0], given[None], select_fn)

        self._video_frame = video_frame
        self._answer: Callable[..., np.int32]

    def _run(self, features: np.ndarray, given: np.ndarray) -> np.ndarray:
        carry, parts = self._begin(), []
        for i, vector in enumerate(features):
            part = given[i * self._per_frame : (i + 1) * self._per_frame].astype(np.int32)
            carry, levels = self._video_frame(carry, vector, part)
            parts.append(np.asarray(levels)[0])
        return np.concatenate(parts)

    @staticmethod
    def _frequencies(logits: np.ndarray) -> constriction.stream.model.Categorical:
        """Integer frequencies that sum to 2 ** 24, none of them 0: the library's own precision."""
        wide = np.asarray(logits, np.float64)
        weights = np.exp(wide - wide.max())
        return constriction.stream.model.Categorical(weights / weights.sum(), perfect=False)

    def encode(self, features: np.ndarray, levels: np.ndarray) -> np.ndarray:
        encoder = constriction.stream.queue.RangeEncoder()

        def answer(logits, given):
            encoder.encode(int(given), self._frequencies(logits))
            return np.int32(given)

        self._answer = answer
        self._run(features, levels)
        return encoder.get_compressed()

    def decode(self, features: np.ndarray, compressed: np.ndarray) -> np.ndarray:
        decoder = constriction.stream.queue.RangeDecoder(compressed)

        def answer(logits, given):
            return np.int32(decoder.decode(self._frequencies(logits)))

        self._answer = answer
        return self._run(features, np.zeros(len(features) * self._per_frame, np.int32))


def drum_sound(config: Config, video_frames: int) -> ScorerInput:
    """The beginning of a drum clip as it lies in no data set's training split."""
    clip = make_clip("drum", "test", 4, 0, config.clock, video_frames)
    levels = quantize(clip.waveform, config.model.q_levels, config.model.quantization)
    return ScorerInput(levels, PixelsExtractor().extract(clip.frames).appearance)


@pytest.mark.slow
def test_an_arithmetic_coder_needs_the_scored_bits():
    """The shipped model on a drum clip: encoded, decoded back exactly, as long as scored."""
    config, params = load_params(PRETRAINED["frame"])
    sound = drum_sound(config, video_frames=12)
    coder = Coder(config, params)
    compressed = coder.encode(sound.features, sound.levels)
    decoded = coder.decode(sound.features, compressed)
    np.testing.assert_array_equal(decoded, sound.levels)
    score = Scorer(config, params, batch_size=1).score(sound)
    coded = 8 * compressed.nbytes / score.samples
    print(f"coded {coded:.5f}, scored {score.bits_per_sample:.5f} bits per sample")
    assert coded == pytest.approx(score.bits_per_sample, abs=0.01)
    assert score.bits_per_sample < 1  # it knows drums: far below the 8 bits of a level


def test_another_video_costs_bits():
    """The shipped model: a drum's sound under another drum's video is less likely."""
    config, params = load_params(PRETRAINED["frame"])
    own = drum_sound(config, video_frames=24)
    other = make_clip("drum", "test", 5, 0, config.clock, 24)
    features = PixelsExtractor().extract(other.frames).appearance
    right, wrong = Scorer(config, params).score_all([own, ScorerInput(own.levels, features)])
    assert wrong.bits > right.bits + 3
