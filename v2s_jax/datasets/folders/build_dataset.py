"""Build a dataset from a folder of videos: VEGAS, VAS, or CLASS/FILE of any origin.

`build_dataset` finds the files (`layout`), extracts features with Beam (`extraction`), chooses the
test clips (`split`), and lets the same workers write the shards. The finished folder appears
atomically; in a bucket, its JSON files come last.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from etils import epath

from v2s_jax import __version__
from v2s_jax.bucket import Bucket, check_url, url_of, wrap_bucket_errors
from v2s_jax.datasets import Metadata, open_dataset
from v2s_jax.datasets.folders.decode import FeatureCache, loop_to_length
from v2s_jax.datasets.folders.extraction import (
    Counts,
    ExtractionJob,
    check_args,
    extract,
    local_args,
    run_on_workers,
)
from v2s_jax.datasets.folders.layout import find_sources
from v2s_jax.datasets.folders.manifest import MANIFEST, Row, write_manifest
from v2s_jax.datasets.folders.settings import VERSION, FolderSettings
from v2s_jax.datasets.folders.split import SPLITS, assign_splits, split_clips
from v2s_jax.datasets.schema import FORMAT_VERSION
from v2s_jax.datasets.writer import (
    ShardWriter,
    dataset_exists_error,
    dataset_features,
    shard_name,
    write_info,
)
from v2s_jax.errors import InputError, first_line, write_error
from v2s_jax.features.extractor import ExtractorSpec, feature_dims, resolve_spec
from v2s_jax.io import atomic_directory, directory_lock
from v2s_jax.processes import CPU_COUNT

DEFAULT_EXTRACTOR = ExtractorSpec()

MAX_SHARD_BYTES = 200 * 10**6
"""TFDS recommends 100 to 200 MB."""
BYTES_PER_VALUE = 2
"""Of int16 samples and float16 features."""


class BuiltDataset(NamedTuple):
    """What `build_dataset` did."""

    manifest: list[Row]
    """Every file, including those that cannot be a clip."""
    counts: Counts


class Shard(NamedTuple):
    """A file of a dataset, and the clips in it."""

    path: str
    rows: tuple[Row, ...]


def build_dataset(
    settings: FolderSettings,
    extractor: ExtractorSpec = DEFAULT_EXTRACTOR,
    beam_args: tuple[str, ...] = (),
) -> BuiltDataset:
    """Build the dataset `settings.folder`.

    Returns a row for each file and the counts of the extraction. Raises InputError when the dataset
    exists, no clip is usable, or something cannot be written.
    """
    check_args(beam_args)
    for path in filter(None, (settings.source, settings.out, settings.cache)):
        if url := url_of(path):
            check_url(url)
            if not str(path).startswith(url):
                raise InputError(f"{path}: write it as {url}")
    if url_of(settings.out):
        Bucket(str(settings.out))  # if it is wrong, say so before features are extracted
    folder = settings.folder
    workers = settings.workers or (CPU_COUNT if extractor.name == "pixels" else 1)
    args = (*local_args(workers), *beam_args)  # the user's override ours
    job = ExtractionJob(
        extractor=resolve_spec(extractor),
        length=settings.length,
        cache=FeatureCache(settings.cache_folder),
    )
    try:
        if url_of(settings.out):
            _check_absent(settings)
            with wrap_bucket_errors(str(folder), "written"):
                # Without its JSON files the old dataset is none, however far the new one comes.
                for path in sorted(folder.glob("*"), key=lambda path: path.suffix != ".json"):
                    path.unlink()
                built = _build(settings, job, args, folder)
                write_manifest(settings.manifest, built.manifest)
        else:
            with directory_lock(Path(settings.out)):
                _check_absent(settings)
                with atomic_directory(Path(folder)) as temporary:
                    built = _build(settings, job, args, epath.Path(temporary))
                    # Written before the swap: if the disk is full now, the old dataset stays.
                    write_manifest(epath.Path(temporary / MANIFEST), built.manifest)
                (Path(folder) / MANIFEST).replace(settings.manifest)
    except OSError as error:
        raise write_error(folder, first_line(error)) from error
    settings.failed_manifest.unlink(missing_ok=True)
    return built


def _check_absent(settings: FolderSettings) -> None:
    if settings.folder.exists() and not settings.overwrite:
        raise dataset_exists_error(settings.folder)


def _build(
    settings: FolderSettings, job: ExtractionJob, beam_args: tuple[str, ...], folder: epath.Path
) -> BuiltDataset:
    """Extract features, decide on every file, and write the shards of each split to `folder`."""
    sources, ignored = find_sources(settings.source, settings.outputs)
    if not url_of(folder):  # s3 would make a bucket
        folder.mkdir(parents=True, exist_ok=True)
    rows, counts = extract(sources, job, beam_args, folder)
    usable = [source for source, row in zip(sources, rows, strict=True) if row.status == "used"]
    splits = split_clips(usable, settings.test_clips, settings.split_seed)
    rows = assign_splits(rows, splits)
    rejected = [Row(source=f.name, status="rejected", reason=f.reason) for f in ignored]
    used = [row for row in rows if row.status == "used"]
    empty = [split for split in SPLITS if all(row.split != split for row in used)]
    if empty:
        write_manifest(settings.failed_manifest, rows + rejected)
        raise InputError(
            f"{settings.source}: no clip for split {empty[0]}: {len(used)} of {len(rows)} "
            "files can be used: add files, or change --test-clips or --split-seed; "
            f"{settings.failed_manifest} gives the reason for each file"
        )
    metadata = _metadata(settings, job, used)
    shards = {split: _plan_shards(settings, metadata, folder, split, used) for split in SPLITS}
    every = [shard for of_split in shards.values() for shard in of_split]
    run_on_workers(every, ShardJob(job, metadata), beam_args)
    write_info(
        folder,
        (settings.name, VERSION),
        metadata,
        {split: [len(shard.rows) for shard in of_split] for split, of_split in shards.items()},
    )
    for split in SPLITS:
        open_dataset(folder, split)  # writes the record index
    return BuiltDataset(rows + rejected, counts)


def _plan_shards(
    settings: FolderSettings, metadata: Metadata, folder: epath.Path, split: str, used: list[Row]
) -> list[Shard]:
    """Divide the clips of a split among shards, in an order that does not follow the categories."""
    rows = [row for row in used if row.split == split]
    rows.sort(key=lambda row: hashlib.sha256((row.clip_id or "").encode()).digest())
    width = metadata["appearance_dim"] + metadata["motion_dim"]
    length = settings.length
    clip_bytes = BYTES_PER_VALUE * (length.samples + length.video_frames * width)
    per_shard = max(1, MAX_SHARD_BYTES // clip_bytes)
    parts = [tuple(rows[first : first + per_shard]) for first in range(0, len(rows), per_shard)]
    return [
        Shard(str(folder / shard_name(settings.name, split, number, len(parts))), part)
        for number, part in enumerate(parts)
    ]


@dataclass(frozen=True)
class ShardJob:
    """Writes one shard, in a worker."""

    job: ExtractionJob
    metadata: Metadata

    def __call__(self, shard: Shard) -> None:
        """Write the clips of a shard from the feature cache."""
        with ShardWriter(epath.Path(shard.path), dataset_features(self.metadata)) as writer:
            for row in shard.rows:
                assert row.features is not None
                assert row.clip_id is not None and row.category is not None
                decoded = self.job.cache.read(row.features)
                if decoded is None:
                    raise InputError(
                        f"{self.job.cache.path(row.features)}: missing or corrupt: rerun the same "
                        "command to resume"
                    )
                writer.write(loop_to_length(decoded, row.clip_id, row.category, self.job.length))


def format_summary(settings: FolderSettings, built: BuiltDataset) -> str:
    """Return how many clips were used, computed and rejected."""
    used = Counter(row.split for row in built.manifest if row.status == "used")
    rejected = sum(row.status == "rejected" for row in built.manifest)
    counts = built.counts
    return (
        f"{settings.folder}: {used['train']} train and {used['test']} test clips\n"
        f"features: {counts.extracted} files extracted, {counts.cached} found in the cache\n"
        f"{settings.manifest}: all files, {rejected} of them rejected with the reason"
    )


def _metadata(settings: FolderSettings, job: ExtractionJob, used: list[Row]) -> Metadata:
    clock = job.length.clock
    appearance_dim, motion_dim = feature_dims(job.extractor.name)
    return Metadata(
        format_version=FORMAT_VERSION,
        extractor=job.extractor.name,
        extraction=vars(job.extractor.extraction).copy(),
        appearance_dim=appearance_dim,
        motion_dim=motion_dim,
        sample_rate_hz=clock.sample_rate_hz,
        samples_per_video_frame=clock.samples_per_video_frame,
        samples_max=job.length.samples,
        categories=sorted({row.category for row in used if row.category}),
        made_by={
            "data_set": settings.name,  # the key is part of the format
            "test_clips": settings.test_clips,
            "split_seed": settings.split_seed,
            "min_sec": job.length.min_sec,
            "v2s_jax": __version__,
        },
    )
