"""How many bytes of weights sampling reads, which bounds its speed."""

from typing import NamedTuple

from v2s_jax.config import ModelConfig
from v2s_jax.kernels.packing import GATES, WEIGHT_BYTES, WeightFormat, has_seven_products


class WeightReads(NamedTuple):
    """Bytes of weights that each tick of a tier reads, once for all rows of a batch.

    Tables, small kernels and the visual kernel, read once per video frame, are not counted.
    """

    per_sample: int
    per_frame: int
    per_big_frame: int

    @property
    def working_sets(self) -> tuple[int, int, int]:
        """Bytes read between two ticks of the sample, frame and big-frame tier."""
        frame = self.per_sample + self.per_frame
        return self.per_sample, frame, frame + self.per_big_frame

    def by_tier(self, config: ModelConfig) -> tuple[float, float, float]:
        """Bytes read for one sample by the sample, frame and big-frame tier, on average."""
        big_frame = self.per_big_frame / config.big_frame_size
        return float(self.per_sample), self.per_frame / config.frame_size, big_frame


def weight_reads(config: ModelConfig, weights: WeightFormat) -> WeightReads | None:
    """Return what sampling reads; None for a model that is not three tiers of one GRU layer."""
    c, size = config, WEIGHT_BYTES[weights]
    if not has_seven_products(c):
        return None
    hidden_layers = 1 if c.mlp == "paper" else 2
    return WeightReads(
        per_sample=size * c.mlp_dim * (hidden_layers * c.mlp_dim + c.q_levels),
        per_frame=size * c.dim * (GATES * c.dim + c.frame_size * c.mlp_dim),
        per_big_frame=size * c.dim * (GATES * c.dim + c.ratio * c.dim + GATES * c.dim),
    )
