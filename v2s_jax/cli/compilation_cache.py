"""Programs that were compiled once are found again: JAX's persistent compilation cache.

It lies in the user's cache folder, apart for each kind of processor, since XLA's programs for a
CPU use what it can do. A program is found by its computation, its compiler's version and options,
and its devices, so another checkpoint of the same sizes finds it too.
"""

import jax

from v2s_jax.errors import InputError
from v2s_jax.io import cache_dir, check_writable
from v2s_jax.kernels.build import processor_digest

MIN_COMPILE_SEC = 0.1
"""What compiles faster than that is compiled again; JAX's own limit, 1 s, leaves most out."""


def enable_compilation_cache() -> None:
    """Use the cache from now on, unless its folder cannot be written or JAX has one already."""
    if jax.config.values["jax_compilation_cache_dir"]:
        return
    folder = cache_dir() / f"compiled-{processor_digest()}"
    try:
        check_writable(folder)
    except InputError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SEC)
