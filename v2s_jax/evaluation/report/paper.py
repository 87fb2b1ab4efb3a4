"""Results that the paper reports on VEGAS, printed next to ours.

Zhou et al. 2018, tables 1 and 2. The paper does not say whether its cross-entropy is in nats or
bits. Its chance level for instances, 0.78 %, is one of 128, a category's test clips. All 1,280 were
ranked, of which one is 0.078 %.
"""

from dataclasses import dataclass, field

MODELS = ("Frame", "Seq", "Flow")
CROSS_ENTROPY = {
    "train": (2.6143, 2.5991, 2.6037),
    "test": (2.7061, 2.6866, 2.6839),
}
"""Table 1: average cross-entropy, in the order of MODELS; unit not stated."""
RETRIEVAL_PERCENT = {
    ("category", 1): (40.55, 44.14, 45.47),
    ("category", 5): (53.59, 58.28, 60.31),
    ("instance", 1): (4.77, 5.70, 5.94),
    ("instance", 5): (7.81, 9.14, 10.08),
}
"""Table 2: share of the 1,280 queries whose top k hold the right one, in the order of MODELS."""
RETRIEVAL_CLIPS = 1_280
"""Clips that were ranked for each query: 128 of each of ten categories."""


@dataclass(frozen=True)
class PaperResults:
    """The numbers by model, for report.json."""

    data: str = "VEGAS (Zhou et al. 2018, tables 1 and 2)"
    cross_entropy_unit: str = "not stated"
    cross_entropy: dict[str, dict[str, float]] = field(
        default_factory=lambda: {
            split: dict(zip(MODELS, values, strict=True)) for split, values in CROSS_ENTROPY.items()
        }
    )
    retrieval_percent: dict[str, dict[str, float]] = field(
        default_factory=lambda: {
            f"{right}_top_{top}": dict(zip(MODELS, values, strict=True))
            for (right, top), values in RETRIEVAL_PERCENT.items()
        }
    )
    retrieval_clips: int = RETRIEVAL_CLIPS
