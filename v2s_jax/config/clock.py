"""The one clock of video and audio."""

from dataclasses import dataclass
from fractions import Fraction

from v2s_jax.config.validation import check_range, check_types

MAX_SAMPLE_RATE_HZ = 768_000
"""Hz: the highest rate of audio interfaces."""
MAX_SAMPLES_PER_VIDEO_FRAME = 2**20
"""More than a second at the highest rate."""


@dataclass(frozen=True)
class Clock:
    """The rates that align video frames with audio samples (docs/SPEC.md, clock)."""

    sample_rate_hz: int = 16_000
    """Audio samples per second."""
    samples_per_video_frame: int = 1_024
    """Audio samples per video frame: the paper's s = ceil(sr_audio / sr_video)."""

    def __post_init__(self) -> None:
        check_types(self, "clock")
        check_range(self, 1, MAX_SAMPLE_RATE_HZ, "sample_rate_hz")
        check_range(self, 1, MAX_SAMPLES_PER_VIDEO_FRAME, "samples_per_video_frame")

    @property
    def fps(self) -> Fraction:
        """Video frames per second: 15.625 for the defaults, the paper's "15.6"."""
        return Fraction(self.sample_rate_hz, self.samples_per_video_frame)

    def samples(self, duration_sec: Fraction | float) -> int:
        """Return the number of audio samples of a video of this length."""
        return round(duration_sec * self.sample_rate_hz)

    def video_frames(self, samples: int) -> int:
        """Return how many video frames `samples` last; the last one may be partial."""
        return -(-samples // self.samples_per_video_frame)

    def video_frame_time_sec(self, video_frame: int) -> Fraction:
        """Return the time of a video frame: the middle of its samples.

        Video frame 0 of the default clock is at 512 / 16000 s = 32 ms.
        """
        return (Fraction(video_frame) + Fraction(1, 2)) / self.fps
