"""Eight virtual CPU devices for every test (set before JAX starts), strict JAX, shared fixtures."""

import os
import signal
from pathlib import Path

# JAX sizes its CPU thread pool by the number of cores; collectives over eight virtual devices
# deadlock in a pool of two.
os.environ.setdefault("NPROC", "16")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Tests do not share compiled programs; tests/cli/test_sample.py tests the cache.
os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "0")
# numba caches what it compiles for librosa next to librosa's sources. In a new environment two
# workers that compile at once can leave a corrupt file there.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    cache = Path(__file__).parents[1] / ".pytest_cache" / f"numba-{worker}"
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache))
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8"
    + " --xla_cpu_collective_call_terminate_timeout_seconds=60"
)

# A shell ignores Ctrl-C in what it starts in the background, and nohup the end of the terminal;
# children would inherit both.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

import dataclasses
import shutil
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from v2s_jax.checkpoints import save_params
from v2s_jax.cli.run import run_cli
from v2s_jax.config import TINY, Config
from v2s_jax.kernels.build import build, find_compiler
from v2s_jax.kernels.cpu import load_library
from v2s_jax.model import VideoToSound, init_params, window_frames

FIXTURES = Path(__file__).parent / "fixtures"

# A shape that broadcasts by accident is a bug; `[None]` says that it is meant.
jax.config.update("jax_numpy_rank_promotion", "raise")

# The first example may compile, and machines are busy: no test is about time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="module", autouse=True)
def clear_compiled_programs():
    """Drop the programs that a file compiled: over the whole suite they would take gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def restore_ctrl_c():
    """Undo what commands that tests and fixtures run in this process make of Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def compilation_cache(cache_folder):
    """Share compiled programs between tests that each make a sampler of the same sizes."""
    options = {
        "jax_enable_compilation_cache": True,
        "jax_compilation_cache_dir": str(cache_folder),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    before = {name: jax.config.values[name] for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


@pytest.fixture(scope="session")
def engine_of_auto() -> str:
    """What `auto` chooses for models of three GRU tiers: a build must not end between two runs."""
    if find_compiler() is None:
        return "scan"
    build()
    load_library()
    return "cpu"


@pytest.fixture
def other_cache(engine_of_auto, monkeypatch, tmp_path) -> Path:
    """An empty cache folder of the user. The engine stays loaded in this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "v2s_jax"


@pytest.fixture
def no_compiler(monkeypatch, tmp_path) -> None:
    """No program is found by its name, so no compiler either."""
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.delenv("CXX", raising=False)


@pytest.fixture(scope="session")
def tiny() -> Config:
    """The smallest preset."""
    return TINY


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A file of random parameters of the tiny preset."""
    file = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_params(file, TINY, random_params(TINY))
    return file


@pytest.fixture
def run_command(monkeypatch, capsys):
    """Run the `main` of a command in this process; return exit code, stdout and stderr."""

    def run(main: Callable[[], None], *args: object) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["v2s", *map(str, args)])
        with pytest.raises(SystemExit) as exit_info:
            run_cli(main)
        return exit_info.value.code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def fixture_dataset(tmp_path_factory) -> Path:
    """A dataset of format version 1: two clips of a drum in each of train and test."""
    folder = tmp_path_factory.mktemp("dataset") / "dataset_v1"
    return Path(shutil.copytree(FIXTURES / "dataset_v1", folder))  # reading adds an index


def random_params(config: Config, seed: int = 0) -> dict[str, Any]:
    """Parameters with every leaf random: zero biases and carries would hide errors."""
    model = VideoToSound(config)
    params = jax.jit(init_params, static_argnums=0)(model, jax.random.key(seed))
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: leaf + random.normal(0, 0.1, leaf.shape).astype(np.float32), params
    )


def random_clip(
    config: Config, video_frames: int, batch: int = 2, seed: int = 0
) -> tuple[jax.Array, jax.Array]:
    """Random levels [batch samples] and features [batch video_frames feature_dim]."""
    random = np.random.default_rng(seed)
    samples = video_frames * config.clock.samples_per_video_frame
    levels = random.integers(0, config.model.q_levels, (batch, samples)).astype(np.int32)
    features = random.random((batch, video_frames, config.model.feature_dim), np.float32)
    return jnp.asarray(levels), jnp.asarray(features)


def read_along(config: Config, features: Any, first: int = 0, count: int | None = None) -> Any:
    """The windows that the model reads of whole clips' features; all of them by default."""
    total = features.shape[1]
    return features[:, window_frames(config.model, first, count or total, total)]


def with_model(config: Config, **changes: Any) -> Config:
    """The same config with changed model fields."""
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **changes))
