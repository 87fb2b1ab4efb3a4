"""Settings of `v2s prepare sounds`. Light to import: no TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

from v2s_jax.config import Clock
from v2s_jax.errors import InputError

VERSION = "1.0.0"
"""Version of the datasets, which TFDS requires."""
FRAME_MULTIPLE = 256
"""Samples of a video frame are a multiple of this: four parts of whole big frames of 64 samples."""
MIN_RATE_HZ = 4_000
"""Below it the bands of the controls would be narrower than the bins of their spectrum."""


@dataclass(frozen=True)
class SoundSettings:
    """The recordings, their split and the clips made of them."""

    source: Path
    """Folder of class folders."""
    out: Path
    """Folder for the dataset, which is written to OUT/NAME/1.0.0."""
    name: str = "sounds"
    """Name of the dataset."""
    test_files: tuple[str, ...] = ()
    """Hold out the files whose names match, such as 5-*; by default one in ten of each class."""
    synthetic: tuple[str, ...] = ()
    """Classes whose sounds are computed, not recorded; models trained on them say so."""
    video_frames: int = 78
    """Longest clip: 78 video frames are 5 s at the default clock."""
    min_sec: float = 0.2
    """Reject recordings with less sound."""
    copies: int = 0
    """Variations of each training recording that are added: speed, equalisation and gain."""
    seed: int = 0
    """Seed of the split and of the variations."""
    overwrite: bool = False
    """Replace an existing dataset."""
    sample_rate_hz: int = Clock.sample_rate_hz
    """Sample rate of the dataset, and of the models that learn from it."""

    @property
    def clock(self) -> Clock:
        """The sample rate, and video frames of about the default length."""
        frame_sec = Clock.samples_per_video_frame / Clock.sample_rate_hz
        multiples = max(1, round(self.sample_rate_hz * frame_sec / FRAME_MULTIPLE))
        return Clock(self.sample_rate_hz, multiples * FRAME_MULTIPLE)

    @property
    def folder(self) -> Path:
        """The dataset."""
        return self.out / self.name / VERSION

    def check(self) -> None:
        """Raise InputError for values out of range."""
        if self.video_frames < 1:
            raise InputError(f"--video-frames {self.video_frames}: use at least 1")
        if self.sample_rate_hz < MIN_RATE_HZ:
            raise InputError(
                f"--sample-rate-hz {self.sample_rate_hz}: use at least {MIN_RATE_HZ}, such as 16000"
            )
        if self.copies < 0:
            raise InputError(f"--copies {self.copies}: use 0 or more")
        longest_sec = float(self.video_frames / self.clock.fps)
        if not 0 < self.min_sec <= longest_sec:
            raise InputError(
                f"--min-sec {self.min_sec}: use more than 0 and at most {longest_sec:g}, the "
                "length of --video-frames"
            )
        if not self.name.isidentifier() or not self.name.islower():  # the rule of TFDS
            raise InputError(f"--name {self.name}: use small letters, digits and underscores")
