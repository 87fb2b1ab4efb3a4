"""The pretrained models that come with the package."""

from pathlib import Path

PRETRAINED = {
    name: Path(__file__).with_name(f"{name}.safetensors") for name in ("frame", "seq", "flow")
}
"""Their files by name; every command takes such a name in place of a checkpoint's path."""

DEFAULT_CHECKPOINT = PRETRAINED["frame"]
"""What `v2s sample` uses unless another checkpoint is named."""


def resolve_checkpoint_path(path: Path) -> Path:
    """Return the file of the pretrained model of this name, unless `path` itself exists."""
    return path if path.exists() else PRETRAINED.get(str(path), path)
