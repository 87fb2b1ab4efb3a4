"""The paper's features: fc6 of VGG19 for appearance, of a temporal ConvNet for motion.

    appearance_i = fc6 of VGG19 for video frame i, resized whole to 224 x 224 px
    motion_i     = fc6 of a VGG network for the flow of ten steps around it (`flow_stacks`)

The temporal ConvNet is a VGG16, as in Wang et al. 2015, or a VGG19: whichever its weights are.
Weights that were trained on flow have 20 input channels and are used as they are. Weights that were
trained on images have 3; their first layer is averaged over these and repeated 20 times
(cross-modality initialisation, Wang et al. 2015 and 2016). Without a file for motion, the VGG19
weights of appearance are used, which share all device memory but the first layer.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import tee
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Float16, Float32, UInt8

from v2s_jax.config import ExtractorConfig, Fc6, FlowMethod, MotionOrigin, VggPrecision
from v2s_jax.errors import InputError
from v2s_jax.features import Extractor
from v2s_jax.features.extractor import WeightFiles
from v2s_jax.features.optical_flow import STACK_CHANNELS, check_flow, flow_stacks, open_flow
from v2s_jax.features.vgg import INPUT_PX, RGB, VGG16, VGG19, Fc6Network, device_mesh, on_devices
from v2s_jax.features.weights import Weights, find_cached, find_weights
from v2s_jax.types import FrameFeatures

DEFAULTS = ExtractorConfig(fc6="after_relu", precision="float32", flow="dis")
FIRST_LAYER = "conv1_1"
APPEARANCE_NETWORKS = (VGG19,)
MOTION_NETWORKS = (VGG16, VGG19)


class Vgg19Weights(NamedTuple):
    """The weights of both networks, not loaded yet."""

    appearance: Weights
    motion: Weights

    @property
    def motion_origin(self) -> MotionOrigin:
        """What the weights of motion were trained on."""
        return "flow_weights" if self.motion.channels == STACK_CHANNELS else "cross_modality"


def find_vgg19_weights(config: ExtractorConfig, files: WeightFiles) -> Vgg19Weights:
    """Find the weights that `config` requires in the files, or in their default places.

    Raises InputError when they are missing, or others.
    """
    appearance = find_weights(
        files.vgg19_weights,
        config.appearance_weights_sha256,
        option="--vgg19-weights",
        architectures=APPEARANCE_NETWORKS,
    )
    if appearance.channels != RGB:
        raise InputError(
            f"{files.vgg19_weights}: its first layer has {appearance.channels} input channels, "
            f"images have {RGB}: give weights trained on ImageNet"
        )
    motion = _find_motion_weights(config.motion_weights_sha256, files, appearance)
    if motion.channels not in (RGB, STACK_CHANNELS):
        raise InputError(
            f"{files.motion_weights}: its first layer has {motion.channels} input channels: give "
            f"weights for {STACK_CHANNELS} of flow, or {RGB} of images"
        )
    return Vgg19Weights(appearance, motion)


def _find_motion_weights(
    required_sha256: str | None, files: WeightFiles, appearance: Weights
) -> Weights:
    if file := files.motion_weights:
        return find_weights(
            file, required_sha256, option="--motion-weights", architectures=MOTION_NETWORKS
        )
    if required_sha256 in (None, appearance.sha256):
        return appearance
    weights = find_cached(required_sha256, MOTION_NETWORKS)
    if weights is None:
        raise InputError(
            f"the motion weights with SHA-256 {required_sha256}, which the features were computed "
            "with, are missing: give their file with --motion-weights"
        )
    return weights


def complete_config(config: ExtractorConfig, weights: Vgg19Weights) -> ExtractorConfig:
    """Fill in the defaults of `config` and the SHA-256 of the weights.

    Raises InputError when OpenCV lacks the flow.
    """
    complete = config.with_defaults(
        replace(
            DEFAULTS,
            appearance_weights_sha256=weights.appearance.sha256,
            motion_weights_sha256=weights.motion.sha256,
            motion_origin=weights.motion_origin,
        )
    )
    check_flow(cast(FlowMethod, complete.flow))
    return complete


class Vgg19Extractor(Extractor):
    """Both networks, as in the docstring of the module; without `motion` only the first."""

    frame_height_px = INPUT_PX
    frame_width_px = INPUT_PX

    def __init__(
        self, config: ExtractorConfig, weights: Vgg19Weights, *, motion: bool = True
    ) -> None:
        """Load the weights onto the devices. Raises InputError when they are corrupt."""
        self.extraction = complete_config(config, weights)
        fc6 = cast(Fc6, self.extraction.fc6)
        precision = cast(VggPrecision, self.extraction.precision)
        arrays = weights.appearance.load()
        is_shared = weights.motion.sha256 == weights.appearance.sha256
        mesh = device_mesh()
        params = on_devices(arrays, precision, mesh)

        def network(of: Weights) -> Fc6Network:
            return Fc6Network(of.architecture, of.preprocessing, params, fc6, precision, mesh)

        self.appearance = network(weights.appearance)
        self.motion: Fc6Network | None = None
        if motion:
            if not is_shared:
                arrays = weights.motion.load()
                params = on_devices(arrays, precision, mesh)
            if weights.motion_origin == "cross_modality":
                kernel = for_flow(arrays[f"{FIRST_LAYER}.kernel"])
                first = on_devices({f"{FIRST_LAYER}.kernel": kernel}, precision, mesh)[FIRST_LAYER]
                params = {**params, FIRST_LAYER: {**params[FIRST_LAYER], **first}}
            self.motion = network(weights.motion)

    def stream(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[FrameFeatures]:
        """Yield the features of each video frame; holds two batches of images and of flow."""
        if self.motion is None:
            raise ValueError("opened without motion")
        images, flow_images = tee(frames)
        flow = open_flow(cast(FlowMethod, self.extraction.flow))
        motion = self.motion.stream(flow_stacks(flow_images, flow))
        return map(FrameFeatures, self.appearance.stream(images), motion)

    def stream_appearance(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[Float16[np.ndarray, " appearance_dim"]]:
        """Yield only the appearance of each video frame."""
        return self.appearance.stream(frames)


def for_flow(
    kernel: Float32[np.ndarray, "height width 3 out"],
) -> Float32[np.ndarray, "height width channels out"]:
    """Convert a first layer for images to one for stacks of flow."""
    return np.repeat(kernel.mean(axis=2, keepdims=True), STACK_CHANNELS, axis=2)
