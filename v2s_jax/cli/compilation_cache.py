"""JAX's persistent compilation cache, in the user's cache folder.

There is one folder per kind of processor, since XLA compiles for the CPU's instruction set. The key
is the computation, the compiler and its options, and the devices: another checkpoint of the same
sizes uses the same entry.
"""

import jax

from v2s_jax.errors import InputError
from v2s_jax.io import cache_dir, check_writable
from v2s_jax.kernels.build import processor_digest

MIN_COMPILE_SEC = 0.0
"""All compilations are cached; JAX's default of 1 s leaves out most of ours. A small program is
read in a millisecond or two, and compiled in ten to twenty."""


def enable_compilation_cache() -> None:
    """Use the cache from now on, unless JAX has one already or the folder cannot be written."""
    if jax.config.values["jax_compilation_cache_dir"]:
        return
    folder = cache_dir() / f"compiled-{processor_digest()}"
    try:
        check_writable(folder)
    except InputError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SEC)
