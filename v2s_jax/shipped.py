"""The models that come with the package, each trained by the README's commands."""

from pathlib import Path

from v2s_jax.place import PACKAGE

SHIPPED = {
    name: PACKAGE / "checkpoints" / f"{name}.safetensors" for name in ("frame", "seq", "flow")
}
"""Their files by the names that stand for them wherever a checkpoint is asked for."""

SHIPPED_CHECKPOINT = SHIPPED["frame"]
"""The one that sounds videos unless another is named."""


def shipped_or_given(path: Path) -> Path:
    """Return the file of the shipped model that is called so, unless something lies at `path`."""
    return path if path.exists() else SHIPPED.get(str(path), path)
