"""FOLDER/takes.html: all takes of a folder, and moving those that are not kept."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tqdm import tqdm

from v2s_jax.config import Clock
from v2s_jax.datasets import open_dataset
from v2s_jax.errors import InputError, write_error
from v2s_jax.evaluation.takes.nearest import TrainingSounds, read_sounds
from v2s_jax.figures import key_frame_figure
from v2s_jax.io import wrap_read_errors
from v2s_jax.media import read_audio_file, write_wav
from v2s_jax.web_pages import data_url, write_page

PAGE_FILE = "takes.html"
KEPT_FILE = "kept.txt"
"""Name of the list that the page saves."""
DISCARDED_FOLDER = "discarded"
TEMPLATE = Path(__file__).with_name("takes.html")
TAKE_PATTERN = "*_sound*.wav"
DEFAULT_RATE_HZ = 16_000
"""Rate at which takes are drawn without a dataset: that of the paper."""
LISTED = 5
"""Names in a message."""


@dataclass(frozen=True)
class TakeRow:
    """A take on the page."""

    name: str
    audio: str
    """URL of its file, relative to the page."""
    picture: str
    """Waveform and spectrogram, as a data URL."""
    sec: float
    nearest: "NearestRow | None"


@dataclass(frozen=True)
class NearestRow:
    """The training sound that is nearest to a take."""

    clip_id: str
    audio: str
    """The excerpt as a data URL."""
    start_sec: float
    take_start_sec: float
    distance_db: float
    correlation: float
    is_copy: bool


def write_takes_page(folder: Path, data: str | None, split: str = "train") -> Path:
    """Write FOLDER/takes.html for all takes in a folder; return its path.

    Args:
        folder: Folder of `v2s sample --out`.
        data: Dataset that the model was trained on, to find what is nearest to each take; None: the
            page only shows the takes.
        split: Split of the dataset.

    Raises InputError when there are no takes, when a file is corrupt, and for a bad dataset.
    """
    paths = find_takes(folder)
    sounds, clock = None, Clock(sample_rate_hz=DEFAULT_RATE_HZ)
    if data is not None:
        source = open_dataset(data, split)
        clock = source.clock
        sounds = read_sounds(source)
    bar = tqdm(paths, desc="comparing takes", unit="take", dynamic_ncols=True)
    with tempfile.TemporaryDirectory() as scratch:
        rows = [_row(path, sounds, clock, Path(scratch)) for path in bar]
    page = folder / PAGE_FILE
    write_page(page, TEMPLATE, title=str(folder), takes=rows, kept_file=KEPT_FILE, data=data)
    return page


def find_takes(folder: Path) -> list[Path]:
    """Return the takes of a folder in order of their names; raise InputError without any."""
    with wrap_read_errors(folder):
        paths = sorted(folder.glob(TAKE_PATTERN), key=_natural_order)
    if not paths:
        raise InputError(
            f"{folder}: no {TAKE_PATTERN} in it: give the --out of v2s sample, or a folder in it"
        )
    return paths


def _natural_order(path: Path) -> tuple[str, int]:
    """Sort rank 10 after rank 9."""
    stem, _, rank = path.stem.rpartition("_")
    return (stem, int(rank)) if rank.isdecimal() else (path.stem, 0)


def _row(path: Path, sounds: TrainingSounds | None, clock: Clock, scratch: Path) -> TakeRow:
    rate_hz = clock.sample_rate_hz
    take = read_audio_file(path, rate_hz)
    if not len(take):
        raise InputError(f"{path}: has no samples: remove it")
    picture = scratch / "picture.png"
    key_frame_figure(picture, [], [], take, rate_hz, path.name)
    nearest = None
    if sounds is not None:
        excerpt = sounds.nearest(take)
        write_wav(scratch / "excerpt.wav", excerpt.waveform, rate_hz)
        nearest = NearestRow(
            excerpt.clip_id,
            data_url(scratch / "excerpt.wav", "audio/wav"),
            excerpt.start_sec,
            excerpt.take_start_sec,
            excerpt.distance_db,
            excerpt.correlation,
            excerpt.is_copy,
        )
    return TakeRow(
        path.name, quote(path.name), data_url(picture, "image/png"), len(take) / rate_hz, nearest
    )


def discard_takes(folder: Path, kept: Path) -> list[Path]:
    """Move the files of all takes that a list does not name to FOLDER/discarded.

    Args:
        folder: Folder of the takes.
        kept: The list that the page saved: a file name per line.

    Returns:
        The files that were moved.

    Raises:
        InputError: The list cannot be read, or names no take; or a file cannot be moved.
    """
    takes = find_takes(folder)
    with wrap_read_errors(kept):
        try:
            names = set(filter(None, map(str.strip, kept.read_text("utf-8").splitlines())))
        except UnicodeDecodeError as error:
            raise InputError(f"{kept}: is not UTF-8 text: save the list again") from error
    if not names:
        raise InputError(f"{kept}: keeps no take: choose at least one on the page, and save again")
    if unknown := sorted(names - {take.name for take in takes}):
        raise InputError(
            f"{kept}: names {', '.join(map(repr, unknown[:LISTED]))}, not in {folder}: save the "
            "list again, from the page of this folder"
        )
    target = folder / DISCARDED_FOLDER
    moves = [path for take in takes if take.name not in names for path in _files_of(take)]
    for path in moves:
        if (target / path.name).exists():
            raise InputError(f"{target / path.name}: already exists: move it elsewhere")
    for path in moves:
        try:
            target.mkdir(exist_ok=True)
            path.rename(target / path.name)
        except OSError as error:
            raise write_error(target / path.name, error.strerror) from error
    return moves


def _files_of(take: Path) -> Iterator[Path]:
    """Yield the wav, video and figure of a take."""
    yield from sorted(path for path in take.parent.iterdir() if path.stem == take.stem)
