"""The paper's features: fc6 of VGG19 for appearance, of a temporal ConvNet for motion.

    appearance_i = fc6 of VGG19 for video frame i, resized whole to 224 x 224 px
    motion_i     = fc6 of a VGG network for the flow of ten steps around it (`flow_stacks`)

The temporal ConvNet has VGG16's sizes, as in Wang et al. 2015, or VGG19's: those of the weights.
Weights that were trained on flow read 20 channels and are taken as they are. Weights that were
trained on pictures read 3; their first layer is averaged over these and repeated for the 20
(cross-modality initialisation, Wang et al. 2015 and 2016). Without a file of their own, VGG19's
weights for appearance serve, all but the first layer in the same memory.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import tee
from pathlib import Path
from typing import ClassVar, NamedTuple, cast

import numpy as np
from jaxtyping import Float16, Float32, UInt8

from v2s_jax.config import (
    ExtractorConfig,
    ExtractorName,
    Fc6,
    FlowMethod,
    MotionOrigin,
    VggPrecision,
)
from v2s_jax.errors import InputError
from v2s_jax.features.fc6 import Fc6Network, device_mesh, on_devices
from v2s_jax.features.flow_stacks import CHANNELS, flow_stacks
from v2s_jax.features.optical_flow import check_flow, open_flow
from v2s_jax.features.vgg import FC6_DIM, PICTURE_PX, RGB, VGG16, VGG19, Architecture
from v2s_jax.features.weights import Weights, find_cached, find_weights
from v2s_jax.types import Features, FrameFeatures

DEFAULTS = ExtractorConfig(fc6="after_relu", precision="float32", flow="dis")
"""What is done unless another is wanted."""
FIRST_KERNEL = "conv1_1.kernel"
TEMPORAL = (VGG16, VGG19)
"""Networks that the temporal ConvNet may be."""


class Vgg19Weights(NamedTuple):
    """The weights of both networks, found but not loaded."""

    appearance: Weights
    motion: Weights

    @property
    def motion_origin(self) -> MotionOrigin:
        """What motion's were trained on."""
        return "flow_weights" if self.motion.channels == CHANNELS else "cross_modality"


def find_vgg19_weights(
    wanted: ExtractorConfig,
    vgg19_file: Path | None,
    motion_file: Path | None,
    *,
    spatial: Architecture = VGG19,
    temporal: tuple[Architecture, ...] = TEMPORAL,
) -> Vgg19Weights:
    """Return the weights that are wanted, from the files or where they lie already.

    Raises InputError when there are none, or others.
    """
    appearance = find_weights(
        vgg19_file, wanted.appearance_weights_sha256, option="--vgg19-weights", known=(spatial,)
    )
    if appearance.channels != RGB:
        raise InputError(
            f"{vgg19_file}: its first layer reads {appearance.channels} channels, pictures have "
            f"{RGB}: give weights trained on ImageNet"
        )
    motion = _motion_weights(wanted.motion_weights_sha256, motion_file, appearance, temporal)
    if motion.channels not in (RGB, CHANNELS):
        raise InputError(
            f"{motion_file}: its first layer reads {motion.channels} channels: give weights for "
            f"{CHANNELS} of flow, or {RGB} of pictures"
        )
    return Vgg19Weights(appearance, motion)


def _motion_weights(
    wanted_sha256: str | None,
    file: Path | None,
    appearance: Weights,
    known: tuple[Architecture, ...],
) -> Weights:
    if file is not None:
        return find_weights(file, wanted_sha256, option="--motion-weights", known=known)
    if wanted_sha256 in (None, appearance.sha256):
        return appearance
    found = find_cached(wanted_sha256, known)
    if found is None:
        raise InputError(
            f"the motion weights with SHA-256 {wanted_sha256}, which the features were made with, "
            "are not here: give their file with --motion-weights"
        )
    return found


def complete_config(wanted: ExtractorConfig, found: Vgg19Weights) -> ExtractorConfig:
    """Return how features are made with these weights, nothing left open.

    Raises InputError when OpenCV lacks the flow.
    """
    complete = wanted.with_defaults(
        replace(
            DEFAULTS,
            appearance_weights_sha256=found.appearance.sha256,
            motion_weights_sha256=found.motion.sha256,
            motion_origin=found.motion_origin,
        )
    )
    check_flow(cast(FlowMethod, complete.flow))
    return complete


class Vgg19Extractor:
    """Both networks, as the module describes; without `motion` the one for appearance alone."""

    name: ClassVar[ExtractorName] = "vgg19"
    picture_height_px: ClassVar[int] = PICTURE_PX
    picture_width_px: ClassVar[int] = PICTURE_PX
    appearance_dim: ClassVar[int] = FC6_DIM
    motion_dim: ClassVar[int] = FC6_DIM

    def __init__(
        self, wanted: ExtractorConfig, found: Vgg19Weights, *, motion: bool = True
    ) -> None:
        """Load the weights onto the devices. Raises InputError for damaged ones."""
        self.extraction = complete_config(wanted, found)
        fc6 = cast(Fc6, self.extraction.fc6)
        precision = cast(VggPrecision, self.extraction.precision)
        arrays = found.appearance.load()
        shares = found.motion.sha256 == found.appearance.sha256
        copies = 1 if shares or not motion else 2
        mesh = device_mesh(copies * sum(array.nbytes for array in arrays.values()))
        params = on_devices(arrays, precision, mesh)
        weights = found.appearance
        self.appearance = Fc6Network(
            weights.architecture, weights.preprocessing, params, fc6, precision, mesh
        )
        self.motion: Fc6Network | None = None
        if motion:
            weights = found.motion
            if not shares:
                arrays = weights.load()
                params = on_devices(arrays, precision, mesh)
            if found.motion_origin == "cross_modality":
                first = {FIRST_KERNEL: for_flow(arrays[FIRST_KERNEL])}
                layer, role = FIRST_KERNEL.split(".")
                placed = on_devices(first, precision, mesh)[layer][role]
                params = {**params, layer: {**params[layer], role: placed}}
            self.motion = Fc6Network(
                weights.architecture, weights.preprocessing, params, fc6, precision, mesh
            )

    def stream(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[FrameFeatures]:
        """Yield each video frame's features; holds two batches of pictures and of flow."""
        if self.motion is None:
            raise ValueError("opened without motion")
        seen, moving = tee(frames)
        flow = open_flow(cast(FlowMethod, self.extraction.flow))
        motion = self.motion.stream(flow_stacks(moving, flow))
        return map(FrameFeatures, self.appearance.stream(seen), motion)

    def stream_appearance(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[Float16[np.ndarray, " appearance_dim"]]:
        """Yield each video frame's appearance alone, for models that do not read motion."""
        return self.appearance.stream(frames)

    def extract(self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]) -> Features:
        """Return the features of a whole clip, which must have at least one picture."""
        return Features.stacked(self.stream(frames))


def for_flow(
    kernel: Float32[np.ndarray, "height width 3 out"],
) -> Float32[np.ndarray, "height width channels out"]:
    """Return a first layer for stacks of flow from one for pictures."""
    return np.repeat(kernel.mean(axis=2, keepdims=True), CHANNELS, axis=2)
