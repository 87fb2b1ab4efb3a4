"""From a clip to its video file, also with the pictures at other times (probes frame_rate_*).

Video frame i is the picture on display at the middle of its samples, and every file here shows
the picture of video frame i then. So all of them decode to the same video frames, up to the
codec's loss, while their pictures come

    other      at a constant rate that is not the clock's
    variable   early or late by up to 0.35 of a picture
    dropped    as from a camera of four times the rate that loses half or more of its pictures

Where single pictures are to say nothing (`NOTHING_IN_ONE`), each is coded for itself: H.264 would
leave traces of those before it, and, as it looks ahead, of those after it.
"""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from v2s_jax import media
from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.clip import SyntheticClip
from v2s_jax.datasets.synthetic.probes import Probe
from v2s_jax.media.encode import SoundCodec

OTHER_RATE = Fraction(48, 25)
"""Rate of the other file over the clock's, about: 30 pictures per second under the default clock,
or so near to it that pictures and sound end together."""
OVERSAMPLED = 4
NOTHING_IN_ONE: tuple[Probe, ...] = ("motion", "foresight")
"""Probes whose pictures, each alone, say nothing of the sound, but for those that show the card."""
_VARIABLE = "settb=AVTB,setpts=(N+0.35*sin(1.7*N)*lt(N\\,{last}))/(FRAME_RATE*TB)"
# Of four equal pictures the first or, at every third, the second is the earliest that is kept. The
# last of all is kept too, so that the file ends with the sound.
_KEPT = "eq(mod(n,4),eq(mod(n,12),5))*not(eq(mod(n,12),4))+eq(mod(n,20),2)+eq(n,{last})"
_DROPPED = f"settb=AVTB,select='{_KEPT}'"


class Timing(NamedTuple):
    """Which pictures are fed to the encoder, at which rate, and what it does to their times."""

    order: np.ndarray
    rate: Fraction
    """Over the clock's."""
    picture_filter: str | None


def timing(probe: Probe, video_frames: int) -> Timing:
    """Return when the pictures of a clip are shown."""
    match probe:
        case "frame_rate_other":
            shown = round(video_frames * OTHER_RATE)
            order = (2 * np.arange(shown) + 1) * video_frames // (2 * shown)
            return Timing(order, Fraction(shown, video_frames), None)
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
    sound_codec: SoundCodec = "flac",
) -> None:
    """Write a clip as H.264 with lossless sound, or with AAC.

    Raises InputError when `path` cannot be written.
    """
    order, rate, picture_filter = timing(probe, len(clip.frames))
    media.write_clip(
        path,
        clip.frames[order],
        clock.fps * rate,
        clip.waveform,
        clock.sample_rate_hz,
        sound_codec,
        picture_filter,
        intra_only=probe in NOTHING_IN_ONE,
    )
