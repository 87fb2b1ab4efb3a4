"""Settings of the feature extractor."""

import dataclasses
import string
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

import numpy as np
from jaxtyping import Float64

from v2s_jax.config.validation import check_types
from v2s_jax.errors import InputError

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
QUANTILES = 11
"""Quantiles of each curve that a model knows for each category: 0, 10, .. 100 %."""
EXCERPT_ALPHABET = string.digits + string.ascii_letters
"""Characters of the values from 0 to 1 of an excerpt: steps of 1 dB of loudness."""
RESERVED_NAMES = ("time_sec", "loudness", "onset")
"""Columns of controls in CSV files, which no category can have."""
RANGE_FIELDS = (
    *("control_quantiles", "control_memory", "control_excerpts"),
    "synthetic_categories",
)
"""Fields that describe the training set only: other data may differ."""

EXCERPT_FRAME_CHARS = 8
"""Four values of loudness and four of onset strength."""


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
    control_excerpts: tuple[str, ...] | None = None
    """For each category some of its curves there, as text (`features.excerpts`)."""
    synthetic_categories: tuple[str, ...] | None = None
    """Categories whose sounds in the training set are computed, not recorded."""

    def __post_init__(self) -> None:
        check_types(self, "extraction")
        self._check_controls()

    @property
    def quantiles(self) -> Float64[np.ndarray, "categories 2 quantiles"]:
        """Quantiles of loudness and onset strength of each category."""
        shape = (len(self.categories or ()), 2, QUANTILES)
        return np.reshape(self.control_quantiles or (), shape).astype(np.float64)

    def _check_controls(self) -> None:
        names, memory = self.categories, self.control_memory
        if names is not None and (not names or len(set(names)) != len(names)):
            raise InputError(f"extraction.categories is {names}: use distinct names")
        for name in names or ():
            if PurePath(name).name != name or name in ("..", *RESERVED_NAMES):
                raise InputError(
                    f"extraction.categories has {name!r}: use a name that can be a file's, and "
                    f"none of {', '.join(RESERVED_NAMES)}"
                )
        if unknown := set(self.synthetic_categories or ()) - set(names or ()):
            raise InputError(
                f"extraction.synthetic_categories has {', '.join(sorted(unknown))}: use names in "
                "extraction.categories"
            )
        count, values = len(names or ()), self.control_quantiles
        if values is not None:
            is_valid = len(values) == count * 2 * QUANTILES and all(0 <= x <= 1 for x in values)
            if not is_valid or (np.diff(self.quantiles) < 0).any():
                raise InputError(
                    f"extraction.control_quantiles has {len(values)} values: it must be "
                    f"{2 * QUANTILES} for each of {count} categories, from 0 to 1, ascending"
                )
        if memory is not None and not (len(memory) == count and all(0 <= x < 1 for x in memory)):
            raise InputError(
                f"extraction.control_memory is {memory}: it must be {count} values from 0 to "
                "below 1"
            )
        if (excerpts := self.control_excerpts) is not None and (
            len(excerpts) != count or not all(map(is_excerpts, excerpts))
        ):
            raise InputError(
                f"extraction.control_excerpts: it must have excerpts of each of {count} "
                f"categories, {EXCERPT_FRAME_CHARS} digits or letters for each video frame"
            )

    def with_defaults(self, defaults: "ExtractorConfig") -> "ExtractorConfig":
        """Return this config with `defaults` for the values that are None."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return dataclasses.replace(defaults, **given)

    def without_ranges(self) -> "ExtractorConfig":
        """Return this config without what describes the training set only."""
        return dataclasses.replace(self, **dict.fromkeys(RANGE_FIELDS))

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


def is_excerpts(text: str) -> bool:
    """Whether a text has excerpts of curves: at least one, each of whole video frames."""
    excerpts = text.split()
    return bool(excerpts) and all(
        len(excerpt) % EXCERPT_FRAME_CHARS == 0 and set(excerpt) <= set(EXCERPT_ALPHABET)
        for excerpt in excerpts
    )
