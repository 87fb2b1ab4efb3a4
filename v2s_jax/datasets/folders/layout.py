"""Finding the clips of a folder: which files, of which category, in which order.

Three layouts are recognised by the paths:

    CLASS/videos/video_00000.mp4      VEGAS, with or without CLASS/video_info.csv
    videos/CLASS/video_00000.mp4      VAS
    CLASS/anything.mp4                any other folder

Folders named `videos` are skipped; the one other folder in the path is the category.
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

from v2s_jax.bucket import url_of
from v2s_jax.csv_files import check_header, unescape_cell
from v2s_jax.errors import InputError
from v2s_jax.media import VIDEO_SUFFIXES

VIDEO_FOLDER = "videos"
INFO_FILE = "video_info.csv"
YOUTUBE_COLUMN = "YTID"
"""Column of VEGAS's video_info.csv; row i, from 0, belongs to video_i."""

_NUMBERED = re.compile(r"video_(\d+)")
"""Names that refer to a row of video_info.csv. Numbers in other names mean nothing."""


@dataclass(frozen=True)
class Source:
    """One file that should be a clip."""

    path: str
    """Local path or URL."""
    name: str
    """Path inside the root folder."""
    category: str
    clip_id: str
    """Unique in the dataset: category and file name."""
    index: int
    """Position in its category, from 0, by the numbers in the names."""
    youtube_id: str | None = None
    """The YouTube video that it was cut from, if video_info.csv has it."""


@dataclass(frozen=True)
class Ignored:
    """A file or folder that cannot be a clip, and why."""

    name: str
    reason: str


def find_sources(root: str, exclude: Iterable[str] = ()) -> tuple[list[Source], list[Ignored]]:
    """Return the clips under `root`, a local folder or a URL, ordered by category and index.

    Paths in `exclude` (outputs of the command) are skipped.

    Raises InputError if the folder cannot be read or has no video in a class folder.
    """
    folder = epath.Path(root)
    if not folder.is_dir():
        raise InputError(f"{root}: no such folder: give the folder that holds the class folders")
    ignored: list[Ignored] = []
    files: dict[str, list[tuple[str, epath.Path]]] = {}
    excluded = frozenset(map(_real_path, exclude))
    for parts, path in _walk(folder, (), ignored, frozenset(), excluded):
        name = "/".join(parts)
        classes = [part for part in parts[:-1] if part != VIDEO_FOLDER]
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            if parts[-1] != INFO_FILE:
                ignored.append(Ignored(name, "no file name of a video"))
        elif len(classes) != 1:
            ignored.append(Ignored(name, "not in a class folder: use CLASS/FILE"))
        else:
            files.setdefault(displayable_name(classes[0]), []).append((name, path))
    if not files:
        raise InputError(
            f"{root}: no videos in class folders: arrange them as CLASS/FILE.mp4 or "
            "CLASS/videos/FILE.mp4"
        )
    sources = [
        source
        for category in sorted(files)
        for source in _category_sources(folder, category, files[category])
    ]
    return _with_unique_ids(sources), sorted(ignored, key=lambda entry: entry.name)


def _walk(
    folder: epath.Path,
    parts: tuple[str, ...],
    ignored: list[Ignored],
    parents: frozenset[str],
    excluded: frozenset[str],
) -> Iterator[tuple[tuple[str, ...], epath.Path]]:
    """Yield every file below `folder`, except hidden ones, with the parts of its path."""
    real_path = _real_path(folder)
    if real_path in parents:
        ignored.append(Ignored("/".join(parts), "is a link to one of its parent folders"))
        return
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: natural_sort_key(entry.name))
    except OSError as error:
        if not parts:
            raise InputError(f"{folder}: cannot be read ({error.strerror})") from error
        ignored.append(Ignored("/".join(parts), f"cannot be read ({error.strerror})"))
        return
    for entry in entries:
        if entry.name.startswith(".") or (excluded and _real_path(entry) in excluded):
            continue
        path = (*parts, entry.name)
        if entry.is_dir():
            yield from _walk(entry, path, ignored, parents | {real_path}, excluded)
        else:
            yield path, entry


def _real_path(path: epath.Path | str) -> str:
    """Return the path without symbolic links."""
    return str(path).rstrip("/") if url_of(path) else os.path.realpath(path)


def natural_sort_key(name: str) -> tuple[tuple[tuple[int, str], ...], str]:
    """Return a key that sorts names by their numbers: video_9 before video_10.

    Names with equal numbers (video_1, video_01) are ordered by their letters, so the order never
    depends on how a folder or bucket lists them.
    """
    pieces = re.split(r"(\d+)", name)
    return tuple((int(text), "") if text.isdecimal() else (-1, text) for text in pieces), name


def _category_sources(
    folder: epath.Path, category: str, files: list[tuple[str, epath.Path]]
) -> Iterator[Source]:
    """Yield a category's clips in the order of their numbers."""
    files = sorted(files, key=lambda file: natural_sort_key(file[0]))
    youtube_ids = _youtube_ids(folder, category)
    for index, (name, path) in enumerate(files):
        stem = displayable_name(path.stem)
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
    """Read the YouTube ids of a category's videos by number; empty without video_info.csv."""
    for parent in (folder / category, folder / VIDEO_FOLDER / category):
        path = parent / INFO_FILE
        if not path.exists():
            continue
        try:
            reader = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig")))
            header, rows = list(reader.fieldnames or ()), list(reader)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(
                f"{path}: cannot be read as CSV ({error}): fix or remove it"
            ) from error
        check_header(path, header)
        if rows and YOUTUBE_COLUMN not in rows[0]:
            raise InputError(
                f"{path}: no column {YOUTUBE_COLUMN}, only {', '.join(map(str, rows[0]))}: rename "
                "the column of YouTube ids, or remove the file"
            )
        ids = (unescape_cell(row[YOUTUBE_COLUMN] or "").strip() for row in rows)
        return [youtube_id or None for youtube_id in ids]
    return []


def _with_unique_ids(sources: list[Source]) -> list[Source]:
    """Append a digest of the path to ids that several clips share."""
    counts = Counter(source.clip_id for source in sources)

    def unique(source: Source) -> Source:
        if counts[source.clip_id] == 1:
            return source
        digest = sha256(_raw_name(source.name)).hexdigest()[:8]
        return replace(source, clip_id=f"{source.clip_id}-{digest}")

    return [unique(source) for source in sources]


def _raw_name(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def displayable_name(name: str) -> str:
    """Return a file name as valid text, even if its bytes are not UTF-8."""
    return _raw_name(name).decode("utf-8", "replace")
