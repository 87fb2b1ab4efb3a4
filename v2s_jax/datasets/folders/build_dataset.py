"""Build a dataset from a folder of videos: VEGAS, VAS, or CLASS/FILE of any origin.

`build_dataset` finds the files (`layout`), chooses the test clips (`split`), extracts features with
Beam (`extraction`), and lets the TFDS builder `Vegas` write the shards. The finished folder appears
atomically.
"""

import io
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from v2s_jax import __version__
from v2s_jax.datasets import Metadata, open_dataset, record_features
from v2s_jax.datasets.folders.decode import ClipLength, FeatureCache, loop_to_length
from v2s_jax.datasets.folders.extraction import (
    Counts,
    ExtractionJob,
    check_args,
    extract,
    is_local,
    local_args,
)
from v2s_jax.datasets.folders.layout import find_sources
from v2s_jax.datasets.folders.manifest import MANIFEST, Row, write_manifest
from v2s_jax.datasets.folders.settings import VERSION, FolderSettings
from v2s_jax.datasets.folders.split import SPLITS, assign_splits, split_clips
from v2s_jax.datasets.remote import is_remote
from v2s_jax.datasets.schema import FORMAT_VERSION
from v2s_jax.datasets.writer import dataset_exists_error, import_tensorflow
from v2s_jax.errors import InputError, first_line, write_error
from v2s_jax.features.extractor import ExtractorSpec, feature_dims, resolve_spec
from v2s_jax.io import atomic_directory, directory_lock
from v2s_jax.processes import CPU_COUNT

DEFAULT_EXTRACTOR = ExtractorSpec()

MAX_SHARD_BYTES = 200 * 10**6
"""TFDS recommends 100 to 200 MB."""


def build_dataset(
    settings: FolderSettings,
    extractor: ExtractorSpec = DEFAULT_EXTRACTOR,
    beam_args: tuple[str, ...] = (),
) -> "Vegas":
    """Build the dataset `settings.folder`.

    Returns the TFDS builder, with a row for each file and the counts of the extraction. Raises
    InputError when the dataset exists, no clip is usable, or something cannot be written.
    """
    check_args(beam_args)
    folder = settings.folder
    if is_remote(settings.out):
        _check_absent(settings)
        builder = _run_builder(settings, extractor, beam_args, settings.out)
        write_manifest(settings.manifest, builder.manifest)
    else:
        with directory_lock(Path(settings.out)):
            _check_absent(settings)
            with atomic_directory(Path(folder)) as temporary:
                builder = _run_builder(settings, extractor, beam_args, str(temporary))
                _move_up(temporary, temporary / settings.name / VERSION)
                # Written before the swap: if the disk is full now, the old dataset stays.
                write_manifest(epath.Path(temporary / MANIFEST), builder.manifest)
            (Path(folder) / MANIFEST).replace(settings.manifest)
    settings.failed_manifest.unlink(missing_ok=True)
    return builder


def _move_up(temporary: Path, dataset: Path) -> None:
    """Move the dataset's files to `temporary` and remove the other folders that TFDS made."""
    for split in SPLITS:
        open_dataset(dataset, split)  # writes the record index
    leftovers = list(temporary.iterdir())
    for path in dataset.iterdir():
        path.rename(temporary / path.name)
    for path in leftovers:
        shutil.rmtree(path)


def _check_absent(settings: FolderSettings) -> None:
    if settings.folder.exists() and not settings.overwrite:
        raise dataset_exists_error(settings.folder)


def _run_builder(
    settings: FolderSettings, extractor: ExtractorSpec, beam_args: tuple[str, ...], data_dir: str
) -> "Vegas":
    tensorflow = import_tensorflow()
    tfds.disable_progress_bar()
    workers = settings.workers or (CPU_COUNT if extractor.name == "pixels" else 1)
    args = (*local_args(workers), *beam_args)  # the user's override ours
    builder = Vegas(settings, extractor, args if is_local(args) else beam_args, data_dir=data_dir)
    config = tfds.download.DownloadConfig(
        try_download_gcs=False,
        max_shard_size=MAX_SHARD_BYTES,
        beam_options=PipelineOptions(list(builder.beam_args)),
        download_mode=tfds.GenerateMode.REUSE_CACHE_IF_EXISTS,  # `_check_absent` comes first
    )
    try:
        with redirect_stdout(io.StringIO()):  # TFDS prints the name of a temporary folder
            builder.download_and_prepare(download_config=config)
    except (OSError, tensorflow.errors.OpError) as error:
        raise write_error(data_dir, first_line(error)) from error
    return builder


def format_summary(settings: FolderSettings, builder: "Vegas") -> str:
    """Return how many clips were used, computed and rejected."""
    used = Counter(row.split for row in builder.manifest if row.status == "used")
    rejected = sum(row.status == "rejected" for row in builder.manifest)
    counts = builder.counts
    assert counts is not None
    return (
        f"{settings.folder}: {used['train']} train and {used['test']} test clips\n"
        f"features: {counts.extracted} files extracted, {counts.cached} found in the cache\n"
        f"{settings.manifest}: all files, {rejected} of them rejected with the reason"
    )


class Vegas(tfds.core.GeneratorBasedBuilder):
    """TFDS builder: clips of a folder of videos, with features, for v2s_jax."""

    VERSION = tfds.core.Version(VERSION)

    def __init__(
        self,
        settings: FolderSettings,
        extractor: ExtractorSpec,
        beam_args: tuple[str, ...],
        **kwargs: Any,
    ) -> None:
        self._settings = settings
        self._job = ExtractionJob(
            extractor=resolve_spec(extractor),
            length=settings.length,
            cache=FeatureCache(settings.cache_folder),
        )
        self.name = settings.name
        self.beam_args = beam_args
        self.counts: Counts | None = None
        self.manifest: list[Row] = []
        """Every file, including those that cannot be a clip."""
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Clips of {self._settings.source}, with features, for v2s_jax.",
            features=record_features(*feature_dims(self._job.extractor.name)),
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """Extract features, decide on every file, and give each split its clips."""
        settings = self._settings
        sources, ignored = find_sources(settings.source, settings.outputs)
        rows, self.counts = extract(sources, self._job, self.beam_args, epath.Path(self.data_dir))
        usable = [source for source, row in zip(sources, rows, strict=True) if row.status == "used"]
        splits = split_clips(usable, settings.test_clips, settings.split_seed)
        rows = assign_splits(rows, splits)
        rejected = [Row(source=f.name, status="rejected", reason=f.reason) for f in ignored]
        self.manifest = rows + rejected
        used = [row for row in rows if row.status == "used"]
        empty = [split for split in SPLITS if all(row.split != split for row in used)]
        if empty:
            write_manifest(settings.failed_manifest, self.manifest)
            raise InputError(
                f"{settings.source}: no clip for split {empty[0]}: {len(used)} of {len(rows)} "
                "files can be used: add files, or change --test-clips or --split-seed; "
                f"{settings.failed_manifest} gives the reason for each file"
            )
        self.info.metadata.update(_metadata(settings, self._job, used))
        return {
            split: self._generate_examples([row for row in used if row.split == split])
            for split in SPLITS
        }

    def _generate_examples(
        self, rows: list[Row]
    ) -> Iterator[tuple[str, dict[str, Any]]] | beam.PTransform:
        """Yield the clips one by one locally, or let the workers of a cluster make them."""
        cache, length = self._job.cache, self._job.length
        if is_local(self.beam_args):
            return (_example(row, cache, length) for row in rows)
        return beam.Create(rows) | beam.Map(_example, cache, length)


def _example(row: Row, cache: FeatureCache, length: ClipLength) -> tuple[str, dict[str, Any]]:
    assert row.features is not None and row.clip_id is not None and row.category is not None
    decoded = cache.read(row.features)
    if decoded is None:
        raise InputError(
            f"{cache.path(row.features)}: missing or corrupt: rerun the same command to resume"
        )
    return row.clip_id, loop_to_length(decoded, row.clip_id, row.category, length)._asdict()


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
