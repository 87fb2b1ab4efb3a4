"""Named sizes of the synthetic set."""

from dataclasses import dataclass

from data.synthetic.generator import CATEGORIES


@dataclass(frozen=True)
class Preset:
    """How many clips, how long, of what."""

    name: str
    """The preset's name."""
    train_clips: int
    """Clips per category in `train`."""
    test_clips: int
    """Clips per category in `test`."""
    video_frames: int
    """Pictures per clip; 32 last 2.048 s under the default clock."""
    categories: tuple[str, ...]
    """Categories in the set."""


TINY = Preset("tiny", train_clips=8, test_clips=2, video_frames=32, categories=CATEGORIES)
"""For tests and a first look: 100 clips."""

DEMO = Preset("demo", train_clips=1_024, test_clips=64, video_frames=32, categories=("drum",))
"""For the checkpoint that ships: one category, which two CPU cores learn in half an hour."""

PAIR = Preset("pair", train_clips=1, test_clips=1, video_frames=12, categories=("drum",))
"""Two short clips, to try a slow extractor."""

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (TINY, DEMO, PAIR)}
