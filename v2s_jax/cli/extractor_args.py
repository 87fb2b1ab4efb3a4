"""The options of `v2s prepare` that choose an extractor, alike for every kind of data set."""

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from v2s_jax.config import ExtractorConfig, ExtractorName, Fc6, FlowMethod, VggPrecision
from v2s_jax.features.extractor import ExtractorSpec, WeightFiles


@dataclass(frozen=True)
class ExtractorWords:
    """What turns video frames into features."""

    extractor: ExtractorName = "pixels"
    """vgg19: fc6 of pictures and of optical flow, as in the paper; pixels: no learned weights."""
    flow: FlowMethod | None = None
    """For vgg19: optical flow, dis unless given."""
    fc6: Fc6 | None = None
    """For vgg19: fc6 after_relu, unless given, or before_relu."""
    vgg_precision: VggPrecision | None = None
    """For vgg19: float32, unless given, or bfloat16, faster where the device has it."""
    weights: Annotated[WeightFiles, tyro.conf.arg(name="")] = field(default_factory=WeightFiles)
    """Files of weights."""

    @property
    def spec(self) -> ExtractorSpec:
        """The same as a specification."""
        wanted = ExtractorConfig(fc6=self.fc6, precision=self.vgg_precision, flow=self.flow)
        return ExtractorSpec(self.extractor, wanted, self.weights)
