"""What the paper reports on VEGAS, to be printed beside our numbers and never mixed with them.

Zhou et al. 2018, tables 1 and 2. The paper does not say whether its cross-entropy is in nats or
bits. Its chance level for instances, 0.78 %, is one of 128: a category's test clips. All 1,280 were
ranked, of which one is 0.078 %.
"""

from typing import Any

MODELS = ("Frame", "Seq", "Flow")

TABLE_1 = {
    "train": (2.6143, 2.5991, 2.6037),
    "test": (2.7061, 2.6866, 2.6839),
}
"""Average cross-entropy, in the order of MODELS; unit not stated."""

TABLE_2_PERCENT = {
    ("category", 1): (40.55, 44.14, 45.47),
    ("category", 5): (53.59, 58.28, 60.31),
    ("instance", 1): (4.77, 5.70, 5.94),
    ("instance", 5): (7.81, 9.14, 10.08),
}
"""Share of the 1,280 queries whose top k hold the right one, in the order of MODELS."""

RANKED = 1_280
"""Sounds that each query ranked: 128 of each of ten categories."""


def vegas() -> dict[str, Any]:
    """Return the numbers for the report."""
    return {
        "data": "VEGAS (Zhou et al. 2018, tables 1 and 2)",
        "cross_entropy_unit": "not stated",
        "cross_entropy": {
            split: dict(zip(MODELS, values, strict=True)) for split, values in TABLE_1.items()
        },
        "retrieval_percent": {
            f"{of}_top_{top}": dict(zip(MODELS, values, strict=True))
            for (of, top), values in TABLE_2_PERCENT.items()
        },
        "retrieval_sounds": RANKED,
    }
