"""Open a feature extractor by its name and its weights.

A specification is a value: it can be compared, and sent to another process that opens it.
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
    """Turns video frames into features. One extractor serves any number of clips."""

    @property
    def frame_height_px(self) -> int:
        """Height of the video frames it takes."""

    @property
    def frame_width_px(self) -> int:
        """Width of the video frames it takes."""

    def stream(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[FrameFeatures]:
        """Yield the features of each video frame; holds a bounded number of video frames."""

    def stream_appearance(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[Float16[np.ndarray, " appearance_dim"]]:
        """Yield only the appearance of each video frame."""

    def extract(self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]) -> Features:
        """Return the features of a whole clip of at least one video frame."""


@dataclass(frozen=True)
class WeightFiles:
    """Files of weights for `vgg19`; `pixels` has none."""

    vgg19_weights: Path | None = None
    """VGG19 trained on ImageNet, for the vgg19 extractor: .safetensors with names of torchvision or
    timm, or Keras .h5. Default: the original weights from keras.applications."""
    motion_weights: Path | None = None
    """VGG16 or VGG19 for optical flow, in the same kinds of file. Default: cross-modality
    initialisation from the VGG19 weights."""


DEFAULT_WEIGHT_FILES = WeightFiles()
"""Weights that are not given are looked up in their default place."""


@dataclass(frozen=True)
class ExtractorSpec:
    """The extractor to open."""

    name: ExtractorName = "pixels"
    extraction: ExtractorConfig = field(default_factory=ExtractorConfig)
    """Required configuration; None leaves the choice open."""
    weights: WeightFiles = field(default_factory=WeightFiles)


def resolve_spec(spec: ExtractorSpec) -> ExtractorSpec:
    """Fill in the defaults: find and read the weights, and add their SHA-256.

    Uses no device.

    Args:
        spec: The extractor, its required configuration and the files of its weights.

    Returns:
        The same with a complete `extraction`.

    Raises:
        InputError: Weights are missing, cannot be read, or have another SHA-256 than required.
    """
    match spec.name:
        case "pixels":
            _check_pixels(spec)
            return spec
        case "vgg19":
            # Imported here because pixels needs neither JAX nor weights.
            from v2s_jax.features.vgg19 import complete_config, find_vgg19_weights

            files = spec.weights
            weights = find_vgg19_weights(spec.extraction, files.vgg19_weights, files.motion_weights)
            return replace(spec, extraction=complete_config(spec.extraction, weights))


def open_extractor(spec: ExtractorSpec, *, motion: bool = True) -> Extractor:
    """Load an extractor onto the devices of this process.

    Args:
        spec: The extractor, its required configuration and the files of its weights.
        motion: Also load the network for motion; without it only `stream_appearance` works.

    Raises:
        InputError: As `resolve_spec` does.
    """
    match spec.name:
        case "pixels":
            _check_pixels(spec)
            return PixelsExtractor()
        case "vgg19":
            from v2s_jax.features.vgg19 import Vgg19Extractor, find_vgg19_weights

            files, config = spec.weights, spec.extraction
            if not motion:
                config = replace(config, flow=None, motion_weights_sha256=None, motion_origin=None)
            weights = find_vgg19_weights(config, files.vgg19_weights, files.motion_weights)
            return Vgg19Extractor(config, weights, motion=motion)


def extractor_for_config(config: Config, weights: WeightFiles) -> Extractor:
    """Open the extractor of a model.

    Raises InputError when its weights are missing, or are not those of its training set.
    """
    spec = ExtractorSpec(config.extractor, config.extraction, weights)
    return open_extractor(spec, motion=config.model.reads_motion)


def iter_model_features(
    extractor: Extractor,
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    config: Config,
) -> Iterator[Float16[np.ndarray, " feature_dim"]]:
    """Yield the model's input for each video frame: appearance, and motion if it reads it."""
    if config.model.reads_motion:
        return (np.concatenate(features) for features in extractor.stream(frames))
    return extractor.stream_appearance(frames)


def _check_pixels(spec: ExtractorSpec) -> None:
    if spec.extraction != ExtractorConfig() or spec.weights != WeightFiles():
        raise InputError(
            "the pixels extractor has no flow, fc6, precision or weights to choose: use vgg19, or "
            "leave them out"
        )


def feature_dims(name: ExtractorName) -> tuple[int, int]:
    """Return the sizes of appearance and motion vectors."""
    match name:
        case "pixels":
            return PixelsExtractor.appearance_dim, PixelsExtractor.motion_dim
        case "vgg19":
            from v2s_jax.features.vgg import FC6_DIM

            return FC6_DIM, FC6_DIM
