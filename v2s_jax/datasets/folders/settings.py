"""Settings of `v2s prepare folder`. Light to import: neither Beam nor TensorFlow."""

from dataclasses import dataclass, field

from etils import epath

from v2s_jax.datasets.folders.decode import ClipLength
from v2s_jax.datasets.folders.manifest import FAILED_MANIFEST, MANIFEST
from v2s_jax.datasets.folders.split import SplitRule
from v2s_jax.features.extractor import ExtractorSpec

VERSION = "1.0.0"
"""Version of the datasets, which TFDS requires."""


@dataclass(frozen=True)
class FolderSettings:
    """Everything that determines the dataset built from a folder."""

    source: str
    """Folder or URL of the videos."""
    out: str
    """Folder or URL that receives the dataset, its manifest and the feature cache."""
    name: str = "vegas"
    rule: SplitRule = field(default_factory=SplitRule)
    length: ClipLength = field(default_factory=ClipLength)
    extractor: ExtractorSpec = field(default_factory=ExtractorSpec)
    cache: str | None = None
    """Folder or URL of the feature cache; OUT/cache by default."""
    workers: int | None = None
    """Local processes; by default one per core, or one for a learned extractor."""
    beam_args: tuple[str, ...] = ()
    """Extra arguments for Beam."""

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
