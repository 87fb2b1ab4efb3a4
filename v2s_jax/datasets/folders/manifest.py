"""The manifest: what happened to every file of a folder, one JSON object per line."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from etils import epath

from v2s_jax.datasets.remote import write_bytes
from v2s_jax.errors import InputError
from v2s_jax.json_text import parse_json

MANIFEST = "manifest.jsonl"
FAILED_MANIFEST = "manifest.failed.jsonl"

Status = Literal["used", "rejected"]


@dataclass(frozen=True)
class Row:
    """One file."""

    source: str
    """Its path in the folder."""
    status: Status
    reason: str | None = None
    """Why it was rejected."""
    category: str | None = None
    split: str | None = None
    clip_id: str | None = None
    sha256: str | None = None
    """Hash of the file."""
    youtube_id: str | None = None
    source_sec: float | None = None
    """Duration of its video stream."""
    video_frames: int | None = None
    """Video frames of one pass, before looping."""
    samples: int | None = None
    """Audio samples of one pass."""
    clip_video_frames: int | None = None
    """Video frames of the clip, after looping."""
    clip_samples: int | None = None
    corrections: tuple[str, ...] = ()
    """What was repaired, cut or looped."""
    features: str | None = None
    """Key of its pass in the feature cache."""

    def to_json(self) -> str:
        """Return the row as one line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Row":
        """Parse a line."""
        fields = parse_json(line)
        return cls(**{**fields, "corrections": tuple(fields["corrections"])})


def write_manifest(path: epath.Path, rows: Iterable[Row]) -> None:
    """Write the rows, ordered by source."""
    lines = [row.to_json() + "\n" for row in sorted(rows, key=lambda row: row.source)]
    write_bytes(path, "".join(lines).encode())


def read_manifest(path: epath.Path) -> Iterator[Row]:
    """Yield the rows; raise InputError if the file is missing or invalid."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(
            f"{path}: cannot be read ({reason}): give the folder of a dataset that "
            f"`v2s prepare folder` built"
        ) from error
    for number, line in enumerate(lines, 1):
        try:
            yield Row.from_json(line)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: line {number} is not a manifest row: {error}") from error
