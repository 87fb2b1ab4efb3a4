"""How features are made, as far as there is a choice."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from v2s_jax.config.validation import check_choice

ExtractorName = Literal["pixels", "vgg19"]
FlowMethod = Literal["dis", "farneback", "tvl1"]
Fc6 = Literal["after_relu", "before_relu"]
VggPrecision = Literal["float32", "bfloat16"]
MotionOrigin = Literal["flow_weights", "cross_modality"]

APPEARANCE_FIELDS = ("fc6", "precision", "appearance_weights_sha256")
"""Fields of `ExtractorConfig` that appearance depends on; motion does on all."""


@dataclass(frozen=True)
class ExtractorConfig:
    """How features were made, where the extractor leaves a choice; `pixels` leaves none.

    None: not fixed. The metadata of a data set made with `vgg19` have every value, and a run takes
    them over into its config.
    """

    fc6: Fc6 | None = None
    """fc6 after its ReLU, as Caffe's and Keras's layer of that name, or before it."""
    precision: VggPrecision | None = None
    """What the networks' products are computed in."""
    appearance_weights_sha256: str | None = None
    """Digest of the network that makes appearance."""
    flow: FlowMethod | None = None
    """The method of optical flow."""
    motion_weights_sha256: str | None = None
    """Digest of the network that makes motion, before cross-modality initialisation."""
    motion_origin: MotionOrigin | None = None
    """Whether that network was trained on flow, or on pictures and given flow."""

    def __post_init__(self) -> None:
        for name, choices in (
            ("fc6", Fc6),
            ("precision", VggPrecision),
            ("flow", FlowMethod),
            ("motion_origin", MotionOrigin),
        ):
            if getattr(self, name) is not None:
                check_choice(f"extraction.{name}", getattr(self, name), choices)

    def with_defaults(self, made: "ExtractorConfig") -> "ExtractorConfig":
        """Return this with the values of `made` where it fixes none."""
        fixed = {name: value for name, value in vars(self).items() if value is not None}
        return dataclasses.replace(made, **fixed)

    def diff(self, made: "ExtractorConfig", *, motion: bool) -> list[str]:
        """List where `made` is not what this fixes: of motion too, or of appearance alone."""
        found = vars(made)
        return [
            f"extraction.{name} is {found[name]}, wanted is {value}"
            for name, value in vars(self).items()
            if (motion or name in APPEARANCE_FIELDS) and value not in (None, found[name])
        ]
