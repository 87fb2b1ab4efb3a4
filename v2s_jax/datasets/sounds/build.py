"""Build a dataset from class folders of recordings: CLASS/.../FILE."""

import dataclasses
import hashlib
import itertools
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Float32
from tqdm import tqdm

from v2s_jax import __version__
from v2s_jax.config import ExtractorConfig
from v2s_jax.config.extractor import RESERVED_NAMES
from v2s_jax.datasets.folders.manifest import MANIFEST, Row, write_manifest
from v2s_jax.datasets.schema import FORMAT_VERSION, ClipRecord, Metadata
from v2s_jax.datasets.sounds.augmentation import augment
from v2s_jax.datasets.sounds.duplicates import find_duplicates
from v2s_jax.datasets.sounds.recording import ClipLength, cut, read_recording
from v2s_jax.datasets.sounds.settings import SoundSettings
from v2s_jax.datasets.writer import dataset_exists_error, write_dataset
from v2s_jax.errors import InputError, unknown_name_error
from v2s_jax.features.controls import CONTROLS_VERSION, MOTION_DIM, category_range
from v2s_jax.features.excerpts import encode
from v2s_jax.io import directory_lock
from v2s_jax.quantize import INT16_SCALE

TRAIN, TEST = "train", "test"
TEST_SHARE = 10
"""One recording in ten of a class is held out, at least one."""
NOT_SOUND = frozenset(
    {".csv", ".html", ".jpeg", ".jpg", ".json", ".md", ".pdf", ".png", ".txt", ".xml", ".yaml"}
)
"""Suffixes of what lies beside recordings."""

Waveform = Float32[np.ndarray, " samples"]
logger = logging.getLogger(__name__)


class Recording(NamedTuple):
    """One file that can be used."""

    name: str
    """Path inside the folder."""
    category: str
    waveform: Waveform


def build_dataset(settings: SoundSettings) -> list[Row]:
    """Write the dataset, and return what happened to each file.

    Raises InputError when the dataset exists, when no class has two recordings that can be used,
    or when something cannot be written.
    """
    settings.check()
    files = find_recordings(settings.source, settings.out)
    _check_synthetic(settings, {category for _, category in files})
    with directory_lock(settings.out):
        if settings.folder.exists() and not settings.overwrite:
            raise dataset_exists_error(settings.folder)
        recordings, rejected = _read_all(files, settings)
        splits = split_recordings(recordings, settings)
        twins = _find_twins(recordings, splits, settings)
        used = [recording for recording in recordings if recording.name not in twins]
        _check_trainable(used, splits, settings)
        categories = sorted({recording.category for recording in used})
        records = list(_records(used, splits, categories, settings))
        write_dataset(
            settings.folder,
            _metadata(settings, categories, records),
            (TRAIN, TEST),
            records,
            overwrite=settings.overwrite,
        )
        rows = rejected + [
            Row(
                source=recording.name,
                status="rejected" if recording.name in twins else "used",
                reason=_twin_reason(twins.get(recording.name)),
                category=recording.category,
                split=splits[recording.name],
                samples=len(recording.waveform),
            )
            for recording in recordings
        ]
        write_manifest(epath.Path(settings.folder.parent / MANIFEST), rows)
    return rows


def _check_synthetic(settings: SoundSettings, categories: set[str]) -> None:
    for name in settings.synthetic:
        if name not in categories:
            raise unknown_name_error("--synthetic", name, sorted(categories))


def _twin_reason(twin: str | None) -> str | None:
    return None if twin is None else f"the same recording as {twin}, which is held out"


def format_summary(settings: SoundSettings, rows: Sequence[Row]) -> str:
    """Return how many recordings are used, and how many seconds of each category."""
    used = [row for row in rows if row.status == "used"]
    samples: Counter[str] = Counter()
    for row in used:
        samples[row.category or ""] += row.samples or 0
    listed = ", ".join(
        f"{name} {count / settings.sample_rate_hz:.0f} s" for name, count in sorted(samples.items())
    )
    test = sum(row.split == TEST for row in used)
    return (
        f"{settings.folder}: {len(used) - test} train and {test} test recordings: {listed}\n"
        f"{settings.folder.parent / MANIFEST}: all files, {len(rows) - len(used)} of them rejected "
        "with the reason"
    )


def find_recordings(source: Path, out: Path) -> list[tuple[str, str]]:
    """Return the files in class folders: path inside the folder, and category.

    The folder `out` of the command's own outputs is left out. Raises InputError when there are no
    files, and for a class folder whose name cannot be a category.
    """
    if not source.is_dir():
        raise InputError(f"{source}: no such folder: give the folder that holds the class folders")
    found = []
    for path in sorted(source.rglob("*")):
        parts = path.relative_to(source).parts
        is_hidden = any(part.startswith(".") for part in parts)
        if len(parts) < 2 or is_hidden or path.suffix.lower() in NOT_SOUND or not path.is_file():
            continue
        if out.resolve() in path.resolve().parents:
            continue
        if parts[0] in RESERVED_NAMES or not parts[0].isprintable():
            raise InputError(
                f"{source / parts[0]}: this name cannot be a category: rename the folder; also "
                f"{', '.join(RESERVED_NAMES)} cannot"
            )
        found.append(("/".join(parts), parts[0]))
    if not found:
        raise InputError(f"{source}: no recordings in class folders: arrange them as CLASS/FILE")
    return found


def _read_all(
    files: Sequence[tuple[str, str]], settings: SoundSettings
) -> tuple[list[Recording], list[Row]]:
    recordings, rejected = [], []
    for name, category in tqdm(files, unit="file", desc="reading"):
        try:
            path = settings.source / name
            waveform = read_recording(path, settings.clock, settings.min_sec)
            recordings.append(Recording(name, category, waveform))
        except InputError as error:
            rejected.append(Row(name, "rejected", str(error), category))
    empty = {category for _, category in files} - {each.category for each in recordings}
    for category in sorted(empty):
        logger.warning("warning: %s: none of its files can be used", category)
    return recordings, rejected


def split_recordings(recordings: Sequence[Recording], settings: SoundSettings) -> dict[str, str]:
    """Return the split of each recording, by its name.

    A class with one recording is trained on, and has no test clip; a warning says so.
    """
    by_category: dict[str, list[str]] = defaultdict(list)
    for recording in recordings:
        by_category[recording.category].append(recording.name)
    splits: dict[str, str] = {}
    for category, names in by_category.items():
        test = _held_out(names, settings)
        if not test:
            logger.warning("warning: %s: no recording is held out", category)
        splits |= {name: TEST if name in test else TRAIN for name in names}
    return splits


def _held_out(names: Sequence[str], settings: SoundSettings) -> set[str]:
    if settings.test_files:
        return {
            name
            for name in names
            if any(fnmatch(name.rsplit("/", 1)[-1], pattern) for pattern in settings.test_files)
        }
    if len(names) == 1:
        return set()
    count = max(1, len(names) // TEST_SHARE)
    return set(sorted(names, key=lambda name: _digest(settings.seed, name))[:count])


def _digest(seed: int, name: str, copy: int = 0) -> bytes:
    return hashlib.sha256(f"{seed}/{copy}/{name}".encode(errors="surrogateescape")).digest()


def _find_twins(
    recordings: Sequence[Recording], splits: dict[str, str], settings: SoundSettings
) -> dict[str, str]:
    """Return the training recordings that a test recording repeats, of their category or, if the
    samples are the same, of any.
    """
    test = {_hash(each.waveform): each.name for each in recordings if splits[each.name] == TEST}
    twins = {
        each.name: test[_hash(each.waveform)]
        for each in recordings
        if splits[each.name] == TRAIN and _hash(each.waveform) in test
    }
    # Synthetic sounds may share parts, such as a boom that follows from the distance alone.
    recorded = {recording.category for recording in recordings} - set(settings.synthetic)
    for category in sorted(recorded):
        groups: dict[str, dict[str, Waveform]] = {TRAIN: {}, TEST: {}}
        for recording in recordings:
            if recording.category == category:
                groups[splits[recording.name]][recording.name] = recording.waveform
        twins |= find_duplicates(groups[TEST], groups[TRAIN], settings.clock)
    return twins


def _hash(waveform: Waveform) -> bytes:
    return hashlib.sha256(waveform.tobytes()).digest()


def _check_trainable(
    used: Sequence[Recording], splits: dict[str, str], settings: SoundSettings
) -> None:
    counts = Counter((recording.category, splits[recording.name]) for recording in used)
    for category in sorted({recording.category for recording in used}):
        if not counts[category, TRAIN]:
            raise InputError(
                f"{settings.source / category}: every recording is held out: add others, or change "
                "--test-files"
            )
    if not any(split == TEST for _, split in counts):
        raise InputError(
            f"{settings.source}: no recording is held out: add recordings, or change --test-files"
        )


def _records(
    used: Sequence[Recording],
    splits: dict[str, str],
    categories: Sequence[str],
    settings: SoundSettings,
) -> Iterator[tuple[str, ClipRecord]]:
    """Yield the clips of all recordings and their variations, each with its split."""
    clock, length = settings.clock, ClipLength(settings.video_frames, settings.min_sec)
    for recording in used:
        split = splits[recording.name]
        weights = np.array([name == recording.category for name in categories], np.float32)
        for copy in range(settings.copies + 1 if split == TRAIN else 1):
            waveform = recording.waveform
            if copy:
                seed = int.from_bytes(_digest(settings.seed, recording.name, copy)[:8])
                waveform = augment(waveform, clock.sample_rate_hz, seed)
            variation = f"~{copy}" if copy else ""
            for number, (piece, controls) in enumerate(cut(waveform, clock, length, weights)):
                levels = np.clip(np.rint(piece * INT16_SCALE), -INT16_SCALE, INT16_SCALE - 1)
                # a/b-c and a-b/c would have one id without the digest.
                path = recording.name.replace("/", "-")
                clip_id = f"{path}-{_digest(0, recording.name).hex()[:6]}{variation}-{number}"
                yield (
                    split,
                    ClipRecord(clip_id, recording.category, levels.astype(np.int16), *controls),
                )


def _metadata(
    settings: SoundSettings, categories: Sequence[str], records: Sequence[tuple[str, ClipRecord]]
) -> Metadata:
    motions: dict[str, list[np.ndarray]] = {name: [] for name in categories}
    for split, record in records:
        if split == TRAIN:
            # The last video frame may be padded.
            motions[record.category].append(record.motion[: max(1, len(record.motion) - 1)])
    ranges = [category_range(each) for each in motions.values()]
    extraction = ExtractorConfig(
        controls_version=CONTROLS_VERSION,
        categories=tuple(categories),
        control_quantiles=tuple(itertools.chain(*(each.quantiles for each in ranges))),
        control_memory=tuple(each.memory for each in ranges),
        control_excerpts=tuple(map(encode, motions.values())),
        synthetic_categories=tuple(name for name in categories if name in settings.synthetic),
    )
    return Metadata(
        format_version=FORMAT_VERSION,
        extractor="controls",
        extraction=dataclasses.asdict(extraction),
        appearance_dim=len(categories),
        motion_dim=MOTION_DIM,
        sample_rate_hz=settings.clock.sample_rate_hz,
        samples_per_video_frame=settings.clock.samples_per_video_frame,
        samples_max=0,  # computed by the writer
        categories=list(categories),
        made_by={
            "data_set": "sounds",  # the key is part of the format
            "source": settings.source.name,
            "copies": settings.copies,
            "seed": settings.seed,
            "v2s_jax": __version__,
        },
    )
