"""Choose the video stream that plays, and read what a stream's header says."""

from dataclasses import dataclass
from pathlib import Path

from v2s_jax.errors import InputError
from v2s_jax.media.process import Run, read_file
from v2s_jax.media.timeline import Timeline, read_timelines

_DEFAULT_VIDEO = "0:disp:default:V"  # V: video, but not an attached image such as cover art
_VIDEO = "0:V"
TO_ROWS = ("-f", "framecrc", "-")


@dataclass(frozen=True)
class Stream:
    """The video stream to read."""

    selector: str
    """ffmpeg's stream specifier."""
    codec: str
    warning: str | None
    """Set if the file has other video streams: what was chosen."""


def choose_video_stream(path: Path) -> Stream:
    """Choose as players do: a stream marked as default, otherwise the first one.

    A stream with one image, such as a title picture, is chosen only if no other one moves.

    Raises InputError when there is no video stream.
    """
    with read_file(path, "-map", _VIDEO, "-c", "copy", "-t", "0", *TO_ROWS) as run:
        streams = read_timelines(run.output)
        run.wait()
        if not streams:
            raise _no_stream_error(path, run)
    if len(streams) == 1:
        return Stream(f"{_VIDEO}:0", streams[0].codec, None)
    marked, everyone = _scan(path, len(streams))
    candidates = [(f"{_DEFAULT_VIDEO}:{i}", stream) for i, stream in enumerate(marked)]
    candidates += [(f"{_VIDEO}:{i}", stream) for i, stream in enumerate(everyone)]
    # At equal rank, `max` returns the first one.
    selector, chosen = max(candidates, key=lambda candidate: min(candidate[1].frames, 2))
    mark = ", marked as default" if selector.startswith(_DEFAULT_VIDEO) else ""
    sizes = ", ".join(f"{stream.width} x {stream.height}" for stream in everyone)
    return Stream(
        selector,
        chosen.codec,
        f"{path}: has {len(everyone)} video streams ({sizes} px): using the one of "
        f"{chosen.width} x {chosen.height} px{mark}",
    )


def _scan(path: Path, count: int) -> tuple[list[Timeline], list[Timeline]]:
    """Return the streams marked as default, and all video streams."""
    maps = ("-map", f"{_DEFAULT_VIDEO}?", "-map", _VIDEO)
    with read_file(path, *maps, "-c", "copy", *TO_ROWS) as run:
        timelines = read_timelines(run.output)
        run.wait()
    ordered = [timelines[index] for index in sorted(timelines)]
    return ordered[:-count], ordered[-count:]


def has_audio_stream(path: Path) -> bool:
    """Say whether there is an audio stream, decodable or not."""
    with read_file(path, "-map", "0:a", "-c", "copy", "-t", "0", *TO_ROWS) as run:
        streams = read_timelines(run.output)
        run.wait()
    return bool(streams)


def _no_stream_error(path: Path, run: Run) -> InputError:
    reason = run.first_error() or "no data"
    if "matches no streams" in reason:
        return InputError(f"{path}: has no video stream: give a file with moving images")
    if any("Error opening input" in line for line in run.log_lines()):
        return InputError(
            f"{path}: is not a video that ffmpeg can read ({reason}): give an intact video file"
        )
    return InputError(f"{path}: no frame can be decoded ({reason}): copy or record it again")
