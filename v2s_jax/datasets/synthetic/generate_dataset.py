"""Generate the synthetic dataset: clips as video files, and TFRecord shards of them."""

import dataclasses
import shutil
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from v2s_jax import __version__
from v2s_jax.datasets import ClipRecord, Metadata
from v2s_jax.datasets.schema import FORMAT_VERSION
from v2s_jax.datasets.synthetic.clip_files import ClipTask, check_existing, prepare_clip, write_flow
from v2s_jax.datasets.synthetic.floor import DEFAULT_ALPHABET
from v2s_jax.datasets.synthetic.spec import DatasetSpec, generator_digest
from v2s_jax.datasets.writer import dataset_exists_error, write_dataset
from v2s_jax.errors import InputError
from v2s_jax.features.extractor import ExtractorSpec, feature_dims, resolve_spec
from v2s_jax.io import directory_lock
from v2s_jax.processes import parallel_map

VERSION = "2.0.0"
"""Version of the datasets, which TFDS requires; its first number is the generator's version."""

PIXELS = ExtractorSpec()
"""The default extractor."""


def generate_dataset(
    out: Path,
    spec: DatasetSpec,
    workers: int,
    overwrite: bool = False,
    extractor: ExtractorSpec = PIXELS,
    with_flow: bool = False,
) -> Path:
    """Render the clips of `spec` under `out`, and write a dataset of them.

    Args:
        out: folder for the clips and the dataset.
        spec: the clips.
        workers: number of processes.
        overwrite: replace the dataset, and clips that differ from the spec.
        extractor: feature extractor.
        with_flow: write the exact optical flow next to each clip.

    Returns:
        The folder of the dataset.

    Raises:
        InputError: when the dataset or different clips exist and `overwrite` is false, or
            something cannot be written.
    """
    if workers < 1:
        raise InputError(f"--workers {workers}: must be at least 1")
    extractor = resolve_spec(extractor)
    folder = out / spec.name / VERSION
    with directory_lock(out):
        existing = sorted((out / spec.name).glob("[0-9]*"))  # also of earlier versions
        if existing and not overwrite:
            raise dataset_exists_error(existing[0])
        clips = out / "clips"
        tasks = clip_tasks(spec, clips, overwrite, extractor)
        check_existing(tasks)
        metadata = dataset_metadata(spec, extractor)
        try:
            with closing(_records(tasks, workers, spec, metadata)) as records:
                write_dataset(folder, metadata, spec.preset.splits, records, overwrite=overwrite)
            for earlier in existing:
                if earlier != folder:
                    shutil.rmtree(earlier)
            if with_flow:
                flows = parallel_map(write_flow, tasks, workers)
                for _ in tqdm(flows, total=len(tasks), desc="flow"):
                    pass
        except KeyboardInterrupt:
            print(
                f"\n{clips}: finished clips are kept; rerun the same command to resume",
                file=sys.stderr,
            )
            raise
    return folder


def clip_tasks(
    spec: DatasetSpec, clips: Path, overwrite: bool, extractor: ExtractorSpec
) -> list[ClipTask]:
    """List the clips to render in the folder `clips`, split by split."""
    return [
        ClipTask(clip, clips / clip.category, overwrite, extractor)
        for split in spec.preset.splits
        for clip in spec.clips(split)
    ]


def _records(
    tasks: list[ClipTask], workers: int, spec: DatasetSpec, metadata: Metadata
) -> Generator[tuple[str, ClipRecord], None, None]:
    """Yield each clip with its split, and add its floor to the metadata."""
    prepared = parallel_map(prepare_clip, tasks, workers)
    progress = tqdm(prepared, total=len(tasks), unit="clip", desc=spec.name)
    for task, (record, floor) in zip(tasks, progress, strict=True):
        if floor is not None:
            metadata.setdefault("floor_bits", {})[record.clip_id] = floor
            metadata["floor_levels"] = DEFAULT_ALPHABET._asdict()
        yield task.clip.split, record


def dataset_metadata(spec: DatasetSpec, extractor: ExtractorSpec) -> Metadata:
    """Return the metadata of a dataset."""
    clock = spec.clock
    appearance_dim, motion_dim = feature_dims(extractor.name)
    return Metadata(
        format_version=FORMAT_VERSION,
        extractor=extractor.name,
        extraction=dataclasses.asdict(extractor.extraction),
        appearance_dim=appearance_dim,
        motion_dim=motion_dim,
        sample_rate_hz=clock.sample_rate_hz,
        samples_per_video_frame=clock.samples_per_video_frame,
        samples_max=spec.preset.longest_video_frames(clock) * clock.samples_per_video_frame,
        categories=sorted(spec.preset.categories),
        made_by={
            "data_set": "synthetic",  # the key is part of the format
            "preset": spec.preset.name,
            "seed": spec.seed,
            "probe": spec.probe,
            "sound_codec": spec.audio_codec,
            "generator": generator_digest(),
            "v2s_jax": __version__,
        },
    )
