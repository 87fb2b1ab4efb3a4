"""The training tests share a compilation cache, because they compile the same few programs."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache


@pytest.fixture(scope="session")
def compilation_cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module", autouse=True)
def shared_compilation_cache(compilation_cache_dir):
    settings = {
        "jax_enable_compilation_cache": True,
        "jax_compilation_cache_dir": str(compilation_cache_dir),
        "jax_persistent_cache_min_compile_time_secs": 0.5,
    }
    previous = {name: jax.config.values[name] for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # JAX decides once whether it uses the cache
    yield
    for name, value in previous.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
