"""Finding the clips of a folder: which files, of which category, in which order.

Three layouts, told by where the files lie:

    CLASS/videos/video_00000.mp4      VEGAS, with or without CLASS/video_info.csv
    videos/CLASS/video_00000.mp4      VAS
    CLASS/anything.mp4                any other folder

A folder named `videos` counts for nothing, so the category is the one other folder on the way.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

from etils import epath

from v2s_jax.datasets.remote import is_remote
from v2s_jax.errors import InputError
from v2s_jax.media import VIDEO_SUFFIXES

VIDEO_FOLDER = "videos"
INFO_FILE = "video_info.csv"
YOUTUBE_COLUMN = "YTID"
"""Column of VEGAS's video_info.csv; its row i, from 0, belongs to video_i."""


_NUMBERED = re.compile(r"video_(\d+)")
"""Names that belong to a row of video_info.csv; other names end in numbers for other reasons."""


@dataclass(frozen=True)
class Source:
    """One file that should be a clip."""

    path: str
    """Where it lies: a local path or a URL."""
    name: str
    """The same from the data set's folder on."""
    category: str
    clip_id: str
    """Unique in the data set: category and file name."""
    index: int
    """Place in its category, from 0, by the numbers in the names."""
    youtube_id: str | None = None
    """The YouTube video that it was cut from, where video_info.csv says so."""


@dataclass(frozen=True)
class Ignored:
    """A file or folder that cannot be a clip, with the reason."""

    name: str
    reason: str


def find_sources(root: str, leave_out: Iterable[str] = ()) -> tuple[list[Source], list[Ignored]]:
    """Return the clips under `root`, a local folder or a URL, by category and place.

    Files and folders of `leave_out`, what is made of the clips, are not looked at.
    Raises InputError when the folder cannot be read or holds no video in a class folder.
    """
    folder = epath.Path(root)
    if not folder.is_dir():
        raise InputError(f"{root}: no such folder: give the folder that holds the class folders")
    ignored: list[Ignored] = []
    found: dict[str, list[tuple[str, epath.Path]]] = {}
    made = frozenset(map(_place, leave_out))
    for parts, path in _walk(folder, (), ignored, frozenset(), made):
        name = "/".join(parts)
        classes = [part for part in parts[:-1] if part != VIDEO_FOLDER]
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            if parts[-1] != INFO_FILE:
                ignored.append(Ignored(name, "its name is not that of a video"))
        elif len(classes) != 1:
            ignored.append(Ignored(name, "lies in no class folder: use CLASS/FILE"))
        else:
            found.setdefault(text_of_name(classes[0]), []).append((name, path))
    if not found:
        raise InputError(
            f"{root}: no videos in class folders there: lay them out as CLASS/FILE.mp4 or "
            "CLASS/videos/FILE.mp4"
        )
    sources = [
        source
        for category in sorted(found)
        for source in _of_category(folder, category, found[category])
    ]
    return _with_unique_ids(sources), sorted(ignored, key=lambda entry: entry.name)


def _walk(
    folder: epath.Path,
    parts: tuple[str, ...],
    ignored: list[Ignored],
    above: frozenset[str],
    leave_out: frozenset[str],
) -> Iterator[tuple[tuple[str, ...], epath.Path]]:
    """Yield every file below with the names that lead to it; hidden ones are left out."""
    here = _place(folder)
    if here in above:
        ignored.append(Ignored("/".join(parts), "is a link to a folder that it lies in"))
        return
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: natural_sort_key(entry.name))
    except OSError as error:
        if not parts:
            raise InputError(f"{folder}: cannot be read ({error.strerror})") from error
        ignored.append(Ignored("/".join(parts), f"cannot be read ({error.strerror})"))
        return
    for entry in entries:
        if entry.name.startswith(".") or (leave_out and _place(entry) in leave_out):
            continue
        below = (*parts, entry.name)
        try:
            is_folder = entry.is_dir()
        except OSError as error:  # a link that leads to itself
            ignored.append(Ignored("/".join(below), f"cannot be read ({error.strerror})"))
            continue
        if is_folder:
            yield from _walk(entry, below, ignored, above | {here}, leave_out)
        else:
            yield below, entry


def _place(path: epath.Path | str) -> str:
    """Return the one name of a place, whatever links lead to it."""
    return str(path).rstrip("/") if is_remote(path) else os.path.realpath(path)


def natural_sort_key(name: str) -> tuple[tuple[tuple[int, str], ...], str]:
    """Return what sorts names by the numbers in them: video_9 before video_10.

    Names of the same numbers, video_1 and video_01, go by their letters, so that the order is
    never that in which a folder or a bucket happens to list them.
    """
    pieces = re.split(r"(\d+)", name)
    return tuple((int(text), "") if text.isdecimal() else (-1, text) for text in pieces), name


def _of_category(
    folder: epath.Path, category: str, files: list[tuple[str, epath.Path]]
) -> Iterator[Source]:
    """Yield a category's clips in the order of their numbers."""
    files = sorted(files, key=lambda file: natural_sort_key(file[0]))
    youtube_ids = _youtube_ids(folder, category)
    for index, (name, path) in enumerate(files):
        stem = text_of_name(path.stem)
        number = _NUMBERED.fullmatch(stem)
        row = int(number[1]) if number else -1
        yield Source(
            path=str(path),
            name=name,
            category=category,
            clip_id=f"{category}-{stem}",
            index=index,
            youtube_id=youtube_ids[row] if 0 <= row < len(youtube_ids) else None,
        )


def _youtube_ids(folder: epath.Path, category: str) -> list[str | None]:
    """Read the ids of a category's videos, by their number; empty without video_info.csv."""
    for place in (folder / category, folder / VIDEO_FOLDER / category):
        path = place / INFO_FILE
        if not path.exists():
            continue
        try:
            rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"))))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(
                f"{path}: cannot be read as CSV ({error}): mend or remove it"
            ) from error
        if rows and YOUTUBE_COLUMN not in rows[0]:
            raise InputError(
                f"{path}: has no column {YOUTUBE_COLUMN} but {', '.join(map(str, rows[0]))}: name "
                "the column of YouTube ids so, or remove the file"
            )
        return [(row[YOUTUBE_COLUMN] or "").strip() or None for row in rows]
    return []


def _with_unique_ids(sources: list[Source]) -> list[Source]:
    """Give each clip whose id others have too one with a digest of its path."""
    counts = Counter(source.clip_id for source in sources)

    def unique(source: Source) -> Source:
        if counts[source.clip_id] == 1:
            return source
        digest = sha256(_raw_name(source.name)).hexdigest()[:8]
        return replace(source, clip_id=f"{source.clip_id}-{digest}")

    return [unique(source) for source in sources]


def _raw_name(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def text_of_name(name: str) -> str:
    """Return a name as text, whatever bytes the file system has."""
    return _raw_name(name).decode("utf-8", "replace")
