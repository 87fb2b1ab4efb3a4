"""`v2s prepare synthetic`: clips as video files, and the data set made of them."""

import dataclasses
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from tools.codes import PLAIN
from v2s_jax import __version__
from v2s_jax.cli.extractor_args import ExtractorWords
from v2s_jax.datasets import ClipRecord, Metadata, open_dataset
from v2s_jax.datasets.locking import CORES, directory_lock
from v2s_jax.datasets.schema import FORMAT_VERSION
from v2s_jax.datasets.synthetic.clip_files import ClipTask, check_finished, prepare_clip, write_flow
from v2s_jax.datasets.synthetic.generator_hash import generator_hash
from v2s_jax.datasets.synthetic.presets import PRESETS, Preset
from v2s_jax.datasets.synthetic.probes import PROBES, Probe
from v2s_jax.datasets.synthetic.recipe import DatasetSpec
from v2s_jax.datasets.writer import write_dataset
from v2s_jax.errors import InputError, unknown_name_error
from v2s_jax.features.extractor import ExtractorSpec, feature_dims, resolve_spec
from v2s_jax.media.encode import SoundCodec
from v2s_jax.worker_pool import parallel_map

VERSION = "1.0.0"
"""Version of the data sets, as TFDS wants one."""

PIXELS = ExtractorSpec()


@dataclass(frozen=True)
class SyntheticArgs:
    """Make the synthetic set: generated clips whose causes are known."""

    out: Path
    """Folder that gets the clips and the data set."""
    preset: str = "tiny"
    """How many clips: tiny, small, full, demo or pair."""
    probe: str = "none"
    """What alone decides the sound, or what disturbs the pictures (data/README.md): appearance,
    motion, foresight, delay, silence, counterfactual, distractor, frame_rate_other,
    frame_rate_variable, frame_rate_dropped."""
    sound_codec: SoundCodec = "flac"
    """How the clips' sound is stored; aac changes it, which voids the floor."""
    exact_flow: bool = False
    """Write the exact optical flow beside each clip."""
    seed: int = 0
    """Seed of every clip."""
    workers: int = CORES
    """Processes at work; one for each core unless given."""
    overwrite: bool = False
    """Replace a data set, or clips, made before."""
    features: Annotated[ExtractorWords, tyro.conf.arg(name="")] = field(
        default_factory=ExtractorWords
    )
    """What turns video frames into features."""

    def run(self) -> None:
        """Make the set and say what is in it."""
        order = DatasetSpec(
            preset_named(self.preset),
            seed=self.seed,
            probe=probe_named(self.probe),
            sound_codec=self.sound_codec,
        )
        folder = generate_dataset(
            self.out, order, self.workers, self.overwrite, self.features.spec, self.exact_flow
        )
        counts = [f"{len(open_dataset(folder, split))} {split}" for split in order.preset.splits]
        size_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        listed = f"{', '.join(counts[:-1])} and {counts[-1]}" if counts[1:] else counts[0]
        print(f"{folder}: {listed} clips, {size_mb:.0f} MB")
        print(f"{self.out / 'clips'}: the same clips as videos")


def preset_named(name: str) -> Preset:
    """Return a preset; raise InputError, with the nearest name, for one that is unknown."""
    if name not in PRESETS:
        raise unknown_name_error("--preset", name, PRESETS)
    return PRESETS[name]


def probe_named(name: str) -> Probe:
    """Return a probe's name; raise InputError, with the nearest, for one that is unknown."""
    for probe in PROBES:
        if name == probe:
            return probe
    raise unknown_name_error("--probe", name, PROBES)


def make_synthetic(
    out: Path,
    preset: Preset,
    seed: int,
    workers: int,
    overwrite: bool,
    extractor: ExtractorSpec = PIXELS,
) -> Path:
    """Make an ordinary set; see `generate_dataset`."""
    return generate_dataset(out, DatasetSpec(preset, seed), workers, overwrite, extractor)


def generate_dataset(
    out: Path,
    order: DatasetSpec,
    workers: int,
    overwrite: bool,
    extractor: ExtractorSpec = PIXELS,
    with_flow: bool = False,
) -> Path:
    """Make the clips of an order under `out`, and of them the data set; return its folder.

    Raises InputError when the data set is there and not to be overwritten, when clips there were
    made otherwise, and when something cannot be written.
    """
    if workers < 1:
        raise InputError(f"--workers {workers}: must be at least 1")
    check_order(order)
    extractor = resolve_spec(extractor)
    folder = out / order.name / VERSION
    with directory_lock(out):
        if folder.exists() and not overwrite:
            raise InputError(f"{folder}: there already: use --overwrite to replace it")
        tasks = clip_tasks(order, out / "clips", overwrite, extractor)
        check_finished(tasks)
        metadata = dataset_metadata(order, extractor)
        with _telling_what_stays(out / "clips"):
            with closing(_records(tasks, workers, order, metadata)) as records:
                write_dataset(folder, metadata, order.preset.splits, records, overwrite=overwrite)
            if with_flow:
                for _ in tqdm(
                    parallel_map(write_flow, tasks, workers), total=len(tasks), desc="flow"
                ):
                    pass
    return folder


@contextmanager
def _telling_what_stays(clips: Path) -> Iterator[None]:
    """Say after Ctrl-C what it leaves, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        print(
            f"\n{clips}: finished clips stay; the same words go on with the rest", file=sys.stderr
        )
        raise


def check_order(order: DatasetSpec) -> None:
    """Raise InputError for an order of nothing."""
    preset = order.preset
    if not preset.categories or "train" not in preset.splits or preset.test_clips < 1:
        raise InputError(f"preset {preset.name}: give at least one category, train and test clip")
    if order.preset.longest_video_frames(order.clock) < 1:
        raise InputError(f"preset {preset.name}: give clips of at least 1 video frame")


def _records(
    tasks: list[ClipTask], workers: int, order: DatasetSpec, metadata: Metadata
) -> Generator[tuple[str, ClipRecord], None, None]:
    """Yield each clip with its split, behind a progress bar that starts with the first one.

    Floors join the metadata, which are written when all clips have come.
    """
    prepared = parallel_map(prepare_clip, tasks, workers)
    shown = tqdm(prepared, total=len(tasks), unit="clip", desc=order.name)
    for task, (record, floor) in zip(tasks, shown, strict=True):
        if floor is not None:
            metadata.setdefault("floor_bits", {})[record.clip_id] = floor
            metadata["floor_levels"] = PLAIN._asdict()
        yield task.recipe.split, record


def clip_tasks(
    order: DatasetSpec, clips: Path, overwrite: bool, extractor: ExtractorSpec
) -> list[ClipTask]:
    """List the clips, split after split."""
    return [
        ClipTask(recipe, clips / recipe.category, overwrite, extractor)
        for split in order.preset.splits
        for recipe in order.recipes(split)
    ]


def dataset_metadata(order: DatasetSpec, extractor: ExtractorSpec) -> Metadata:
    """Return what holds for every clip of an order."""
    clock = order.clock
    appearance_dim, motion_dim = feature_dims(extractor.name)
    longest = order.preset.longest_video_frames(clock)
    return Metadata(
        format_version=FORMAT_VERSION,
        extractor=extractor.name,
        extraction=dataclasses.asdict(extractor.extraction),
        appearance_dim=appearance_dim,
        motion_dim=motion_dim,
        sample_rate_hz=clock.sample_rate_hz,
        samples_per_video_frame=clock.samples_per_video_frame,
        samples_max=longest * clock.samples_per_video_frame,
        categories=sorted(order.preset.categories),
        made_by={
            "data_set": "synthetic",
            "preset": order.preset.name,
            "seed": order.seed,
            "probe": order.probe,
            "sound_codec": order.sound_codec,
            "generator": generator_hash(),
            "v2s_jax": __version__,
        },
    )
