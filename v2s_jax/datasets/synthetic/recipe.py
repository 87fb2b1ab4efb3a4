"""Recipes: everything that one clip depends on, as a value."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.clip import SyntheticClip
from v2s_jax.datasets.synthetic.generator import make_clip
from v2s_jax.datasets.synthetic.generator_hash import generator_hash
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.datasets.synthetic.probes import Probe
from v2s_jax.errors import InputError
from v2s_jax.media.encode import SoundCodec


@dataclass(frozen=True)
class ClipSpec:
    """Everything that a synthetic clip's file depends on; kept beside it."""

    category: str
    split: str
    index: int
    seed: int
    video_frames: int
    clock: Clock
    probe: Probe
    sound_codec: SoundCodec
    generator: str
    """Digest of the sources that make clips, and of the encoder's settings."""

    def make(self, with_flow: bool = False) -> SyntheticClip:
        """Make the clip."""
        return make_clip(
            self.category,
            self.split,
            self.index,
            self.seed,
            self.clock,
            self.video_frames,
            self.probe,
            with_flow,
        )


@dataclass(frozen=True)
class DatasetSpec:
    """A set of clips: which, how many, and how they are stored.

    Raises InputError for a negative seed.
    """

    preset: Preset
    seed: int = 0
    probe: Probe = "none"
    sound_codec: SoundCodec = "flac"
    clock: Clock = dataclasses.field(default_factory=Clock)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed {self.seed}: use a whole number from 0 on")

    @property
    def name(self) -> str:
        """Name of the data set."""
        probe = "" if self.probe == "none" else f"_{self.probe}"
        sound = "" if self.sound_codec == "flac" else f"_{self.sound_codec}"
        return f"synthetic_{self.preset.name}{probe}{sound}"

    def recipes(self, split: str) -> Iterator[ClipSpec]:
        """Yield a split's clips in their order."""
        generator = generator_hash()
        for category, index in self.preset.clips(split):
            frames = self.preset.clip_video_frames(self.clock, self.seed, category, split, index)
            yield ClipSpec(
                category=category,
                split=split,
                index=index,
                seed=self.seed,
                video_frames=frames,
                clock=self.clock,
                probe=self.probe,
                sound_codec=self.sound_codec,
                generator=generator,
            )
