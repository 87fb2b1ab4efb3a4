"""Choice of the platform that JAX runs on."""

import jax

from v2s_jax.errors import InputError

PLATFORMS = ("cpu", "gpu", "tpu")


def use_device(platform: str | None) -> None:
    """Make JAX run on `platform`; None: the best one available, or what JAX_PLATFORMS names.

    Must be called before the first computation. Raises InputError for an unknown platform, and for
    one that this machine does not have.
    """
    if platform is not None and platform not in PLATFORMS:
        raise InputError(f"--device {platform}: use {', '.join(PLATFORMS)}")
    if platform is not None:
        jax.config.update("jax_platforms", "cuda" if platform == "gpu" else platform)
    try:
        jax.devices()
    except Exception as error:  # RuntimeError, AssertionError: whatever a plugin raises
        option = f"--device {platform}"
        fix = "use --device cpu"
        if platform is None:
            option, fix = (
                f"JAX_PLATFORMS={jax.config.values['jax_platforms']}",
                "unset the variable",
            )
        raise InputError(
            f"{option}: JAX finds none: install jax with support for it, or {fix}"
        ) from error
