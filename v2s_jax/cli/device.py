"""Choice of the platform that JAX runs on."""

import jax

from v2s_jax.errors import InputError

PLATFORMS = ("cpu", "gpu", "tpu")


def use_device(platform: str | None) -> None:
    """Make JAX run on `platform`; None: the best one available.

    Must be called before the first computation. Raises InputError for an unknown platform, and for
    one that this machine does not have.
    """
    if platform is None:
        return
    if platform not in PLATFORMS:
        raise InputError(f"--device {platform}: use {', '.join(PLATFORMS)}")
    jax.config.update("jax_platforms", "cuda" if platform == "gpu" else platform)
    try:
        jax.devices()
    except RuntimeError as error:
        raise InputError(
            f"--device {platform}: JAX finds none: install jax with support for it, or use "
            "--device cpu"
        ) from error
