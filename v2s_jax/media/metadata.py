"""Metadata of a file, read and written in ffmpeg's text form (`-f ffmetadata`)."""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from v2s_jax.media.probe import Video
from v2s_jax.media.process import read_file
from v2s_jax.media.wav import Tags

COMMENT = "comment"
_CREATION_TIME = "creation_time"
_OF_THE_CONTAINER = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})
"""Tags that describe the file itself, not what it shows."""
_HEADER = ";FFMETADATA1"
_CHAPTER = "[CHAPTER]"
_SPECIAL = re.compile(r"([=;#\[\\\n])")
_LINE = re.compile(r"(?:[^\\\n]|\\.)+", re.DOTALL)
_PAIR = re.compile(r"((?:[^\\=]|\\.)*)=(.*)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Chapter(NamedTuple):
    """A chapter, in the file's own time."""

    start_sec: Fraction
    end_sec: Fraction
    title: str


class Metadata(NamedTuple):
    """What a file says of itself as a whole."""

    tags: dict[str, str]
    """By ffmpeg's names; Matroska's are in capitals. Bytes that are not text are surrogates."""
    chapters: tuple[Chapter, ...]

    def get(self, name: str) -> str | None:
        """Return a tag whose name is `name` in small or capital letters."""
        return next((value for key, value in self.tags.items() if key.lower() == name), None)


def read_metadata(path: Path) -> Metadata:
    """Return tags and chapters of a video or audio file; none if it is of no known format.

    Raises InputError when the file cannot be read or refers to others.
    """
    with read_file(path, "-map_metadata", "0", "-f", "ffmetadata", "-") as run:
        text = run.output.read().decode("utf-8", "surrogateescape")
        run.wait()
    return parse_metadata(text)


def parse_metadata(text: str) -> Metadata:
    """Return what ffmpeg's text form says; chapters without valid times are left out."""
    sections = [*_sections(text)]
    chapters = [_chapter(fields) for name, fields in sections if name == _CHAPTER]
    return Metadata(sections[0][1], tuple(filter(None, chapters)))


def metadata_of_copy(video: Video, tags: Tags) -> str:
    """Return the metadata of a copy of a video: its own and `tags`, which replace those of their
    names; a comment goes before the video's own. Chapters are cut where the video ends.
    """
    own = read_metadata(video.path)
    replaced = _OF_THE_CONTAINER | {_CREATION_TIME} | tags.keys()
    merged = {key: value for key, value in own.tags.items() if key.lower() not in replaced}
    merged |= tags
    if (created := own.get(_CREATION_TIME)) is not None:
        # ffmpeg stores it twice in MP4, and returns both when it reads that again.
        merged[_CREATION_TIME] = created.partition(";")[0]
    if COMMENT in tags and (comment := own.get(COMMENT)):
        merged[COMMENT] += f"\n{comment}"
    lines = [_HEADER, *(f"{_escape(key)}={_escape(value)}" for key, value in merged.items())]
    for chapter in own.chapters:
        start, end = (
            max(Fraction(0), min(time - video.audio_zero_sec, video.duration_sec))
            for time in (chapter.start_sec, chapter.end_sec)
        )
        if start < end:
            milliseconds = (f"START={round(start * 1000)}", f"END={round(end * 1000)}")
            title = f"title={_escape(chapter.title)}"
            lines += [_CHAPTER, "TIMEBASE=1/1000", *milliseconds, title]
    return "\n".join([*lines, ""])


def _sections(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name and the fields of each section; the first one, without a name, has the tags.

    A line break in a name or value is escaped.
    """
    name, fields = "", dict[str, str]()
    for line in _LINE.findall(text.removeprefix(_HEADER)):
        if pair := _PAIR.fullmatch(line):
            key, value = (_ESCAPED.sub(r"\1", part) for part in pair.groups())
            fields[key] = value
        else:
            yield name, fields
            name, fields = line, {}
    yield name, fields


def _chapter(fields: dict[str, str]) -> Chapter | None:
    try:
        tick_sec = Fraction(fields["TIMEBASE"])
        start, end = (int(fields[name]) * tick_sec for name in ("START", "END"))
    except (KeyError, ValueError, ZeroDivisionError):
        return None
    return Chapter(start, end, fields.get("title", ""))


def _escape(text: str) -> str:
    # ffmpeg takes a backslash at the end of a line, escaped or not, for a line that goes on.
    return _SPECIAL.sub(r"\\\1", text + " " * text.endswith("\\"))
