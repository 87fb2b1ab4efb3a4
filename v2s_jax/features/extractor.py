"""Which extractor: from its name and its weights to features, alike for all who need them.

A specification is a value: it can be compared, and sent to another process, which opens it there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float16, UInt8

from v2s_jax.config import Extraction, ExtractorName
from v2s_jax.errors import InputError
from v2s_jax.features.pixels import PixelsExtractor
from v2s_jax.types import Features, FrameFeatures


@runtime_checkable
class Extractor(Protocol):
    """Pictures in, features out. One is opened once and serves any number of clips."""

    @property
    def name(self) -> ExtractorName:
        """The name in the config."""

    @property
    def picture_height_px(self) -> int:
        """Height of the pictures it takes."""

    @property
    def picture_width_px(self) -> int:
        """Width of the pictures it takes."""

    @property
    def appearance_dim(self) -> int:
        """Width of appearance."""

    @property
    def motion_dim(self) -> int:
        """Width of motion."""

    @property
    def extraction(self) -> Extraction:
        """How it makes features, nothing left open."""

    def stream(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[FrameFeatures]:
        """Yield each video frame's features; holds a bounded number of pictures."""

    def stream_appearance(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[Float16[np.ndarray, "appearance_dim"]]:
        """Yield each video frame's appearance alone."""

    def extract(self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]) -> Features:
        """Return the features of a whole clip, which must have at least one picture."""


@dataclass(frozen=True)
class WeightFiles:
    """Files of the weights that `vgg19` runs with; `pixels` has none."""

    vgg19_weights: Path | None = None
    """VGG19 trained on ImageNet, for the vgg19 extractor: .safetensors in torchvision's or timm's
    names, Keras .h5, or .npz. The original weights from keras.applications unless given."""
    motion_weights: Path | None = None
    """The network that reads optical flow, VGG16 or VGG19 in the same kinds of file. Cross-modality
    initialisation from the VGG19 weights unless given."""


@dataclass(frozen=True)
class ExtractorSpec:
    """What to open."""

    name: ExtractorName = "pixels"
    extraction: Extraction = field(default_factory=Extraction)
    """What is wanted of it; what is None is free."""
    weights: WeightFiles = field(default_factory=WeightFiles)


def resolved(spec: ExtractorSpec) -> ExtractorSpec:
    """Return the specification with nothing left open: its weights found, read and digested.

    JAX is not touched. Raises InputError when weights are missing, cannot be read, or are not
    those that are wanted.
    """
    match spec.name:
        case "pixels":
            if spec.extraction != Extraction():
                raise InputError("pixels leaves no choice of flow or fc6: use --extractor vgg19")
            return spec
        case "vgg19":
            raise InputError("vgg19: not in this version yet: use pixels")


def open_extractor(spec: ExtractorSpec, *, motion: bool = True) -> Extractor:
    """Return the extractor, ready to work; without motion, `stream_appearance` alone.

    Raises InputError as `resolved` does.
    """
    spec = resolved(spec)
    match spec.name:
        case "pixels":
            return PixelsExtractor()
        case "vgg19":
            raise InputError("vgg19: not in this version yet: use pixels")


def feature_dims(name: ExtractorName) -> tuple[int, int]:
    """Return the widths of appearance and motion."""
    match name:
        case "pixels":
            return PixelsExtractor.appearance_dim, PixelsExtractor.motion_dim
        case "vgg19":
            return 4_096, 4_096
