"""Sounds, video and figure of one clip as URLs that hold them, in no more room than there is."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from v2s_jax import media
from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.evaluation.report.clip_figure import Instants, KeyFrames, Sound, clip_figure
from v2s_jax.figures import key_frame_indices
from v2s_jax.human_eval.pages import data_url

KEY_FRAMES = 8
"""Pictures over a clip's sounds; the paper's figure 4 shows about as many (ours)."""
KEY_FRAME_HEIGHT_PX = 112
"""About what a figure's row of pictures has room for."""


class Quality(NamedTuple):
    """How sounds and pictures are compressed."""

    sound_bits_per_sec: int | None
    """None: without loss."""
    picture_width_px: int | None
    """At most; None: no video beside the key frames."""
    crf: int
    """x264's rate factor for the video; 6 more halve its size."""

    @property
    def told(self) -> str:
        """What of it is heard."""
        if self.sound_bits_per_sec is None:
            return "sounds without loss (FLAC)"
        return f"sounds as AAC, {self.sound_bits_per_sec // 1_000} kbit/s"


QUALITIES = (
    Quality(None, 320, 23),
    Quality(64_000, 320, 26),
    Quality(48_000, 240, 28),
    Quality(32_000, 160, 32),
    Quality(32_000, None, 0),
)
"""Best first (ours). The last have two bits for each sample at 16 kHz; below that, fewer clips are
better than worse ones."""
NO_ROOM = "the page is full"


class ClipVideo(NamedTuple):
    """Where a clip's pictures are, and how long one pass of them lasts in a clip that repeats."""

    path: Path
    pass_sec: float


@dataclass(frozen=True)
class ClipShown:
    """A clip and all that stands on the page of it."""

    clip_id: str
    category: str
    sounds: list[Sound]
    wanted: Instants
    video: ClipVideo | None
    """None where the pictures are not at hand."""


@dataclass(frozen=True)
class ClipMedia:
    """What a page holds of a clip, as URLs."""

    sounds: list[str]
    figure: str
    video: str | None
    told: str
    """How it is compressed, or why there is no video."""

    @property
    def bytes(self) -> int:
        """Characters on the page."""
        return sum(map(len, (*self.sounds, self.figure, self.video or "")))


def clip_media(clip: ClipShown, clock: Clock, room_bytes: int) -> ClipMedia | None:
    """Return the clip in the best of QUALITIES that has room; None if there is no room for any.

    A video that cannot be read is left out, and the reason told. Raises InputError when the disk
    takes no temporary files.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        degeneracy = None
        frames = KeyFrames([], [])
        video = None
        if clip.video is not None:
            try:
                video = media.probe(clip.video.path)
                frames = _key_frames(video, clip.video.pass_sec, clip.sounds, clock)
            except InputError as error:
                video, degeneracy = None, str(error)
        figure = folder / "figure.webp"
        clip_figure(figure, frames, clip.sounds, clip.wanted, clock.sample_rate_hz)
        drawn = data_url(figure, "image/webp")
        for quality in QUALITIES:
            sounds = [_sound(sound, clock.sample_rate_hz, quality, folder) for sound in clip.sounds]
            if sum(map(len, (*sounds, drawn))) > room_bytes:
                continue
            shown, missing = None, degeneracy
            if video is not None and clip.video is not None:
                shown, missing = _video(video, clip.video.pass_sec, quality, folder)
            why = "" if missing is None else f"; without its video: {missing}"
            made = ClipMedia(sounds, drawn, shown, f"{quality.told}{why}")
            if made.bytes <= room_bytes:
                return made
    return None


def _key_frames(
    video: media.Video, pass_sec: float, sounds: Sequence[Sound], clock: Clock
) -> KeyFrames:
    """Return some video frames of the whole clip, small, at the picture's own shape."""
    samples = max(len(sound.waveform) for sound in sounds)
    of_pass = max(1, round(pass_sec * clock.fps))
    indices = key_frame_indices(clock.video_frames(samples), KEY_FRAMES)
    wanted = {index % of_pass for index in indices}
    width = max(1, round(video.width * KEY_FRAME_HEIGHT_PX / video.height))
    pictures = media.read_video_frames(video, clock, KEY_FRAME_HEIGHT_PX, width)
    needed = islice(enumerate(pictures), max(wanted) + 1)
    found = {number: picture for number, picture in needed if number in wanted}
    there = [index for index in indices if index % of_pass in found]
    return KeyFrames(
        [found[index % of_pass] for index in there],
        [float(clock.picture_time_sec(index)) for index in there],
    )


def _video(
    video: media.Video, pass_sec: float, quality: Quality, folder: Path
) -> tuple[str | None, str | None]:
    """Return the silent video, or the reason why there is none."""
    width = quality.picture_width_px
    if width is None:
        return None, NO_ROOM
    path = folder / "video.mp4"
    try:
        media.write_part(
            video, 0.0, pass_sec, path, picture_width_px=width, crf=quality.crf, sound=False
        )
    except InputError as error:
        return None, str(error)
    return data_url(path, "video/mp4"), None


def _sound(sound: Sound, sample_rate_hz: int, quality: Quality, folder: Path) -> str:
    path = folder / "sound"
    media.write_sound(path, sound.waveform, sample_rate_hz, quality.sound_bits_per_sec)
    return data_url(path, "audio/flac" if quality.sound_bits_per_sec is None else "audio/mp4")
