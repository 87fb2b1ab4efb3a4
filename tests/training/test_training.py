"""Training: devices, resume, overfitting, and what stops a run."""

import dataclasses
import json
from collections.abc import Generator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.conftest import random_params, with_model
from tests.training_clips import (
    APPEARANCE,
    APPEARANCE_DIM,
    SAMPLES,
    STATISTICS,
    VIDEO_FRAMES,
    Clips,
    compiled_bytes,
    read_losses,
    small,
    training_data,
)
from v2s_jax.checkpoints import load_params
from v2s_jax.config import PAPER, Config
from v2s_jax.errors import InputError
from v2s_jax.model import Carry, VideoToSound, encode, forward, initial_carry
from v2s_jax.model.loss import masked_nll
from v2s_jax.run_folder import CHECKPOINTS
from v2s_jax.training import loop
from v2s_jax.training.loop import train
from v2s_jax.training.metrics import METRICS_FILE, MetricsLog
from v2s_jax.training.parallel import DataParallel
from v2s_jax.training.parallel_shard_map import ShardMapDataParallel
from v2s_jax.training.state import init_state, make_optimizer
from v2s_jax.training.step import (
    DeviceBatch,
    UpdateMetrics,
    chunks_per_clip,
    encoder_bptt_window,
    steps_in_call,
    train_step,
)
from v2s_jax.types import Batch, FeatureStatistics, Statistics


@pytest.fixture
def workdir(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture(params=[DataParallel, ShardMapDataParallel], ids=["pmap", "shard_map"])
def either(request, monkeypatch):
    """Train with pmap, and with its twin."""
    monkeypatch.setattr(loop, "DataParallel", request.param)


@pytest.mark.slow
def test_eight_devices_match_one(tiny, tmp_path, either):
    options = {"log_every_steps": 2, "checkpoint_every_steps": 100, "input_noise_levels": 2.0}
    config = small(tiny, steps=40, **options)
    read, nats = {}, {}
    for count in (1, 8):
        clips = Clips(config)
        folder = tmp_path / str(count)
        folder.mkdir()
        train(config, training_data(clips), folder, jax.devices()[:count])
        read[count], nats[count] = clips.read, read_losses(folder)
    assert len(nats[1]) == 20
    assert read[1] == read[8]
    np.testing.assert_allclose(nats[8], nats[1], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [pytest.param(1, marks=pytest.mark.slow), 8])
def test_resumed_run_equals_uninterrupted_run(tiny, tmp_path, devices, either):
    """Bit for bit: parameters, optimiser and carry, with a checkpoint in the middle of a clip."""
    options = {"steps_per_call": 1, "checkpoint_every_steps": 3, "input_noise_levels": 2.0}
    config = small(tiny, chunk_samples=512, steps=12, **options)
    used = jax.devices()[:devices]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    train(config, training_data(Clips(config)), whole, used)
    with pytest.raises(ConnectionAbortedError):
        train(config, training_data(Clips(config, stop_before=2)), stopped, used)
    assert sorted(p.name for p in (stopped / CHECKPOINTS).iterdir()) == ["3", "6"]
    again = Clips(config)
    train(config, training_data(again), stopped, used)
    assert again.read[0][0] == 1 * config.training.batch_clips  # step 6 is in batch 1
    for a, b in zip(
        jax.tree.leaves(load_params(whole)[1]),
        jax.tree.leaves(load_params(stopped)[1]),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    assert read_losses(whole)[-1] == read_losses(stopped)[-1]


@pytest.mark.slow
def test_resume_on_another_number_of_devices(tiny, tmp_path):
    """Each clip keeps its carry; on one device results differ by rounding."""
    config = small(
        tiny,
        chunk_samples=512,
        steps_per_call=1,
        steps=12,
        checkpoint_every_steps=3,
        log_every_steps=1,
    )
    whole, moved = tmp_path / "whole", tmp_path / "moved"
    whole.mkdir()
    moved.mkdir()
    train(config, training_data(Clips(config)), whole, jax.devices())
    with pytest.raises(ConnectionAbortedError):
        stopping = Clips(config, stop_before=2)
        train(config, training_data(stopping), moved, jax.devices())
    train(config, training_data(Clips(config)), moved, jax.devices()[:1])
    np.testing.assert_allclose(read_losses(moved)[-6:], read_losses(whole)[-6:], rtol=1e-5)


@pytest.mark.slow
def test_overfits_one_batch(tiny, workdir):
    """Appearance identifies the tone of each clip: the loss falls far below the unigram's."""
    config = small(tiny, steps=400, learning_rate=5e-3, log_every_steps=100)
    time = np.arange(SAMPLES)
    tones = [60 * np.sin(2 * np.pi * time / period) for period in (16, 20, 25, 32, 40, 50, 64, 80)]
    levels = np.rint(128 + np.array(tones)).astype(np.uint8)
    appearance = np.eye(8, APPEARANCE_DIM, dtype=np.float16)[:, None].repeat(VIDEO_FRAMES, 1)
    batch = Batch(
        levels, appearance, np.ones(levels.shape, bool), np.arange(8), ("",) * 8, ("",) * 8
    )

    def same_batch(first: int, rows: range) -> Generator[Batch]:
        while True:
            yield batch

    train(config, training_data(same_batch), workdir, jax.devices()[:1])
    counts = np.bincount(levels.ravel(), minlength=256) / levels.size
    unigram = -np.sum(counts[counts > 0] * np.log(counts[counts > 0]))
    assert read_losses(workdir)[-1] < unigram / 2


def test_nan_stops_the_run(tiny, workdir):
    config = small(tiny, steps=8, checkpoint_every_steps=2)
    clips = Clips(config)

    def poisoned(first: int, rows: range) -> Generator[Batch]:
        for number, batch in enumerate(clips(first, rows), first):
            if number == 2:
                batch.features[3, 1] = np.nan
            yield batch

    with pytest.raises(
        InputError, match=r"nan at step 6 \(clips clip-16, clip-17, .*not_finite.*learning-rate"
    ):
        train(config, training_data(poisoned), workdir, jax.devices()[:1])
    assert sorted(p.name for p in (workdir / CHECKPOINTS).iterdir()) == ["2", "4"]


def test_other_config_is_refused(tiny, workdir):
    config = small(tiny, steps=2)
    train(config, training_data(Clips(config)), workdir, jax.devices()[:1])
    other = small(tiny, steps=4, learning_rate=0.5)
    with pytest.raises(InputError, match=r"training.learning_rate: 0.5 != 0.001"):
        train(other, training_data(Clips(other)), workdir, jax.devices()[:1])


def test_batch_must_divide_over_devices(tiny, workdir):
    config = small(tiny, batch_clips=6, steps=2)
    with pytest.raises(InputError, match="batch_clips 6 cannot be split over 8 devices"):
        train(config, training_data(Clips(config)), workdir, jax.devices())


def test_steps_must_be_a_multiple_of_the_call(tiny, workdir):
    config = small(tiny, steps=3)
    with pytest.raises(InputError, match="steps 3 is not a multiple of the 2 updates"):
        train(config, training_data(Clips(config)), workdir, jax.devices()[:1])


def test_steps_in_call_divide_the_clip(tiny):
    config = small(tiny, chunk_samples=512, steps_per_call=8)
    assert steps_in_call(config, 159_744) == 8
    assert steps_in_call(config, 5 * 512) == 5
    assert chunks_per_clip(config, 159_744) == 312
    with pytest.raises(InputError, match="does not divide the data's 1000 samples"):
        chunks_per_clip(config, 1000)


def test_masked_nll_is_the_sum_over_the_mask():
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 5, 7)).astype(np.float32)
    levels = random.integers(0, 7, (2, 5)).astype(np.int32)
    mask = random.random((2, 5)) < 0.6
    nll = masked_nll(jnp.asarray(logits), jnp.asarray(levels), jnp.asarray(mask)).sum()
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    chosen = np.take_along_axis(probabilities, levels[..., None], -1)[..., 0]
    assert float(nll) == pytest.approx(-np.log(chosen[mask]).sum(), rel=1e-6)


def test_learning_rate_decays_to_zero(tiny):
    training = small(tiny, steps=10, decay_steps=4, learning_rate=1.0).training
    optimizer = make_optimizer(training)
    params = {"w": jnp.zeros(2)}
    state = optimizer.init(params)
    moves = []
    for _ in range(11):
        change, state = optimizer.update({"w": jnp.array([1.0, 50.0])}, state, params)
        moves.append(np.asarray(change["w"]))
    # Clipped elementwise to 1, both elements move alike; Adam's step on a constant is the rate.
    np.testing.assert_allclose(moves[0], [-1.0, -1.0], rtol=1e-4)
    # Adam's bias correction rounds in float32 by about 1e-5.
    rates = -np.array(moves)[:, 0]
    np.testing.assert_allclose(rates[:7], 1.0, rtol=1e-4)
    np.testing.assert_allclose(rates[8], 0.5, rtol=1e-4)
    assert rates[10] == pytest.approx(0.0, abs=1e-6)


def one_window(config: Config, batch: Batch, params) -> tuple[float, dict]:
    """Loss and gradient of one back-propagation through all of the batch at once."""
    model = VideoToSound(config, "highest")

    def loss(params):
        carry = initial_carry(model, params, len(batch.levels))
        seen = jnp.asarray(batch.mask[:, ::1024])
        carry = encode(model, params, carry, jnp.asarray(batch.features), seen)
        levels = jnp.asarray(batch.levels, jnp.int32)
        _, logits = forward(model, params, carry, levels, jnp.asarray(batch.features))
        return masked_nll(logits, levels, jnp.asarray(batch.mask)).sum() / batch.mask.sum()

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    return float(value), gradient


def first_update(config: Config, batch: Batch, params) -> tuple[Carry, UpdateMetrics]:
    """Metrics and carry of the first update of a batch."""
    model = VideoToSound(config, "highest")
    state = init_state(model, STATISTICS)._replace(params=params)
    carry = initial_carry(model, params, len(batch.levels))
    arrays = DeviceBatch(*(jnp.asarray(x) for x in (batch.levels, batch.features, batch.mask)))
    step = jax.jit(partial(train_step, model, 1, all_reduce_sum=lambda tree: tree))
    _, carry, metrics = step(state, carry, arrays)
    return carry, metrics


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["seq", pytest.param("flow", marks=pytest.mark.slow)])
def test_window_over_the_clip_equals_full_backpropagation(tiny, variant):
    """Chunks with recomputation have the loss and gradient of the whole clip at once."""
    config = small(tiny, chunk_samples=512, encoder_bptt_chunks=4, steps=4)
    config = with_model(config, variant=variant, motion_dim=APPEARANCE_DIM)
    batch = Clips(config).batch(0)
    params = random_params(config)
    _, metrics = first_update(config, batch, params)
    loss, gradient = one_window(config, batch, params)
    assert float(metrics.nll[0]) == pytest.approx(loss, rel=1e-5)
    assert float(metrics.samples[0]) == batch.mask.sum()
    for part, tree in (gradient["params"] | gradient["params"]["sample_rnn"]).items():
        if part in metrics.gradient_norm:
            expected = float(optax.tree.norm(tree))
            assert float(metrics.gradient_norm[part][0]) == pytest.approx(expected, rel=1e-4)
    assert set(metrics.gradient_norm) >= {"all", "encoder", "sample_tier", "big_frame_tier"}


def test_encoder_bptt_window(tiny):
    """At most the whole clip; 1 without an encoder."""
    seq = with_model(small(tiny), variant="seq")
    for option, window in ((0, 8), (1, 1), (3, 3), (9, 8)):
        training = dataclasses.replace(seq.training, encoder_bptt_chunks=option)
        assert encoder_bptt_window(dataclasses.replace(seq, training=training), chunks=8) == window
    assert encoder_bptt_window(with_model(seq, variant="frame"), chunks=8) == 1
    assert PAPER.training.encoder_bptt_chunks == 1


@pytest.mark.slow
def test_carry_after_a_window_is_that_of_the_first_chunk(tiny):
    """The window spans several chunks, but the carry is that after the first."""
    plain = small(tiny, chunk_samples=512, steps=4, encoder_bptt_chunks=1)
    plain = with_model(plain, variant="seq")
    ahead = dataclasses.replace(
        plain, training=dataclasses.replace(plain.training, encoder_bptt_chunks=3)
    )
    batch, params = Clips(plain).batch(0), random_params(plain)
    (after_plain, one), (after_ahead, three) = (
        first_update(config, batch, params) for config in (plain, ahead)
    )
    assert float(one.samples[0]) == batch.mask[:, :512].sum()
    assert float(three.samples[0]) == batch.mask[:, : 3 * 512].sum()
    for a, b in zip(jax.tree.leaves(after_plain), jax.tree.leaves(after_ahead), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow
def test_encoder_learns_from_later_chunks_only_through_the_window(tiny):
    """Later chunks have a gradient to the encoder only with a window."""
    norms = {}
    for window in (1, 4):
        config = small(tiny, chunk_samples=512, steps=4, encoder_bptt_chunks=window)
        config = with_model(config, variant="seq")
        batch = Clips(config).batch(0)
        batch.mask[:, :512] = False
        _, metrics = first_update(config, batch, random_params(config))
        norms[window] = float(metrics.gradient_norm["encoder"][0])
    assert norms[1] == 0
    assert norms[4] > 0


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"variant": "seq"}, id="seq", marks=pytest.mark.slow),
        pytest.param(
            {"variant": "flow", "cell": "lstm", "tiers": 2, "frame_size": 16},
            id="flow-lstm-2-tiers",
        ),
        pytest.param(
            {"variant": "aligned", "lookahead": 1, "context_layers": 1, "context_vectors": 1},
            id="aligned",
        ),
    ],
)
@pytest.mark.slow
def test_variants_resume_bit_for_bit_and_match_on_eight_devices(tiny, tmp_path, changes):
    config = with_model(
        small(
            tiny,
            chunk_samples=512,
            encoder_bptt_chunks=2,
            steps_per_call=1,
            steps=12,
            log_every_steps=1,
            checkpoint_every_steps=3,
        ),
        motion_dim=APPEARANCE_DIM,
        **changes,
    )
    folders = {}
    for name, devices, stops in (("whole", 8, None), ("stopped", 8, 2), ("one", 1, None)):
        folder = folders[name] = tmp_path / name
        folder.mkdir()
        used = jax.devices()[:devices]
        if stops is not None:
            with pytest.raises(ConnectionAbortedError):
                train(config, training_data(Clips(config, stops)), folder, used)
        train(config, training_data(Clips(config)), folder, used)
    for a, b in zip(
        jax.tree.leaves(load_params(folders["whole"])[1]),
        jax.tree.leaves(load_params(folders["stopped"])[1]),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(
        read_losses(folders["one"]), read_losses(folders["whole"]), rtol=1e-5
    )


def test_standardizing_model_needs_statistics(tiny):
    with pytest.raises(InputError, match="standardizes appearance: give the statistics"):
        init_state(VideoToSound(small(tiny)), None)
    unconditional = with_model(small(tiny), variant="unconditional")
    assert "conditioning" not in init_state(VideoToSound(unconditional), None).params["params"]


def test_motion_is_standardized(tiny):
    config = with_model(
        small(tiny), variant="flow", motion_dim=APPEARANCE_DIM, standardize_motion=True
    )
    other = Statistics(np.full(APPEARANCE_DIM, 0.25, np.float32), 0.5)
    state = init_state(VideoToSound(config), FeatureStatistics(APPEARANCE, other))
    kept = state.params["params"]["conditioning"]
    np.testing.assert_array_equal(kept["motion_mean"], other.mean)
    np.testing.assert_array_equal(kept["appearance_mean"], APPEARANCE.mean)
    assert (kept["motion_scale"], kept["appearance_scale"]) == (0.5, np.float32(0.3))


def test_update_is_adam_with_elementwise_clipping():
    """Three updates in float64, with gradients inside and outside [-1, 1]."""
    optimizer = make_optimizer(PAPER.training)
    gradients = np.array([[5.0, -0.2, 1.0], [-3.0, 0.1, 0.5], [0.4, -9.0, 0.0]])
    params = jnp.array([1.0, 2.0, 3.0])
    state = optimizer.init(params)
    expected, m, v = np.array([1.0, 2.0, 3.0]), np.zeros(3), np.zeros(3)
    for step, gradient in enumerate(gradients, start=1):
        change, state = optimizer.update(jnp.asarray(gradient, jnp.float32), state, params)
        params = optax.apply_updates(params, change)
        g = np.clip(gradient, -1, 1)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        expected = expected - 1e-3 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        np.testing.assert_allclose(params, expected, rtol=1e-6)


@pytest.mark.slow
def test_window_needs_the_memory_of_one_chunk(tiny):
    """Apart from the carries, a window of 64 chunks needs the memory of one chunk."""

    def with_window(chunk_samples: int, chunks: int) -> Config:
        training = {"chunk_samples": chunk_samples, "encoder_bptt_chunks": chunks, "steps": 4}
        return with_model(small(tiny, **training), variant="seq")

    video_frames = 32
    one, window, piece = (
        compiled_bytes(with_window(*sizes), video_frames)
        for sizes in ((512, 1), (512, 64), (video_frames * 1024, 1))
    )
    print(f"{one / 2**20:.1f} MB, {window / 2**20:.1f} MB, {piece / 2**20:.1f} MB")
    carries = 64 * 8 * 4 * (2 * 32 + 16)  # chunks, clips, bytes, values
    assert window < 1.1 * one + 2 * carries
    assert piece > 20 * window


def test_resumed_log_drops_later_lines(tmp_path):
    """Lines of later steps, corrupt ones and an incomplete last line are removed."""
    lines = [json.dumps({"step": step}) for step in (2, 4, 6)]
    lines += ["[", "[4]", '{"step": "4"}', "\ufffd", "[" * 20_000]
    (tmp_path / METRICS_FILE).write_text("\n".join(lines) + '\n{"step": 8')
    with MetricsLog(tmp_path, 4) as log:
        log.write(6, {"loss": 1.0})
    kept = (tmp_path / METRICS_FILE).read_text().splitlines()
    assert [json.loads(line) for line in kept] == [
        {"step": 2},
        {"step": 4},
        {"step": 6, "loss": 1.0},
    ]
