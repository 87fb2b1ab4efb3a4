"""The pretrained models in this package."""

from pathlib import Path

PRETRAINED = {
    name: Path(__file__).with_name(f"{name}.safetensors")
    for name in ("real", "aligned", "frame", "seq", "flow")
}
"""Their files by name; every command accepts such a name instead of a path."""

WEIGHT_LOSSES = Path(__file__).with_name("weight_losses.json")
"""What rounded weights lose, by digest of the parameters: `python -m tools.measure_weights`."""

REAL_RECORDINGS = Path(__file__).with_name("real_recordings.csv")
"""The recordings that `real` was trained on: author, licence, address and SHA-256 of each."""

KNOWN_SOUNDS = (
    "fourteen sounds: recorded ones of clock_tick, crackling_fire, rain and sea_waves, synthetic "
    "ones of baby_crying, chainsaw, dog, drum, fireworks, helicopter, printer, rail_transport, "
    "snoring and water; --category chooses one, as it must for fireworks, helicopter and snoring, "
    "which the image classifier does not know"
)
KNOWN_DRAWINGS = (
    "ten drawn categories only (baby crying, chainsaw, dog, drum, fireworks, helicopter, printer, "
    "rail transport, snoring, water): any other video gets one of these sounds"
)
"""What `real` and what the others have learned, as the end of a sentence."""

DEFAULT_CHECKPOINT = PRETRAINED["real"]
"""The checkpoint that `v2s sample` uses by default."""

REAL_TEMPERATURE = 0.9
"""At which more of the sounds of `real` are named right than at 1 (docs/results.md)."""


def default_temperature(checkpoint: Path) -> float:
    """Return the temperature at which a model is sampled if none is given."""
    return REAL_TEMPERATURE if resolve_checkpoint_path(checkpoint) == PRETRAINED["real"] else 1.0


def what_it_knows(checkpoint: Path) -> str | None:
    """Return a sentence for users of a pretrained model; None for other checkpoints."""
    for name, path in PRETRAINED.items():
        if checkpoint in (path, Path(name)):
            known = KNOWN_SOUNDS if path == DEFAULT_CHECKPOINT else KNOWN_DRAWINGS
            return f"the pretrained model {name} knows {known}"
    return None


def resolve_checkpoint_path(path: Path) -> Path:
    """Return the file of the pretrained model with this name, unless `path` itself exists."""
    return path if path.exists() else PRETRAINED.get(str(path), path)
