"""Build a dataset: clips, features, TFRecord shards.

    v2s prepare synthetic --preset tiny --out DIR

renders clips to DIR/clips/CATEGORY/CLIP.mp4, each with a .json (category, event times), and writes
the TFDS folder DIR/synthetic_tiny/2.0.0 for training. Rerun the same command to resume.

    v2s prepare folder VIDEOS --out DIR

builds DIR/vegas/1.0.0 from videos in class folders (docs/data.md), and

    v2s prepare stats DIR/vegas

counts its clips by category and length.

    v2s prepare sounds RECORDINGS --out DIR

builds DIR/sounds/1.0.0 from recordings in class folders, for models that need no video to learn.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from v2s_jax.bucket import check_local
from v2s_jax.cli.arguments import parse_subcommand
from v2s_jax.config import (
    ExtractorConfig,
    Fc6,
    FlowMethod,
    VggPrecision,
    VideoExtractorName,
)
from v2s_jax.datasets import open_dataset
from v2s_jax.datasets.folders.settings import FolderSettings
from v2s_jax.datasets.folders.stats import write_stats
from v2s_jax.datasets.sounds.settings import SoundSettings
from v2s_jax.datasets.synthetic.generate_dataset import generate_dataset
from v2s_jax.datasets.synthetic.presets import find_preset
from v2s_jax.datasets.synthetic.probes import find_probe
from v2s_jax.datasets.synthetic.spec import DatasetSpec
from v2s_jax.errors import InputError, require_extra
from v2s_jax.features.extractor import ExtractorSpec, WeightFiles
from v2s_jax.media.encode import AudioCodec
from v2s_jax.processes import CPU_COUNT


@dataclass(frozen=True)
class ExtractorArgs:
    """Options that choose the feature extractor."""

    extractor: VideoExtractorName = "pixels"
    """vgg19: fc6 of images and of optical flow, as in the paper; pixels: no learned weights."""
    flow: FlowMethod | None = None
    """vgg19 only: optical flow method; dis by default."""
    fc6: Fc6 | None = None
    """vgg19 only: fc6 after_relu (the default) or before_relu."""
    vgg_precision: VggPrecision | None = None
    """vgg19 only: float32 (the default), or bfloat16, which some devices compute faster."""
    weights: Annotated[WeightFiles, tyro.conf.arg(name="")] = field(default_factory=WeightFiles)
    """Weight files."""

    @property
    def spec(self) -> ExtractorSpec:
        """The options as a specification."""
        config = ExtractorConfig(fc6=self.fc6, precision=self.vgg_precision, flow=self.flow)
        return ExtractorSpec(self.extractor, config, self.weights)


@dataclass(frozen=True)
class SyntheticArgs:
    """Build the synthetic dataset: rendered clips with known causes."""

    out: Path
    """Folder for the clips and the dataset."""
    preset: str = "tiny"
    """Number of clips: tiny, small, full, demo or pair."""
    probe: str = "none"
    """The only cause of the sound, or a disturbance of the video (data/README.md): appearance,
    motion, foresight, delay, silence, counterfactual, distractor, frame_rate_other,
    frame_rate_variable, frame_rate_dropped."""
    audio_codec: AudioCodec = "flac"
    """Audio codec of the clips. aac is lossy, so the entropy floor does not hold."""
    exact_flow: bool = False
    """Write the exact optical flow next to each clip."""
    seed: int = 0
    """Seed of every clip."""
    workers: int = CPU_COUNT
    """Processes; one per core by default."""
    overwrite: bool = False
    """Replace an existing dataset and its clips."""
    features: Annotated[ExtractorArgs, tyro.conf.arg(name="")] = field(
        default_factory=ExtractorArgs
    )
    """Feature extractor."""

    def run(self) -> None:
        """Build the dataset and print what it holds."""
        check_local(self.out, "--out")
        spec = DatasetSpec(
            find_preset(self.preset),
            seed=self.seed,
            probe=find_probe(self.probe),
            audio_codec=self.audio_codec,
        )
        folder = generate_dataset(
            self.out, spec, self.workers, self.overwrite, self.features.spec, self.exact_flow
        )
        counts = [f"{len(open_dataset(folder, split))} {split}" for split in spec.preset.splits]
        size_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        listed = f"{', '.join(counts[:-1])} and {counts[-1]}" if counts[1:] else counts[0]
        print(f"{folder}: {listed} clips, {size_mb:.0f} MB")
        print(f"{self.out / 'clips'}: the same clips as videos")


@dataclass(frozen=True)
class FolderArgs(FolderSettings):
    """Build a dataset from a folder of videos: VEGAS, VAS, or CLASS/FILE.mp4.

    Arguments after -- go to Beam: -- --runner=DataflowRunner --project=... (docs/data.md).
    """

    source: tyro.conf.Positional[str]
    """The folder, or a gs:// or s3:// URL."""
    features: Annotated[ExtractorArgs, tyro.conf.arg(name="")] = field(
        default_factory=ExtractorArgs
    )
    """Feature extractor."""

    def run(self, beam_args: Sequence[str] = ()) -> None:
        """Build the dataset and print what happened to the files."""
        require_extra("data", "apache_beam")
        self.check()
        logging.disable(logging.WARNING)  # Beam warns about optional packages
        from v2s_jax.datasets.folders.build_dataset import build_dataset, format_summary

        logging.disable(logging.NOTSET)
        built = build_dataset(self, self.features.spec, tuple(beam_args))
        print(format_summary(self, built))


@dataclass(frozen=True)
class SoundsArgs(SoundSettings):
    """Build a dataset from recordings in class folders: CLASS/FILE, of any format and rate.

    Its features are controls computed from the sound: category, loudness, onsets.
    """

    source: tyro.conf.Positional[Path]
    """The folder of class folders."""

    def run(self) -> None:
        """Build the dataset and print what happened to the files."""
        check_local(self.source, "SOURCE")
        check_local(self.out, "--out")
        self.check()
        from v2s_jax.datasets.sounds.build import build_dataset, format_summary

        print(format_summary(self, build_dataset(self)))


@dataclass(frozen=True)
class StatsArgs:
    """Count the clips of a dataset by category and length, as a table and a figure."""

    data: tyro.conf.Positional[str]
    """A dataset built by `folder`: OUT/NAME, the folder of manifest.jsonl."""
    out: Path | None = None
    """Folder for lengths.json and lengths.png; the dataset's own by default."""

    def run(self) -> None:
        """Print the table; write it and the figure."""
        write_stats(self.data, self.out)


COMMANDS = {
    "synthetic": SyntheticArgs,
    "folder": FolderArgs,
    "sounds": SoundsArgs,
    "stats": StatsArgs,
}


def main() -> None:
    """Run the subcommand on the command line."""
    argv = sys.argv[1:]
    dashes = argv.index("--") if "--" in argv else len(argv)
    beam_args = argv[dashes + 1 :]
    args = parse_subcommand(COMMANDS, "v2s prepare", __doc__, argv[:dashes])
    if isinstance(args, FolderArgs):
        args.run(beam_args)
        return
    if beam_args:
        raise InputError("arguments after -- are for Beam, which only `folder` uses: remove them")
    args.run()
