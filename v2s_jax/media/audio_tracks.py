"""The audio tracks of a file: which one can be decoded, and its channels."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from v2s_jax.media.process import ffmpeg, input_args

# Lines of the framecrc format: one header for each stream, then one row for each frame.
_STREAM = re.compile(rb"#media_type \d+: audio")
_LAYOUT = re.compile(rb"#channel_layout_name 0: (\S+)")
_ROW = re.compile(rb"0, ")

MAX_TRACKS = 16
"""Most tracks that are tried (ours); films on discs have fewer."""


@dataclass(frozen=True)
class AudioTrack:
    """An audio track that can be decoded."""

    number: int
    """Position among the audio tracks of the file, from 0."""
    is_mono: bool


def find_audio_track(path: Path) -> tuple[AudioTrack | None, str | None]:
    """Return the first audio track that can be decoded, and what to tell the user.

    The text says which tracks were left out, or why there is none; None where nothing is wrong.
    """
    count = min(_count_tracks(path), MAX_TRACKS)
    reasons: list[str] = []
    for number in range(count):
        layout, reason = _first_frame_layout(path, number)
        if layout is not None:
            left_out = f"audio track {number} is used, since {'; '.join(reasons)}"
            return AudioTrack(number, layout == "mono"), left_out if reasons else None
        reasons.append(f"track {number} cannot be decoded ({reason or 'it is empty'})")
    return None, "; ".join(reasons) or None


def _count_tracks(path: Path) -> int:
    """Count the audio tracks without decoding anything."""
    lines = _framecrc(path, "-map", "0:a?", "-c", "copy", "-t", "0")
    return sum(_STREAM.match(line) is not None for line in lines)


def _framecrc(path: Path, *target: str) -> Iterator[bytes]:
    with ffmpeg(*input_args(path), *target, "-f", "framecrc", "-") as run:
        yield from run.output
        run.wait()


def _first_frame_layout(path: Path, number: int) -> tuple[str | None, str | None]:
    """Return the channel layout of a track's first frame, or else why there is none."""
    layout, has_frame = "unknown", False
    target = ("-map", f"0:a:{number}", "-frames:a", "1", "-c:a", "pcm_f32le", "-f", "framecrc", "-")
    with ffmpeg(*input_args(path), *target) as run:
        for line in run.output:
            if match := _LAYOUT.match(line):
                layout = match[1].decode()
            has_frame |= _ROW.match(line) is not None
        run.wait()
        return (layout, None) if has_frame else (None, run.first_error())
