"""Settings of `v2s prepare folder`. Light to import: neither Beam nor TensorFlow."""

import re
from dataclasses import dataclass

from etils import epath

from v2s_jax.datasets.folders.decode import CLIP_VIDEO_FRAMES, MIN_SEC, ClipLength
from v2s_jax.datasets.folders.manifest import FAILED_MANIFEST, MANIFEST
from v2s_jax.datasets.folders.split import TEST_CLIPS
from v2s_jax.errors import InputError

VERSION = "1.0.0"
"""Version of the datasets, which TFDS requires."""


@dataclass(frozen=True)
class FolderSettings:
    """The files, the split and the length of the clips of a dataset built from a folder."""

    source: str
    """The folder, or a gs:// or s3:// URL."""
    out: str
    """Folder or URL for the dataset, its manifest, and the feature cache."""
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

    def check(self) -> None:
        """Raise InputError for values out of range."""
        for name in ("video_frames", "workers", "test_clips"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} {value}: must be at least 1")
        frame_sec = float(1 / self.length.clock.fps)
        if not self.min_sec >= frame_sec:
            raise InputError(f"--min-sec {self.min_sec}: must be at least {frame_sec:g}")
        clip_sec = self.video_frames * frame_sec
        if clip_sec < self.min_sec:
            raise InputError(
                f"--video-frames {self.video_frames}: {clip_sec:g} s, shorter than --min-sec "
                f"{self.min_sec:g}: every file would be rejected"
            )
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):  # the rule of TFDS
            raise InputError(f"--name {self.name}: use small letters, digits and underscores")

    @property
    def length(self) -> ClipLength:
        """The length of the clips, and of the shortest accepted file."""
        return ClipLength(video_frames=self.video_frames, min_sec=self.min_sec)

    @property
    def folder(self) -> epath.Path:
        """The dataset: OUT/NAME/VERSION."""
        return epath.Path(self.out) / self.name / VERSION

    @property
    def manifest(self) -> epath.Path:
        """The manifest next to the dataset."""
        return self.folder.parent / MANIFEST

    @property
    def failed_manifest(self) -> epath.Path:
        """The manifest that is written when no dataset could be built."""
        return self.folder.parent / FAILED_MANIFEST

    @property
    def cache_folder(self) -> str:
        """Folder or URL of the feature cache."""
        return self.cache or str(epath.Path(self.out) / "cache")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Paths that this command writes. They are skipped if they are inside `source`."""
        paths = (self.out, self.cache_folder, self.manifest, self.failed_manifest, self.folder)
        return tuple(map(str, paths))
