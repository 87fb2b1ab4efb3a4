"""Settings of the feature extractor."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from v2s_jax.config.validation import check_types

VideoExtractorName = Literal["pixels", "vgg19"]
ExtractorName = Literal[VideoExtractorName, "controls"]
"""`controls` are computed from sounds for training, and from videos for generation."""
FlowMethod = Literal["dis", "farneback", "tvl1"]
Fc6 = Literal["after_relu", "before_relu"]
VggPrecision = Literal["float32", "bfloat16"]
MotionOrigin = Literal["flow_weights", "cross_modality"]

APPEARANCE_FIELDS = (
    *("fc6", "precision", "appearance_weights_sha256"),
    *("controls_version", "categories"),
)
"""Fields of `ExtractorConfig` that appearance depends on; motion depends on all."""
RANGE_FIELDS = ("control_quantiles", "control_memory")
"""Fields that describe the training set only: other data may differ."""


@dataclass(frozen=True)
class ExtractorConfig:
    """Settings of the `vgg19` and `controls` extractors; `pixels` has none.

    None means any. The metadata of a dataset hold every value of its extractor, and a run copies
    them into its config.
    """

    fc6: Fc6 | None = None
    """fc6 after its ReLU, as the layer of that name in Caffe and Keras, or before it."""
    precision: VggPrecision | None = None
    """Precision of the networks' matrix products."""
    appearance_weights_sha256: str | None = None
    """SHA-256 of the weights for appearance."""
    flow: FlowMethod | None = None
    """Method of optical flow."""
    motion_weights_sha256: str | None = None
    """SHA-256 of the weights for motion, before cross-modality initialisation."""
    motion_origin: MotionOrigin | None = None
    """Whether these weights were trained on flow, or on images and adapted to flow."""
    controls_version: int | None = None
    """Version of the definition of `controls`."""
    categories: tuple[str, ...] | None = None
    """What each value of the appearance of `controls` stands for."""
    control_quantiles: tuple[float, ...] | None = None
    """For each category the quantiles of loudness, then of onset strength, in the training set."""
    control_memory: tuple[float, ...] | None = None
    """For each category the correlation of loudness between neighbouring parts there."""

    def __post_init__(self) -> None:
        check_types(self, "extraction")

    def with_defaults(self, defaults: "ExtractorConfig") -> "ExtractorConfig":
        """Return this config with `defaults` for the values that are None."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return dataclasses.replace(defaults, **given)

    def diff(self, actual: "ExtractorConfig", *, motion: bool) -> list[str]:
        """List the fields in which `actual` differs from this config, motion included or not."""
        values = vars(actual)
        return [
            f"extraction.{name} is {values[name]}, expected is {value}"
            for name, value in vars(self).items()
            if (motion or name in APPEARANCE_FIELDS)
            and name not in RANGE_FIELDS
            and value not in (None, values[name])
        ]
