"""Make a data set: clips, features, TFRecord shards.

    python -m data.prepare synthetic --preset tiny --out DIR

leaves DIR/clips/CATEGORY/CLIP.mp4 with a .json beside each (category, event times), and the TFDS
folder DIR/synthetic_tiny/1.0.0, which training opens. Run again, it takes up where it stopped.

    python -m data.prepare folder VIDEOS --out DIR

makes a data set of videos in class folders (docs/data.md), DIR/vegas/1.0.0, and

    python -m data.prepare stats DIR/vegas

tells how many clips of which length it holds.
"""

import dataclasses
import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from data.clips import ClipTask, Recipe, generator_digest, prepare_clip
from data.extractor_words import ExtractorWords
from data.folder import FolderArgs
from data.locking import CORES, only_one_writer
from data.pool import in_order
from data.shards import write_data_set
from data.stats import StatsArgs
from data.synthetic.generator import SPLITS
from data.synthetic.presets import PRESETS, Preset
from v2s_jax import __version__
from v2s_jax.commands.door import run_door
from v2s_jax.commands.words import read_words
from v2s_jax.config import Clock
from v2s_jax.errors import InputError, unknown
from v2s_jax.features.extractor import ExtractorSpec, feature_dims, resolved
from v2s_jax.records import ClipRecord, Metadata, open_data_set
from v2s_jax.records.schema import FORMAT_VERSION

VERSION = "1.0.0"
"""Version of the data sets, as TFDS wants one."""

PIXELS = ExtractorSpec()

app = tyro.extras.SubcommandApp()


@app.command(name="synthetic")
@dataclass(frozen=True)
class SyntheticArgs:
    """Make the synthetic set: generated clips whose causes are known."""

    out: Path
    """Folder that gets the clips and the data set."""
    preset: str = "tiny"
    """How many clips: tiny, demo or pair."""
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
        folder = make_synthetic(
            self.out,
            _preset(self.preset),
            self.seed,
            self.workers,
            self.overwrite,
            self.features.spec,
        )
        counts = {split: len(open_data_set(folder, split)) for split in SPLITS}
        size_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        print(
            f"{folder}: {counts['train']} train and {counts['test']} test clips, {size_mb:.0f} MB"
        )
        print(f"{self.out / 'clips'}: the same clips as videos")


app.command(name="folder")(FolderArgs)
app.command(name="stats")(StatsArgs)


def main() -> None:
    """Make the data set that the command line names, or tell of one."""
    words, beam_words = _parted(sys.argv[1:])
    parser = partial(app.cli, args=words)
    args: SyntheticArgs | FolderArgs | StatsArgs = read_words(
        parser, prog="python -m data.prepare", description=__doc__
    )
    if isinstance(args, FolderArgs):
        args.run(beam_words)
        return
    if beam_words:
        raise InputError("words after -- are Beam's, which runs `folder` alone: leave them out")
    args.run()


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """Part our words from Beam's, which follow a lone --."""
    if "--" not in words:
        return words, []
    place = words.index("--")
    return words[:place], words[place + 1 :]


def make_synthetic(
    out: Path,
    preset: Preset,
    seed: int,
    workers: int,
    overwrite: bool,
    extractor: ExtractorSpec = PIXELS,
) -> Path:
    """Make the clips of a preset under `out`, and of them the data set; return its folder.

    Raises InputError when the data set is there and not to be overwritten, when clips there were
    made otherwise, and when something cannot be written.
    """
    if workers < 1:
        raise InputError(f"--workers {workers}: must be at least 1")
    extractor = resolved(extractor)
    folder = out / f"synthetic_{preset.name}" / VERSION
    with only_one_writer(out):
        if folder.exists() and not overwrite:
            raise InputError(f"{folder}: there already: use --overwrite to replace it")
        tasks = _tasks(preset, seed, out / "clips", overwrite, extractor)
        with closing(_records(tasks, workers, preset.name)) as records:
            metadata = _metadata(preset, seed, extractor)
            write_data_set(folder, metadata, SPLITS, records, overwrite=overwrite)
    return folder


def _records(
    tasks: list[ClipTask], workers: int, name: str
) -> Generator[tuple[str, ClipRecord], None, None]:
    """Yield each clip with its split, behind a progress bar that starts with the first one."""
    records = in_order(prepare_clip, tasks, workers)
    shown = tqdm(records, total=len(tasks), unit="clip", desc=name)
    for task, record in zip(tasks, shown, strict=True):
        yield task.recipe.split, record


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        raise unknown("--preset", name, PRESETS)
    return PRESETS[name]


def _tasks(
    preset: Preset, seed: int, clips: Path, overwrite: bool, extractor: ExtractorSpec
) -> list[ClipTask]:
    """List the clips, categories taking turns, so that readers in file order see a mixture."""
    generator = generator_digest()
    counts = {"train": preset.train_clips, "test": preset.test_clips}
    return [
        ClipTask(
            Recipe(category, split, index, seed, preset.video_frames, Clock(), generator),
            folder=clips / category,
            overwrite=overwrite,
            extractor=extractor,
        )
        for split, count in counts.items()
        for index in range(count)
        for category in preset.categories
    ]


def _metadata(preset: Preset, seed: int, extractor: ExtractorSpec) -> Metadata:
    clock = Clock()
    appearance_dim, motion_dim = feature_dims(extractor.name)
    return Metadata(
        format_version=FORMAT_VERSION,
        extractor=extractor.name,
        extraction=dataclasses.asdict(extractor.extraction),
        appearance_dim=appearance_dim,
        motion_dim=motion_dim,
        sample_rate_hz=clock.sample_rate_hz,
        samples_per_video_frame=clock.samples_per_video_frame,
        samples_max=0,  # counted by the writer
        categories=sorted(preset.categories),
        made_by={
            "data_set": "synthetic",
            "preset": preset.name,
            "seed": seed,
            "generator": generator_digest(),
            "v2s_jax": __version__,
        },
    )


if __name__ == "__main__":
    run_door(main)
