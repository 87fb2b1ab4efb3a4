"""The pretrained models in this package."""

from pathlib import Path

PRETRAINED = {
    name: Path(__file__).with_name(f"{name}.safetensors") for name in ("frame", "seq", "flow")
}
"""Their files by name; every command accepts such a name instead of a path."""

DEFAULT_CHECKPOINT = PRETRAINED["frame"]
"""The checkpoint that `v2s sample` uses by default."""


def resolve_checkpoint_path(path: Path) -> Path:
    """Return the file of the pretrained model with this name, unless `path` itself exists."""
    return path if path.exists() else PRETRAINED.get(str(path), path)
