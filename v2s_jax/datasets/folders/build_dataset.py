"""The story of `v2s prepare folder`: one writer, one builder, a folder that appears when whole."""

import io
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from v2s_jax.cli.prepare_folder import FolderArgs
from v2s_jax.datasets import open_dataset
from v2s_jax.datasets.folders.decode import ClipLength
from v2s_jax.datasets.folders.extraction import (
    ExtractionJob,
    check_options,
    is_local,
    local_options,
)
from v2s_jax.datasets.folders.feature_cache import FeatureCache
from v2s_jax.datasets.folders.manifest import MANIFEST, write_manifest
from v2s_jax.datasets.folders.split import SPLITS, SplitRule
from v2s_jax.datasets.folders.vegas import VERSION, FolderSettings, Vegas
from v2s_jax.datasets.locking import CORES, directory_lock
from v2s_jax.datasets.remote import is_remote
from v2s_jax.datasets.writer import import_tensorflow
from v2s_jax.errors import InputError
from v2s_jax.features.extractor import resolve_spec
from v2s_jax.io import atomic_directory

MAX_SHARD_BYTES = 200 * 10**6
"""TFDS advises 100 to 200 MB."""


def build_dataset(args: FolderArgs, beam_words: Sequence[str] = ()) -> tuple[epath.Path, Vegas]:
    """Make the data set; return its folder, and the builder with its rows and counts.

    Raises InputError when the data set is there and not to be overwritten, when no clip can be
    used, and when something cannot be written.
    """
    check_options(beam_words)
    wanted = settings(args, beam_words)
    folder = epath.Path(args.out) / args.name / VERSION
    if is_remote(args.out):
        _check_absent(folder, args.overwrite)
        builder = _build(wanted, args.out, args.overwrite)
        write_manifest(args.manifest, builder.manifest)
        args.failed_manifest.unlink(missing_ok=True)
        return folder, builder
    with directory_lock(Path(args.out)):
        _check_absent(folder, args.overwrite)
        with atomic_directory(Path(folder)) as temporary:
            builder = _build(wanted, str(temporary), overwrite=False)
            made = temporary / args.name / VERSION
            for split in SPLITS:
                open_dataset(made, split)  # leaves the index of records beside the shards
            beside = list(temporary.iterdir())
            for path in made.iterdir():
                path.rename(temporary / path.name)
            for left in beside:  # of TFDS: the emptied folder, and one for downloads
                shutil.rmtree(left)
            # Before the data set appears: a disk that is full now leaves the old ones in place.
            write_manifest(epath.Path(temporary / MANIFEST), builder.manifest)
        (Path(folder) / MANIFEST).replace(args.manifest)
        args.failed_manifest.unlink(missing_ok=True)
    return folder, builder


def settings(args: FolderArgs, beam_words: Sequence[str]) -> FolderSettings:
    """Return what the builder needs; Beam's words come after ours, so they win."""
    workers = args.workers or (CORES if args.features.extractor == "pixels" else 1)
    options = (*local_options(workers), *beam_words)
    if not is_local(options):
        options = tuple(beam_words)
    cache = args.cache or str(epath.Path(args.out) / "cache")
    made = (args.out, cache, args.manifest, args.failed_manifest, args.manifest.parent / VERSION)
    return FolderSettings(
        source=args.source,
        name=args.name,
        rule=SplitRule(args.test_clips, args.split_seed),
        extraction=ExtractionJob(
            extractor=resolve_spec(args.features.spec),
            shape=ClipLength(video_frames=args.video_frames, min_sec=args.min_sec),
            cache=FeatureCache(cache),
        ),
        beam_options=options,
        leave_out=tuple(map(str, made)),
        failed_manifest=str(args.failed_manifest),
    )


def _check_absent(folder: epath.Path, overwrite: bool) -> None:
    if folder.exists() and not overwrite:
        raise InputError(f"{folder}: there already: use --overwrite to replace it")


def _build(settings: FolderSettings, data_dir: str, overwrite: bool) -> Vegas:
    tensorflow = import_tensorflow()
    tfds.disable_progress_bar()
    mode = tfds.GenerateMode.REUSE_DATASET_IF_EXISTS
    config = tfds.download.DownloadConfig(
        try_download_gcs=False,
        max_shard_size=MAX_SHARD_BYTES,
        beam_options=PipelineOptions(list(settings.beam_options)),
        download_mode=tfds.GenerateMode.REUSE_CACHE_IF_EXISTS if overwrite else mode,
    )
    builder = Vegas(settings, data_dir=data_dir)
    try:
        with redirect_stdout(io.StringIO()):  # TFDS names a folder that is renamed soon
            builder.download_and_prepare(download_config=config)
    except (OSError, tensorflow.errors.OpError) as error:
        raise InputError(
            f"{data_dir}: cannot be written ({str(error).splitlines()[0]}): free space or choose "
            "another folder"
        ) from error
    return builder


def tell(folder: epath.Path, builder: Vegas, manifest: epath.Path) -> None:
    """Say what became of the files."""
    used = Counter(row.split for row in builder.rows if row.status == "used")
    rejected = sum(row.status == "rejected" for row in builder.manifest)
    counts = builder.counts
    assert counts is not None
    print(f"{folder}: {used['train']} train and {used['test']} test clips")
    print(f"features: {counts.extracted} files extracted, {counts.cached} found in the cache")
    print(f"{manifest}: every file, {rejected} of them rejected with the reason")
