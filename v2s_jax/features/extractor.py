"""Open a feature extractor by its name and its weights.

A specification is a value: it can be compared, and sent to another process that opens it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float16, UInt8

from v2s_jax.config import Config, ExtractorConfig, ExtractorName
from v2s_jax.errors import InputError
from v2s_jax.features import Extractor
from v2s_jax.features.imagenet.seen import SeenInVideo
from v2s_jax.features.pixels import APPEARANCE_DIM, MOTION_DIM, PixelsExtractor


@dataclass(frozen=True)
class WeightFiles:
    """Files of weights for `vgg19`; `pixels` has none."""

    vgg19_weights: Path | None = None
    """VGG19 trained on ImageNet, for the vgg19 extractor: .safetensors with names of torchvision or
    timm, or Keras .h5. Default: the original weights from keras.applications."""
    motion_weights: Path | None = None
    """VGG16 or VGG19 for optical flow, in the same kinds of file. Default: cross-modality
    initialisation from the VGG19 weights."""


@dataclass(frozen=True)
class ExtractorSpec:
    """The extractor to open."""

    name: ExtractorName = "pixels"
    extraction: ExtractorConfig = field(default_factory=ExtractorConfig)
    """Required configuration; None leaves the choice open."""
    weights: WeightFiles = field(default_factory=WeightFiles)


def resolve_spec(spec: ExtractorSpec) -> ExtractorSpec:
    """Find and read the weights, and return the spec with a complete `extraction`. Uses no device.

    Raises InputError when weights are missing, cannot be read, or are others than required.
    """
    match spec.name:
        case "pixels":
            _check_pixels(spec)
            return spec
        case "controls":
            return spec
        case "vgg19":
            # Imported here because pixels needs neither JAX nor weights.
            from v2s_jax.features.vgg19 import complete_config, find_vgg19_weights

            weights = find_vgg19_weights(spec.extraction, spec.weights)
            return replace(spec, extraction=complete_config(spec.extraction, weights))


def open_extractor(spec: ExtractorSpec, *, motion: bool = True) -> Extractor:
    """Load an extractor onto the devices of this process.

    Without `motion` only `stream_appearance` works. Raises InputError as `resolve_spec` does.
    """
    match spec.name:
        case "pixels":
            _check_pixels(spec)
            return PixelsExtractor()
        case "controls":
            from v2s_jax.features.semantic import SemanticExtractor

            return SemanticExtractor(spec.extraction)
        case "vgg19":
            from v2s_jax.features.vgg19 import Vgg19Extractor, find_vgg19_weights

            config = spec.extraction
            if not motion:
                config = replace(config, flow=None, motion_weights_sha256=None, motion_origin=None)
            weights = find_vgg19_weights(config, spec.weights)
            return Vgg19Extractor(config, weights, motion=motion)


def extractor_for_config(
    config: Config, weights: WeightFiles, category: str | None = None
) -> Extractor:
    """Open the extractor of a model; for controls, `category` replaces what is seen.

    Raises InputError when its weights are missing, or are not those of its training set.
    """
    if config.extractor == "controls":
        from v2s_jax.features.semantic import SemanticExtractor

        return SemanticExtractor(config.extraction, category)
    spec = ExtractorSpec(config.extractor, config.extraction, weights)
    return open_extractor(spec, motion=config.model.reads_motion)


def iter_model_features(
    extractor: Extractor,
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    config: Config,
    seen: SeenInVideo | None = None,
) -> Iterator[Float16[np.ndarray, " feature_dim"]]:
    """Yield the model's input for each video frame: appearance, and motion if it reads it.

    What a semantic extractor sees in the video is added to `seen`.
    """
    if config.model.reads_motion:
        return (np.concatenate(features) for features in extractor.stream_seen(frames, seen))
    return extractor.stream_appearance(frames)


def _check_pixels(spec: ExtractorSpec) -> None:
    if spec != ExtractorSpec():
        raise InputError(
            "the pixels extractor has no flow, fc6, precision or weights to choose: use vgg19, or "
            "leave them out"
        )


def feature_dims(name: ExtractorName) -> tuple[int, int]:
    """Return the sizes of appearance and motion vectors; raise InputError for controls."""
    match name:
        case "controls":
            raise InputError(
                "controls come from sounds, as in `v2s prepare sounds`: videos need --extractor "
                "pixels or vgg19"
            )
        case "pixels":
            return APPEARANCE_DIM, MOTION_DIM
        case "vgg19":
            from v2s_jax.features.vgg import FC6_DIM

            return FC6_DIM, FC6_DIM
