"""What was seen in a video, and what to say of it. Light to import: no network."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32

from v2s_jax.features.imagenet.categories import Seen, class_labels, seen, top_labels

KNOWN_MASS = 0.1
"""Least mass of the likeliest category in a video that shows one. In photographs of other things
all of them together have 0.01 to 0.06; drawings of other things have up to 0.24 for one."""


@dataclass
class SeenInVideo:
    """What was seen in a video so far."""

    categories: tuple[str, ...]
    frames: int = 0
    """Classified video frames."""
    probabilities: Float[np.ndarray, " 1000"] = field(
        default_factory=lambda: np.zeros(len(class_labels()))
    )
    """Their mean."""

    def add(self, probabilities: Float32[np.ndarray, " 1000"]) -> None:
        """Add a classified video frame."""
        self.frames += 1
        self.probabilities += (probabilities - self.probabilities) / self.frames

    @property
    def is_known(self) -> bool:
        """Whether the video shows one of the categories."""
        return self.by_evidence()[0].mass >= KNOWN_MASS

    def by_evidence(self) -> tuple[Seen, ...]:
        """Return what was seen of each category, most evidence first."""
        return seen(self.probabilities, self.categories)

    def __str__(self) -> str:
        first, *others = self.by_evidence()
        labels = f" ({', '.join(first.labels)})" if first.labels else ""
        rest = [f"{one.category} {one.mass:.2f}" for one in others[:2] if one.mass >= 0.005]
        return ", ".join([f"{first.category} {first.mass:.2f}{labels}", *rest])

    def warning(self) -> str | None:
        """Return what to tell the user if nothing known was seen."""
        if self.is_known:
            return None
        nearest = self.by_evidence()[0].category
        return (
            f"shows nothing that the model knows ({', '.join(top_labels(self.probabilities))}): "
            f"the nearest category is {nearest}: choose one (--category, on the page Sound)"
        )
