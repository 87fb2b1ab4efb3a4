"""The options of `data.prepare` that choose an extractor, alike for every kind of data set."""

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from v2s_jax.config import Extraction, ExtractorName, Fc6, FlowMethod
from v2s_jax.features.extractor import ExtractorSpec, WeightFiles


@dataclass(frozen=True)
class ExtractorWords:
    """What turns video frames into features."""

    extractor: ExtractorName = "pixels"
    """vgg19: fc6 of pictures and of optical flow, as in the paper; pixels: no learned weights."""
    flow: FlowMethod | None = None
    """For vgg19: optical flow, dis unless given; tvl1 needs opencv-contrib-python-headless."""
    fc6: Fc6 | None = None
    """For vgg19: fc6 after_relu, unless given, or before_relu."""
    weights: Annotated[WeightFiles, tyro.conf.arg(name="")] = field(default_factory=WeightFiles)
    """Files of weights."""

    @property
    def spec(self) -> ExtractorSpec:
        """The same as a specification."""
        return ExtractorSpec(self.extractor, Extraction(fc6=self.fc6, flow=self.flow), self.weights)
