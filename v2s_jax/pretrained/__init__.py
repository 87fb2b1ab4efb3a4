"""The pretrained models in this package."""

from pathlib import Path

PRETRAINED = {
    name: Path(__file__).with_name(f"{name}.safetensors")
    for name in ("aligned", "frame", "seq", "flow")
}
"""Their files by name; every command accepts such a name instead of a path."""

WEIGHT_LOSSES = Path(__file__).with_name("weight_losses.json")
"""What rounded weights lose, by digest of the parameters: `python -m tools.measure_weights`."""

KNOWN = (
    "ten drawn categories only (baby crying, chainsaw, dog, drum, fireworks, helicopter, printer, "
    "rail transport, snoring, water): any other video gets one of these sounds"
)
"""What all of them have learned, as the end of a sentence."""

DEFAULT_CHECKPOINT = PRETRAINED["aligned"]
"""The checkpoint that `v2s sample` uses by default."""


def what_it_knows(checkpoint: Path) -> str | None:
    """Return a sentence for users of a pretrained model; None for other checkpoints."""
    for name, path in PRETRAINED.items():
        if checkpoint in (path, Path(name)):
            return f"the pretrained model {name} knows {KNOWN}"
    return None


def resolve_checkpoint_path(path: Path) -> Path:
    """Return the file of the pretrained model with this name, unless `path` itself exists."""
    return path if path.exists() else PRETRAINED.get(str(path), path)
