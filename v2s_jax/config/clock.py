"""The one clock, of picture and sound."""

from dataclasses import dataclass
from fractions import Fraction

from v2s_jax.errors import InputError


@dataclass(frozen=True)
class Clock:
    """The rates that tie picture and sound together (docs/SPEC.md, clock)."""

    sample_rate_hz: int = 16_000
    """Samples of sound per second."""
    samples_per_video_frame: int = 1_024
    """Samples of sound per video frame: the paper's s = ceil(sr_audio / sr_video)."""

    def __post_init__(self) -> None:
        if self.sample_rate_hz < 1 or self.samples_per_video_frame < 1:
            raise InputError(
                f"clock of {self.sample_rate_hz} Hz and {self.samples_per_video_frame} samples "
                "per video frame: both must be at least 1"
            )

    @property
    def fps(self) -> Fraction:
        """Pictures per second: 15.625 for the defaults, the paper's "15.6"."""
        return Fraction(self.sample_rate_hz, self.samples_per_video_frame)

    def samples(self, duration_sec: Fraction | float) -> int:
        """Return the number of samples that a video of this length gets."""
        return round(duration_sec * self.sample_rate_hz)

    def video_frames(self, samples: int) -> int:
        """Return how many video frames cover `samples`; the last one may be covered in part."""
        return -(-samples // self.samples_per_video_frame)

    def picture_time_sec(self, video_frame: int) -> Fraction:
        """Return the instant that a video frame stands for: the middle of its samples.

        Video frame 0 of the default clock stands for 512 / 16000 s = 32 ms.
        """
        return (Fraction(video_frame) + Fraction(1, 2)) / self.fps
