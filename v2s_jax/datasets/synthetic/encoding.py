"""Write a clip as a video file, also with video frames at other times (probes frame_rate_*).

The decoder takes, for each interval of the clock, the frame on display in its middle. In every file
here that is the original frame. So all of them decode to the same video frames, up to the codec's
loss, but their frames come

    other      at a constant rate that is not the clock's
    variable   up to 0.35 of a frame early or late
    dropped    as from a camera of four times the rate that loses half or more of its frames

For the probes in `INTRA_ONLY_PROBES` each frame is coded on its own: otherwise H.264 would leave
traces of earlier frames and, because it looks ahead, of later ones.
"""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from v2s_jax import media
from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.generator import SyntheticClip
from v2s_jax.datasets.synthetic.probes import Probe
from v2s_jax.media.encode import AudioCodec

OTHER_RATE = Fraction(48, 25)
"""Approximate ratio to the clock's rate: 30 frames per second with the default clock, or as near to
it as lets video and audio end together."""
OVERSAMPLED = 4
INTRA_ONLY_PROBES: tuple[Probe, ...] = ("motion", "foresight")
"""Probes in which a single frame says nothing about the sound, except those with the card."""
_VARIABLE = "settb=AVTB,setpts=(N+0.35*sin(1.7*N)*lt(N\\,{last}))/(FRAME_RATE*TB)"
# Of four equal frames the earliest that is kept is the first or, every third time, the second. The
# last of all is kept too, so that the file ends with the audio.
_KEPT = "eq(mod(n,4),eq(mod(n,12),5))*not(eq(mod(n,12),4))+eq(mod(n,20),2)+eq(n,{last})"
_DROPPED = f"settb=AVTB,select='{_KEPT}'"


class Timing(NamedTuple):
    """Frames for the encoder, their rate, and a filter that changes their times."""

    order: np.ndarray
    rate: Fraction
    """Ratio to the clock's rate."""
    video_filter: str | None


def timing(probe: Probe, video_frames: int) -> Timing:
    """Return the timing of a clip's frames."""
    match probe:
        case "frame_rate_other":
            count = round(video_frames * OTHER_RATE)
            order = (2 * np.arange(count) + 1) * video_frames // (2 * count)
            return Timing(order, Fraction(count, video_frames), None)
        case "frame_rate_variable":
            return Timing(
                np.arange(video_frames), Fraction(1), _VARIABLE.format(last=video_frames - 1)
            )
        case "frame_rate_dropped":
            order = np.repeat(np.arange(video_frames), OVERSAMPLED)
            return Timing(order, Fraction(OVERSAMPLED), _DROPPED.format(last=len(order) - 1))
    return Timing(np.arange(video_frames), Fraction(1), None)


def write_video(
    path: Path,
    clip: SyntheticClip,
    clock: Clock,
    probe: Probe = "none",
    audio_codec: AudioCodec = "flac",
) -> None:
    """Write a clip as H.264 with lossless audio, or AAC.

    Raises InputError if `path` cannot be written.
    """
    order, rate, video_filter = timing(probe, len(clip.frames))
    media.write_clip(
        path,
        clip.frames[order],
        clock.fps * rate,
        clip.waveform,
        clock.sample_rate_hz,
        audio_codec,
        video_filter,
        intra_only=probe in INTRA_ONLY_PROBES,
    )
