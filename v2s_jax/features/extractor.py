"""Which extractor: from its name and its weights to features, alike for all who need them.

A specification is a value: it can be compared, and sent to another process, which opens it there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float16, UInt8

from v2s_jax.config import Config, ExtractorConfig, ExtractorName
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
    def extraction(self) -> ExtractorConfig:
        """How it makes features, nothing left open."""

    def stream(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[FrameFeatures]:
        """Yield each video frame's features; holds a bounded number of pictures."""

    def stream_appearance(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[Float16[np.ndarray, " appearance_dim"]]:
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


DEFAULT_WEIGHT_FILES = WeightFiles()
"""What is not given is looked for where it usually lies."""


@dataclass(frozen=True)
class ExtractorSpec:
    """What to open."""

    name: ExtractorName = "pixels"
    extraction: ExtractorConfig = field(default_factory=ExtractorConfig)
    """What is wanted of it; what is None is free."""
    weights: WeightFiles = field(default_factory=WeightFiles)


def resolve_spec(spec: ExtractorSpec) -> ExtractorSpec:
    """Return the specification with nothing left open: its weights found, read and digested.

    No device is touched. Raises InputError when weights are missing, cannot be read, or are not
    those that are wanted.
    """
    match spec.name:
        case "pixels":
            _check_pixels(spec)
            return spec
        case "vgg19":
            # Here, since pixels needs neither JAX nor the readers of weights.
            from v2s_jax.features.vgg19 import complete_config, find_vgg19_weights

            files = spec.weights
            found = find_vgg19_weights(spec.extraction, files.vgg19_weights, files.motion_weights)
            return replace(spec, extraction=complete_config(spec.extraction, found))


def open_extractor(spec: ExtractorSpec, *, motion: bool = True) -> Extractor:
    """Return the extractor, ready to work; without motion, `stream_appearance` alone.

    Raises InputError as `resolved` does.
    """
    match spec.name:
        case "pixels":
            _check_pixels(spec)
            return PixelsExtractor()
        case "vgg19":
            from v2s_jax.features.vgg19 import Vgg19Extractor, find_vgg19_weights

            files, wanted = spec.weights, spec.extraction
            if not motion:
                wanted = replace(wanted, flow=None, motion_weights_sha256=None, motion_origin=None)
            found = find_vgg19_weights(wanted, files.vgg19_weights, files.motion_weights)
            return Vgg19Extractor(wanted, found, motion=motion)


def extractor_for_config(config: Config, weights: WeightFiles) -> Extractor:
    """Return the extractor that a model's features are made with.

    Raises InputError when its weights are missing, or are not those of its training set.
    """
    spec = ExtractorSpec(config.extractor, config.extraction, weights)
    return open_extractor(spec, motion=config.model.variant == "flow")


def iter_model_features(
    extractor: Extractor,
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]],
    config: Config,
) -> Iterator[Float16[np.ndarray, " feature_dim"]]:
    """Yield what the model reads of each picture: appearance, for Flow motion too."""
    if config.model.variant == "flow":
        return (np.concatenate(features) for features in extractor.stream(pictures))
    return extractor.stream_appearance(pictures)


def _check_pixels(spec: ExtractorSpec) -> None:
    if spec.extraction != ExtractorConfig() or spec.weights != WeightFiles():
        raise InputError(
            "pixels leaves no choice of flow, fc6, precision or weights: use vgg19, or leave them "
            "out"
        )


def feature_dims(name: ExtractorName) -> tuple[int, int]:
    """Return the widths of appearance and motion."""
    match name:
        case "pixels":
            return PixelsExtractor.appearance_dim, PixelsExtractor.motion_dim
        case "vgg19":
            from v2s_jax.features.vgg import FC6_DIM

            return FC6_DIM, FC6_DIM
