"""The TFDS builder of folders of videos: VEGAS, VAS, or CLASS/FILE of any origin.

    builder = Vegas(FolderSettings(source="VEGAS", ...), data_dir="datasets")
    builder.download_and_prepare(...)

finds the files (`layout`), chooses the held-out ones (`split`), extracts features on Beam
(`extraction`), and leaves the shards to TFDS. `v2s prepare folder` does all
this and puts the finished folder in its place.
"""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import tensorflow_datasets as tfds
from etils import epath

from v2s_jax import __version__
from v2s_jax.datasets import Metadata, record_features
from v2s_jax.datasets.folders.decode import ClipLength, loop_to_length
from v2s_jax.datasets.folders.extraction import Counts, ExtractionJob, extract, is_local
from v2s_jax.datasets.folders.feature_cache import FeatureCache
from v2s_jax.datasets.folders.layout import Ignored, Source, find_sources
from v2s_jax.datasets.folders.manifest import Row, write_manifest
from v2s_jax.datasets.folders.split import SPLITS, TEST, SplitRule, leaks, split_of
from v2s_jax.datasets.schema import FORMAT_VERSION
from v2s_jax.errors import InputError
from v2s_jax.features.extractor import feature_dims

VERSION = "1.0.0"


@dataclass(frozen=True)
class FolderSettings:
    """Everything that decides what becomes of a folder."""

    source: str
    """The folder of videos."""
    name: str
    """Name of the data set."""
    rule: SplitRule
    extraction: ExtractionJob
    beam_options: tuple[str, ...]
    leave_out: tuple[str, ...]
    """What the run itself writes, where that lies in the folder of videos."""
    failed_manifest: str
    """Where the manifest is written when a split gets no clip."""


class Vegas(tfds.core.GeneratorBasedBuilder):
    """Clips of a folder of videos, with features, for v2s_jax."""

    VERSION = tfds.core.Version(VERSION)

    def __init__(self, settings: FolderSettings, **kwargs: Any) -> None:
        self._settings = settings
        self.name = settings.name
        self.counts: Counts | None = None
        self.rows: list[Row] = []
        self.manifest: list[Row] = []
        """Every file, those too that cannot be a clip."""
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Clips of {self._settings.source}, with features, for v2s_jax.",
            features=record_features(*feature_dims(self._settings.extraction.extractor.name)),
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """Extract, write the manifest, and give each split its clips."""
        settings = self._settings
        sources, ignored = find_sources(settings.source, settings.leave_out)
        splits = split_of(sources, settings.rule)
        with self._rows_folder() as folder:
            found, self.counts = extract(
                sources, settings.extraction, settings.beam_options, folder
            )
        self.rows = decide(sources, splits, found)
        self.manifest = [*self.rows, *map(_ignored_row, ignored)]
        used = [row for row in self.rows if row.status == "used"]
        empty = [split for split in SPLITS if all(row.split != split for row in used)]
        if empty:
            write_manifest(epath.Path(settings.failed_manifest), self.manifest)
            raise InputError(
                f"{settings.source}: no clip for split {empty[0]}: {len(used)} of "
                f"{len(self.rows)} files can be used: add files, or hold out others with "
                f"--test-clips or --split-seed; {settings.failed_manifest} gives each reason"
            )
        self.info.metadata.update(_metadata(settings, used))
        return {
            split: self._generate_examples([row for row in used if row.split == split])
            for split in SPLITS
        }

    @contextmanager
    def _rows_folder(self) -> Iterator[epath.Path]:
        """Give a folder that all workers can write, and remove it."""
        if is_local(self._settings.beam_options):
            with tempfile.TemporaryDirectory() as folder:
                yield epath.Path(folder)
            return
        shared = epath.Path(self.data_dir) / f".rows-{uuid.uuid4().hex}"  # no other run's
        try:
            yield shared
        finally:
            if shared.exists():
                shared.rmtree()

    def _generate_examples(
        self, rows: list[Row]
    ) -> Iterator[tuple[str, dict[str, Any]]] | beam.PTransform:
        """Give TFDS each clip: one after the other here, by the workers of a cluster."""
        extraction = self._settings.extraction
        if is_local(self._settings.beam_options):
            return (_example(row, extraction.cache, extraction.shape) for row in rows)
        return beam.Create(rows) | beam.Map(_example, extraction.cache, extraction.shape)


def decide(sources: list[Source], splits: dict[str, str], rows: list[Row]) -> list[Row]:
    """Return the rows with their splits, without leaks and duplicates.

    A training clip from the YouTube video of a test clip that can be read is rejected, and so are
    other training files with its bytes; of files with equal bytes the test clip stays, or else the
    first one.
    """
    usable = {row.clip_id for row in rows if row.status == "used"}
    leaking = leaks([source for source in sources if source.clip_id in usable], splits)
    # The bytes leak under any name, also where no csv tells their video.
    leaked = {row.sha256: leaking[row.clip_id] for row in rows if row.clip_id in leaking}
    placed = [replace(row, split=splits[row.clip_id or ""]) for row in rows]
    first: dict[str | None, Row] = {}
    for row in sorted(placed, key=lambda row: row.split != TEST):  # stable: test clips lead
        if row.status == "used":
            first.setdefault(row.sha256, row)

    def decided(row: Row) -> Row:
        if row.status == "rejected":
            return row
        if row.split != TEST and row.sha256 in leaked:
            return replace(row, status="rejected", reason=leaked[row.sha256])
        original = first[row.sha256]
        if original is not row:
            reason = f"the same bytes as {original.source} ({original.split})"
            return replace(row, status="rejected", reason=reason)
        return row

    return [decided(row) for row in placed]


def _ignored_row(entry: Ignored) -> Row:
    return Row(source=entry.name, status="rejected", reason=entry.reason)


def _example(row: Row, cache: FeatureCache, shape: ClipLength) -> tuple[str, dict[str, Any]]:
    assert row.features is not None and row.clip_id is not None and row.category is not None
    once = cache.read(row.features)
    if once is None:
        raise InputError(
            f"{cache.path(row.features)}: gone or damaged since it was written: run again"
        )
    return row.clip_id, loop_to_length(once, row.clip_id, row.category, shape)._asdict()


def _metadata(settings: FolderSettings, used: list[Row]) -> Metadata:
    extractor, shape = settings.extraction.extractor, settings.extraction.shape
    appearance_dim, motion_dim = feature_dims(extractor.name)
    return Metadata(
        format_version=FORMAT_VERSION,
        extractor=extractor.name,
        extraction=vars(extractor.extraction).copy(),
        appearance_dim=appearance_dim,
        motion_dim=motion_dim,
        sample_rate_hz=shape.clock.sample_rate_hz,
        samples_per_video_frame=shape.clock.samples_per_video_frame,
        samples_max=shape.video_frames * shape.clock.samples_per_video_frame,
        categories=sorted({row.category for row in used if row.category}),
        made_by={
            "data_set": settings.name,
            "test_clips": settings.rule.test_clips,
            "split_seed": settings.rule.seed,
            "min_sec": shape.min_sec,
            "v2s_jax": __version__,
        },
    )
