"""report.html: the evaluation as one self-contained page.

What was compared, then every table and plot, then clips: players, key frames over waveforms and
spectrograms, true events and detected onsets. Media are as small as the room requires.
"""

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from v2s_jax import media
from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.evaluation.clips import ClipVideo, ReferenceClips, round_robin
from v2s_jax.evaluation.onsets import detect_onsets
from v2s_jax.evaluation.report.clip_figure import (
    PLOT_ACROSS,
    PLOT_FROM,
    KeyFrames,
    NamedAudio,
    Targets,
    clip_figure,
)
from v2s_jax.evaluation.report.tables import Table
from v2s_jax.evaluation.statistics import Waveform
from v2s_jax.figures import key_frame_indices
from v2s_jax.web_pages import data_url, write_page

TEMPLATE = Path(__file__).with_name("report.html")
PAGE_FILE = "report.html"
MAX_BYTES = 20_000_000
"""Largest page: what mail and browsers still accept (ours). Clips are compressed to fit."""
TABLE_BYTES = 200_000
"""Room for everything but plots and clips: tables of three models and categories take 36,000."""
CLIP_TEXT_BYTES = 4_000
"""Room for the text and tags around a clip's media."""
MAX_DRIFT_SEC = 0.06
"""How far a video may drift from its audio before it is seeked: less than a video frame, 64 ms."""
KEY_FRAMES = 8
"""Video frames over a clip's waveforms; the paper's figure 4 shows about as many (ours)."""
KEY_FRAME_HEIGHT_PX = 112
"""About the height of the row of frames in the figure."""


class Quality(NamedTuple):
    """How audio and video are compressed."""

    audio_bits_per_sec: int | None
    """None: lossless."""
    frame_width_px: int | None
    """At most; None: no video."""
    crf: int
    """x264's rate factor for the video; 6 more halve its size."""

    def __str__(self) -> str:
        if self.audio_bits_per_sec is None:
            return "lossless audio (FLAC)"
        return f"audio as AAC, {self.audio_bits_per_sec // 1_000} kbit/s"


QUALITIES = (
    Quality(None, 320, 23),
    Quality(64_000, 320, 26),
    Quality(48_000, 240, 28),
    Quality(32_000, 160, 32),
    Quality(32_000, None, 0),
)
"""Best first (ours). The last have two bits for each sample at 16 kHz; below that, fewer clips are
better than worse ones."""
PAGE_IS_FULL = "the page is full"


@dataclass(frozen=True)
class ReportClip:
    """A clip of the page."""

    clip_id: str
    category: str
    audio: list[NamedAudio]
    """Reference audio first, then that of each model."""
    targets: Targets
    video: ClipVideo | None
    """None where the video is not available."""


@dataclass(frozen=True)
class EncodedClip:
    """A clip with its media as data URLs."""

    clip: ReportClip
    duration_sec: float
    """Of the longest waveform."""
    audio: list[str]
    figure: str
    video: str | None
    note: str
    """How it is compressed, or why there is no video."""

    @property
    def bytes(self) -> int:
        """Characters on the page."""
        return sum(map(len, (*self.audio, self.figure, self.video or "")))


def make_report_clips(
    clips: ReferenceClips,
    generated: Mapping[str, Sequence[Waveform]],
    videos: Mapping[str, ClipVideo],
) -> list[ReportClip]:
    """Return clips with their reference audio and the audio that each model generated."""
    rate_hz, events_sec = clips.config.clock.sample_rate_hz, clips.events_sec
    report_clips = []
    for clip, clip_id in enumerate(clips.clip_ids):
        waveforms = {"reference": clips.audio[clip]}
        waveforms |= {model: audio[clip] for model, audio in generated.items()}
        audio = [
            NamedAudio(name, one, detect_onsets(one, rate_hz)) for name, one in waveforms.items()
        ]
        targets = Targets("onsets of the reference audio", audio[0].onsets_sec)
        if events_sec is not None:
            targets = Targets("true events", np.asarray(events_sec[clip], np.float64))
        report_clips.append(
            ReportClip(clip_id, clips.categories[clip], audio, targets, videos.get(clip_id))
        )
    return report_clips


def write_report_page(
    path: Path,
    title: str,
    about: Mapping[str, Sequence[str]],
    sections: Mapping[str, Sequence[Table | Path]],
    clips: Sequence[ReportClip],
    clock: Clock,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Write the page, of at most `max_bytes`.

    Args:
        path: The file.
        title: Heading of the page.
        about: What was compared: lines by name.
        sections: Tables, and paths of plots, by heading.
        clips: Clips to play. Those that do not fit are compressed more, then left out with a note.
        clock: Sample and frame rate.
        max_bytes: Largest size of the page.

    Raises:
        InputError: The page cannot be written.
    """
    items = itertools.chain(*sections.values())
    plots = {item: data_url(item, "image/png") for item in items if isinstance(item, Path)}
    room = max_bytes - TABLE_BYTES - sum(map(len, plots.values()))
    encoded, left_out = _encode_clips(clips, clock, room)
    write_page(
        path,
        TEMPLATE,
        title=title,
        about=about,
        sections=sections,
        plots=plots,
        clips=encoded,
        left_out=left_out,
        without_video=[clip.clip_id for clip in clips if clip.video is None],
        figure={"from": PLOT_FROM, "across": PLOT_ACROSS, "max_drift_sec": MAX_DRIFT_SEC},
    )


def _encode_clips(
    clips: Sequence[ReportClip], clock: Clock, max_bytes: int
) -> tuple[list[EncodedClip], list[str]]:
    """Return the clips that there is room for, and the names of the others.

    Each clip gets an equal share of what is left. What it does not use goes to the next ones, so
    the first clips of each category, which are encoded last, are the last to be left out.
    """
    encoded: dict[int, EncodedClip] = {}
    order = round_robin([clip.category for clip in clips])[::-1]
    for done, index in enumerate(tqdm(order, unit="clip", desc="report.html", disable=not order)):
        share = max_bytes // (len(clips) - done)
        one = encode_clip(clips[index], clock, share - CLIP_TEXT_BYTES)
        if one is not None:
            encoded[index] = one
            max_bytes -= one.bytes + CLIP_TEXT_BYTES
    left_out = [clip.clip_id for index, clip in enumerate(clips) if index not in encoded]
    return [encoded[index] for index in sorted(encoded)], left_out


def encode_clip(clip: ReportClip, clock: Clock, max_bytes: int) -> EncodedClip | None:
    """Return the clip in the best of QUALITIES that fits; None if none does.

    A video that cannot be read is left out, with a note.
    """
    rate_hz = clock.sample_rate_hz
    duration_sec = max(len(one.waveform) for one in clip.audio) / rate_hz
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames, video, error = KeyFrames([], []), None, None
        if clip.video is not None:
            try:
                video = media.probe(clip.video.path)
                frames = _key_frames(video, clip.video.pass_sec, duration_sec, clock)
            except InputError as failure:
                video, error = None, str(failure)
        clip_figure(folder / "figure.webp", frames, clip.audio, clip.targets, rate_hz)
        figure = data_url(folder / "figure.webp", "image/webp")
        for quality in QUALITIES:
            audio = [_encode_audio(one, rate_hz, quality, folder) for one in clip.audio]
            if sum(map(len, (*audio, figure))) > max_bytes:
                continue
            video_url, reason = None, error
            if video is not None and clip.video is not None:
                video_url, reason = _encode_video(video, clip.video.pass_sec, quality, folder)
            note = str(quality) if reason is None else f"{quality}; without its video: {reason}"
            encoded = EncodedClip(clip, duration_sec, audio, figure, video_url, note)
            if encoded.bytes <= max_bytes:
                return encoded
    return None


def _key_frames(
    video: media.Video, pass_sec: float, duration_sec: float, clock: Clock
) -> KeyFrames:
    """Return some small frames of the clip, in the video's aspect ratio."""
    frames_per_pass = max(1, round(pass_sec * clock.fps))
    indices = key_frame_indices(clock.video_frames(clock.samples(duration_sec)), KEY_FRAMES)
    needed = {index % frames_per_pass for index in indices}
    width = video.width_at(KEY_FRAME_HEIGHT_PX)
    frames = media.read_video_frames(video, clock, KEY_FRAME_HEIGHT_PX, width)
    decoded = {
        number: frame
        for number, frame in itertools.islice(enumerate(frames), max(needed) + 1)
        if number in needed
    }
    available = [index for index in indices if index % frames_per_pass in decoded]
    return KeyFrames(
        [decoded[index % frames_per_pass] for index in available],
        [float(clock.video_frame_time_sec(index)) for index in available],
    )


def _encode_video(
    video: media.Video, pass_sec: float, quality: Quality, folder: Path
) -> tuple[str | None, str | None]:
    """Return the silent video, or the reason why there is none."""
    if quality.frame_width_px is None:
        return None, PAGE_IS_FULL
    path, width = folder / "video.mp4", quality.frame_width_px
    try:
        media.write_part(
            video, 0.0, pass_sec, path, max_width_px=width, crf=quality.crf, with_audio=False
        )
    except InputError as error:
        return None, str(error)
    return data_url(path, "video/mp4"), None


def _encode_audio(audio: NamedAudio, sample_rate_hz: int, quality: Quality, folder: Path) -> str:
    path = folder / "audio"
    media.write_audio(path, audio.waveform, sample_rate_hz, quality.audio_bits_per_sec)
    return data_url(path, "audio/flac" if quality.audio_bits_per_sec is None else "audio/mp4")
