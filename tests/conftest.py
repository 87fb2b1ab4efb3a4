"""Eight virtual CPU devices for every test; set before JAX starts."""

import os
from pathlib import Path

# jax 0.10 sizes its CPU thread pool by the cores it finds; collectives over eight virtual devices
# deadlock in a pool of two.
os.environ.setdefault("NPROC", "16")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What one test compiles, the next compiles again; `test_sample_command` tries the cache.
os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "0")
# librosa keeps what numba compiles beside its own sources. Two workers that compile the same there
# at once, which happens in a new environment, can leave a file that crashes all who load it. The
# program takes turns (`evaluation/sound_library.py`); tests that import librosa themselves do not.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    kept = Path(__file__).parents[1] / ".pytest_cache" / f"numba-{worker}"
    os.environ.setdefault("NUMBA_CACHE_DIR", str(kept))
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8"
    + " --xla_cpu_collective_call_terminate_timeout_seconds=60"
)

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings

from v2s_jax.checkpoints import save_params
from v2s_jax.config import TINY, Config
from v2s_jax.model import VideoToSound, init_params

# A first case may compile, and machines are busy: no test is about time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="module", autouse=True)
def programs_end_with_their_file():
    """Forget what a file compiled: over the whole suite it would be gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def tiny() -> Config:
    """The real config, replaced small."""
    return TINY


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A file of random parameters of the tiny preset."""
    file = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_params(file, TINY, random_params(TINY))
    return file


def random_params(config: Config, seed: int = 0) -> dict[str, Any]:
    """Parameters with every leaf random, so that zero biases and carries hide nothing."""
    model = VideoToSound(config)
    params = init_params(model, jax.random.key(seed))
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


def with_model(config: Config, **changes: Any) -> Config:
    """The same config with other model sizes."""
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **changes))
