"""Other videos for the sounds of clips: the negative control of whatever a model owes to sight."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from v2s_jax.evaluation.sync import derangements


def derange_within_category(
    categories: Sequence[str], seed: int, *, within: bool
) -> Int64[np.ndarray, " clips"]:
    """Give each clip another one, and every clip to one: a derangement of all that can be paired.

    `within` its own category, or any other clip. A clip that has no other to be paired with keeps
    itself.
    """
    names = np.array(categories if within else [""] * len(categories))
    partner = np.arange(len(names))
    for name in dict.fromkeys(names.tolist()):
        members = np.flatnonzero(names == name)
        for pairing in derangements(len(members), seed)[:1]:
            partner[members] = members[pairing]
    return partner
