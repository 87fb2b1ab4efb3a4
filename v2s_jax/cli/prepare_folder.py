"""The words of `v2s prepare folder`: a folder of videos becomes a data set."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro
from etils import epath

from v2s_jax.cli.extractor_args import ExtractorWords
from v2s_jax.config import Clock
from v2s_jax.datasets.folders.decode import CLIP_VIDEO_FRAMES, MIN_SEC
from v2s_jax.datasets.folders.manifest import FAILED_MANIFEST, MANIFEST
from v2s_jax.datasets.folders.split import TEST_CLIPS
from v2s_jax.errors import InputError


@dataclass(frozen=True)
class FolderArgs:
    """Make a data set of a folder of videos: VEGAS, VAS, or CLASS/FILE.mp4.

    Words after a lone -- are Beam's: -- --runner=DataflowRunner --project=... (docs/data.md).
    """

    source: tyro.conf.Positional[str]
    """The folder, or a gs:// URL."""
    out: str
    """Folder or gs:// URL that gets the data set, its manifest, and the cache of features."""
    name: str = "vegas"
    """Name of the data set: it will lie in OUT/NAME/1.0.0."""
    test_clips: int = TEST_CLIPS
    """Test clips of each category; a tenth of a category with fewer than twice as many."""
    split_seed: int | None = None
    """Choose the test clips at random by this seed instead of the last ones by index."""
    video_frames: int = CLIP_VIDEO_FRAMES
    """Length of every clip: 156 video frames of 64 ms are the paper's 10 s."""
    min_sec: float = MIN_SEC
    """Reject files with less picture or sound than this."""
    cache: str | None = None
    """Folder or URL of the feature cache; OUT/cache unless given."""
    workers: int | None = None
    """Processes at work on this machine: one for each core, for vgg19 one with all devices."""
    overwrite: bool = False
    """Replace a data set made before; features in the cache are used all the same."""
    features: Annotated[ExtractorWords, tyro.conf.arg(name="")] = field(
        default_factory=ExtractorWords
    )
    """What turns video frames into features."""

    def __post_init__(self) -> None:
        if self.video_frames < 1:
            raise InputError(f"--video-frames {self.video_frames}: must be at least 1")
        least_sec = float(1 / Clock().fps)
        if not self.min_sec >= least_sec:
            raise InputError(f"--min-sec {self.min_sec}: must be at least {least_sec:g}")
        clip_sec = self.video_frames * least_sec
        if clip_sec < self.min_sec:
            raise InputError(
                f"--video-frames {self.video_frames}: {clip_sec:g} s, shorter than --min-sec "
                f"{self.min_sec:g}: every file would be rejected"
            )
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers {self.workers}: must be at least 1")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):  # as TFDS names data sets
            raise InputError(f"--name {self.name}: use small letters, digits and underscores")

    def run(self, beam_words: Sequence[str]) -> None:
        """Make the data set and say what became of the files."""
        # Beam takes seconds to import, and warns of what it is installed without.
        logging.disable(logging.WARNING)
        from v2s_jax.datasets.folders.build_dataset import build_dataset, tell

        logging.disable(logging.NOTSET)
        folder, builder = build_dataset(self, beam_words)
        tell(folder, builder, self.manifest)

    @property
    def manifest(self) -> epath.Path:
        """Where the manifest lies."""
        return epath.Path(self.out) / self.name / MANIFEST

    @property
    def failed_manifest(self) -> epath.Path:
        """Where it lies when no data set came of it."""
        return epath.Path(self.out) / self.name / FAILED_MANIFEST
