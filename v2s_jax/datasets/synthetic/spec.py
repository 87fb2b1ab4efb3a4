"""Specifications of clips and datasets: all inputs, as values."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.generator import GENERATOR_VERSION, SyntheticClip, make_clip
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.datasets.synthetic.probes import Probe
from v2s_jax.errors import InputError
from v2s_jax.media.encode import CLIP_SUFFIX, AudioCodec, encoder_args


@functools.cache
def generator_digest() -> str:
    """Return a digest of the generator's version and the encoder's settings."""
    settings = [
        encoder_args(codec, video_filter, intra_only)
        for codec in CLIP_SUFFIX
        for video_filter in (None, "null")
        for intra_only in (False, True)
    ]
    return hashlib.sha256(repr((GENERATOR_VERSION, settings)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ClipSpec:
    """Everything that a synthetic clip's file depends on; stored next to the file."""

    category: str
    split: str
    index: int
    seed: int
    video_frames: int
    clock: Clock
    probe: Probe
    audio_codec: AudioCodec
    generator: str
    """See `generator_digest`."""

    def render(self, with_flow: bool = False) -> SyntheticClip:
        """Render the clip."""
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

    Raises InputError for a negative seed, or without train or test clips.
    """

    preset: Preset
    seed: int = 0
    probe: Probe = "none"
    audio_codec: AudioCodec = "flac"
    clock: Clock = dataclasses.field(default_factory=Clock)

    def __post_init__(self) -> None:
        preset = self.preset
        if self.seed < 0:
            raise InputError(f"seed {self.seed}: must be at least 0")
        if not preset.categories or "train" not in preset.splits or preset.test_clips < 1:
            raise InputError(f"preset {preset.name}: needs a category, train clips and test clips")
        if preset.longest_video_frames(self.clock) < 1:
            raise InputError(f"preset {preset.name}: clips need at least 1 video frame")

    @property
    def name(self) -> str:
        """Name of the dataset."""
        probe = "" if self.probe == "none" else f"_{self.probe}"
        sound = "" if self.audio_codec == "flac" else f"_{self.audio_codec}"
        return f"synthetic_{self.preset.name}{probe}{sound}"

    def clips(self, split: str) -> Iterator[ClipSpec]:
        """Yield the clips of a split in order."""
        generator = generator_digest()
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
                audio_codec=self.audio_codec,
                generator=generator,
            )
