"""Where the right answers stand in a ranking by score, and where they would stand by chance.

Equal scores have no order: whatever depends on it is averaged over all of them, each as likely as
the other. A ranking in which all scores are equal so gives the chance level of the same number.
"""

import numpy as np
from jaxtyping import Bool, Float64


def hit_share(
    scores: Float64[np.ndarray, " sounds"], right: Bool[np.ndarray, " sounds"], top: int
) -> float:
    """Return the probability that one of the `right` sounds is among the `top` highest scores.

    0 or 1 unless equal scores meet at place `top`. With r places for T equal ones, m of them
    right, it is 1 - C(T - m, r) / C(T, r). A `top` beyond the last place is the last place.
    """
    places = min(top, len(scores))
    boundary = np.sort(scores)[-places]
    above, equal = scores > boundary, scores == boundary
    if (right & above).any():
        return 1.0
    left = places - np.count_nonzero(above)
    wrong, tied = np.count_nonzero(equal & ~right), np.count_nonzero(equal)
    drawn = np.arange(left)
    return float(1.0 - np.prod(np.maximum(wrong - drawn, 0) / (tied - drawn)))


def reciprocal_rank(
    scores: Float64[np.ndarray, " sounds"], right: Bool[np.ndarray, " sounds"]
) -> float:
    """Return the expectation of 1 / rank of the one `right` sound; the highest score has rank 1."""
    own = scores[right].item()
    above, equal = np.count_nonzero(scores > own), np.count_nonzero(scores == own)
    return float(np.mean(1.0 / np.arange(above + 1, above + equal + 1)))
