"""Build a dataset: clips, features, TFRecord shards.

    v2s prepare synthetic --preset tiny --out DIR

renders clips to DIR/clips/CATEGORY/CLIP.mp4, each with a .json (category, event times), and writes
the TFDS folder DIR/synthetic_tiny/2.0.0 for training. Rerun the same command to resume.

    v2s prepare folder VIDEOS --out DIR

builds DIR/vegas/1.0.0 from videos in class folders (docs/data.md), and

    v2s prepare stats DIR/vegas

counts its clips by category and length.
"""

import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from v2s_jax.config import Clock, ExtractorConfig, ExtractorName, Fc6, FlowMethod, VggPrecision
from v2s_jax.datasets import open_dataset
from v2s_jax.datasets.folders.decode import CLIP_VIDEO_FRAMES, MIN_SEC, ClipLength
from v2s_jax.datasets.folders.settings import FolderSettings
from v2s_jax.datasets.folders.split import TEST_CLIPS, SplitRule
from v2s_jax.datasets.folders.stats import write_stats
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

    extractor: ExtractorName = "pixels"
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
        require_extra("data", "tensorflow")
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
class FolderArgs:
    """Build a dataset from a folder of videos: VEGAS, VAS, or CLASS/FILE.mp4.

    Arguments after -- go to Beam: -- --runner=DataflowRunner --project=... (docs/data.md).
    """

    source: tyro.conf.Positional[str]
    """The folder, or a gs:// URL."""
    out: str
    """Folder or gs:// URL for the dataset, its manifest, and the feature cache."""
    name: str = "vegas"
    """Name of the dataset, which is written to OUT/NAME/1.0.0."""
    test_clips: int = TEST_CLIPS
    """Test clips per category. A category with fewer than twice as many holds out a tenth."""
    split_seed: int | None = None
    """Choose the test clips at random with this seed instead of the last ones by index."""
    video_frames: int = CLIP_VIDEO_FRAMES
    """Length of every clip: 156 video frames of 64 ms are the paper's 10 s."""
    min_sec: float = MIN_SEC
    """Reject files with less video or audio than this."""
    cache: str | None = None
    """Folder or URL of the feature cache; OUT/cache by default."""
    workers: int | None = None
    """Local processes: by default one per core, or for vgg19 one that uses all devices."""
    overwrite: bool = False
    """Replace an existing dataset. Cached features are still used."""
    features: Annotated[ExtractorArgs, tyro.conf.arg(name="")] = field(
        default_factory=ExtractorArgs
    )
    """Feature extractor."""

    def settings(self, beam_args: Sequence[str] = ()) -> FolderSettings:
        """Check the options and return the settings of the dataset."""
        if self.video_frames < 1:
            raise InputError(f"--video-frames {self.video_frames}: must be at least 1")
        frame_sec = float(1 / Clock().fps)
        if not self.min_sec >= frame_sec:
            raise InputError(f"--min-sec {self.min_sec}: must be at least {frame_sec:g}")
        clip_sec = self.video_frames * frame_sec
        if clip_sec < self.min_sec:
            raise InputError(
                f"--video-frames {self.video_frames}: {clip_sec:g} s, shorter than --min-sec "
                f"{self.min_sec:g}: every file would be rejected"
            )
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers {self.workers}: must be at least 1")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):  # the rule of TFDS
            raise InputError(f"--name {self.name}: use small letters, digits and underscores")
        return FolderSettings(
            source=self.source,
            out=self.out,
            name=self.name,
            rule=SplitRule(self.test_clips, self.split_seed),
            length=ClipLength(video_frames=self.video_frames, min_sec=self.min_sec),
            extractor=self.features.spec,
            cache=self.cache,
            workers=self.workers,
            beam_args=tuple(beam_args),
        )

    def run(self, beam_args: Sequence[str] = ()) -> None:
        """Build the dataset and print what happened to the files."""
        require_extra("data", "tensorflow", "apache_beam")
        settings = self.settings(beam_args)
        logging.disable(logging.WARNING)  # Beam warns about optional packages
        from v2s_jax.datasets.folders.build_dataset import build_dataset, format_summary

        logging.disable(logging.NOTSET)
        builder = build_dataset(settings, overwrite=self.overwrite)
        print(format_summary(settings, builder))


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


app = tyro.extras.SubcommandApp()
app.command(name="synthetic")(SyntheticArgs)
app.command(name="folder")(FolderArgs)
app.command(name="stats")(StatsArgs)


def main() -> None:
    """Run the subcommand on the command line."""
    argv, beam_args = _split_at_dashes(sys.argv[1:])
    args: SyntheticArgs | FolderArgs | StatsArgs = app.cli(
        args=argv, prog="v2s prepare", description=__doc__
    )
    if isinstance(args, FolderArgs):
        args.run(beam_args)
        return
    if beam_args:
        raise InputError("arguments after -- are for Beam, which only `folder` uses: remove them")
    args.run()


def _split_at_dashes(argv: list[str]) -> tuple[list[str], list[str]]:
    """Split our arguments from Beam's, which follow --."""
    if "--" not in argv:
        return argv, []
    position = argv.index("--")
    return argv[:position], argv[position + 1 :]
