"""`auto`: what it chooses, what rounded weights may lose, and that a choice can be repeated."""

import json

import jax
import numpy as np
import pytest

from tests.conftest import random_params, with_model
from v2s_jax.checkpoints import load_params, params_digest
from v2s_jax.config import DEMO, PAPER, TINY
from v2s_jax.kernels.build import library_path
from v2s_jax.kernels.cpu import load_library
from v2s_jax.pretrained import PRETRAINED, WEIGHT_LOSSES
from v2s_jax.sampling import EngineChoice, choose_engine, engine_choice
from v2s_jax.sampling.engine_choice import MAX_LOSS_BITS, _scan_sec, fastest_weights
from v2s_jax.sampling.weight_loss import loss_bits, measure_loss

pytestmark = pytest.mark.usefixtures("compilation_cache", "engine_of_auto")

NO_MODEL: dict = {}
"""Parameters that nobody reads."""


@pytest.fixture
def cpu(engine_of_auto):
    if engine_of_auto != "cpu":
        pytest.skip("no C++ compiler")


@pytest.fixture(scope="module")
def params():
    return random_params(TINY)


def with_outliers(params):
    """The same model up to rounding: one hidden unit is never active, and its weights are huge.

    An int8 column has one scale, so nothing is left of its other weights.
    """
    params = jax.tree.map(np.array, params)
    tier = params["params"]["sample_rnn"]["sample_tier"]
    tier["hidden"]["bias"][0] = -1_000.0
    kernel, gain = tier["output"]["kernel"], tier["output"]["kernel_gain"]
    before = np.linalg.norm(kernel, axis=0)
    kernel[0] = 1_000.0
    gain *= np.linalg.norm(kernel, axis=0) / before
    return params


def with_large_logits(params):
    """A model so sure of its levels that three digits of a weight are too few."""
    params = jax.tree.map(np.array, params)
    params["params"]["sample_rnn"]["sample_tier"]["output"]["kernel_gain"] *= 30.0
    return params


def test_what_was_asked_for_is_not_changed():
    assert choose_engine(TINY, NO_MODEL, engine="scan") == ("scan", "float32", 4, None)
    asked = {"engine": "cpu", "weights": "int8", "batch_size": 3}
    assert choose_engine(TINY, NO_MODEL, **asked, clips=9) == EngineChoice("cpu", "int8", 3)


def test_the_cpu_engine_is_chosen_once_it_is_built(cpu, params):
    clips = 3 * len(jax.local_devices())
    weights = fastest_weights(TINY, params)
    assert choose_engine(TINY, params, samples=1) == ("cpu", weights, 1, None)
    assert choose_engine(TINY, params, clips=clips) == ("cpu", weights, 3, None)
    many = choose_engine(TINY, NO_MODEL, weights="float32", clips=1_000 * clips)
    assert many == ("cpu", "float32", 32, None)


@pytest.mark.parametrize(("clips", "slots"), [(1, 1), (3, 1), (4, 4), (31, 4), (32, 32), (99, 32)])
def test_scan_without_a_compiler(other_cache, no_compiler, clips, slots):
    clips *= len(jax.local_devices())
    choice = choose_engine(TINY, NO_MODEL, clips=clips, samples=10**9)
    assert choice[:3] == ("scan", "float32", slots)
    assert "there is no C++ compiler: install g++ (" in choice.note
    assert not other_cache.exists()


@pytest.mark.parametrize(
    "changes",
    [{"cell": "lstm"}, {"rnn_layers": 2}, {"tiers": 2, "frame_size": 16}, {"mlp": "original"}],
    ids=["lstm", "layers", "tiers", "mlp"],
)
def test_scan_for_models_that_the_cpu_engine_refuses(other_cache, changes):
    """Nothing is built for them, and there is nothing to tell."""
    config = with_model(TINY, **changes)
    assert choose_engine(config, NO_MODEL, wait=True) == ("scan", "float32", 1, None)
    assert not other_cache.exists()


def test_scan_where_the_cache_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    choice = choose_engine(TINY, NO_MODEL, wait=True)
    assert choice[:3] == ("scan", "float32", 1)
    assert "file/v2s_jax: cannot be written" in choice.note


def test_scan_if_the_library_is_corrupt(other_cache):
    other_cache.mkdir(parents=True)
    library_path().write_bytes(b"half")
    load_library.cache_clear()
    choice = choose_engine(TINY, NO_MODEL)
    assert choice.engine == "scan"
    assert f"{library_path()}: cannot be loaded" in choice.note and "v2s build" in choice.note


def test_scan_if_building_fails(other_cache, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    choice = choose_engine(TINY, NO_MODEL, wait=True)
    assert choice.engine == "scan" and "no-such-compiler: cannot be run" in choice.note
    assert "building it failed" in choose_engine(TINY, NO_MODEL, wait=True).note


def test_a_build_is_waited_for_if_the_scan_would_take_longer():
    """Ten seconds of audio are fast with `demo` sizes, and take minutes with `paper` sizes."""
    samples = 10 * 16_000
    assert _scan_sec(DEMO.model, samples, 1) < 5 < engine_choice.MIN_SCAN_SEC
    assert _scan_sec(PAPER.model, samples, 1) > engine_choice.MIN_SCAN_SEC
    assert _scan_sec(DEMO.model, 30 * samples, 1) > engine_choice.MIN_SCAN_SEC
    assert _scan_sec(DEMO.model, 30 * samples, 32) < engine_choice.MIN_SCAN_SEC


def test_weights_that_lose_too_much_are_refused(cpu, params):
    assert fastest_weights(TINY, params) == "int8"
    outliers = with_outliers(params)
    assert loss_bits(TINY, outliers, "int8") > 100 * MAX_LOSS_BITS
    assert fastest_weights(TINY, outliers) == "bfloat16"
    assert choose_engine(TINY, outliers).weights == "bfloat16"
    sure = with_large_logits(params)
    assert loss_bits(TINY, sure, "bfloat16") > MAX_LOSS_BITS
    assert choose_engine(TINY, sure).weights == "float32"


def test_a_loss_is_measured_once(cpu, other_cache, params):
    measured = loss_bits(TINY, params, "bfloat16")
    (file,) = other_cache.iterdir()
    losses = json.loads(file.read_text())
    assert losses == {params_digest(params): {"bfloat16": measured}}
    file.write_text(json.dumps({params_digest(params): {"bfloat16": 0.5}}))
    assert loss_bits(TINY, params, "bfloat16") == 0.5
    file.write_text("cut of")
    assert loss_bits(TINY, params, "bfloat16") == measured


def test_a_loss_needs_no_cache(cpu, monkeypatch, tmp_path, params):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert 0 < loss_bits(TINY, params, "bfloat16") < MAX_LOSS_BITS


def test_losses_of_the_pretrained_models_are_shipped():
    """If this fails a model was replaced: run `python -m tools.measure_weights`."""
    losses = json.loads(WEIGHT_LOSSES.read_text())
    digests = {params_digest(load_params(path)[1]) for path in PRETRAINED.values()}
    assert losses.keys() == digests
    for of_model in losses.values():
        assert 0 < of_model["bfloat16"] < of_model["int8"] < MAX_LOSS_BITS


@pytest.mark.slow
def test_shipped_losses_are_those_measured(cpu):
    config, params = load_params(PRETRAINED["frame"])
    shipped = json.loads(WEIGHT_LOSSES.read_text())[params_digest(params)]
    measured = measure_loss(config, params, "bfloat16", "cpu")
    assert measured == pytest.approx(shipped["bfloat16"], rel=0.5)
