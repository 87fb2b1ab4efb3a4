"""Sizes of the model."""

from dataclasses import dataclass
from typing import Literal

from v2s_jax.config.validation import check_range, check_types, nearest_divisors
from v2s_jax.errors import InputError
from v2s_jax.quantize import MAX_Q_LEVELS, MIN_Q_LEVELS, Quantization

Variant = Literal["frame", "seq", "flow", "aligned", "unconditional"]
Cell = Literal["gru", "lstm"]
Mlp = Literal["paper", "original"]
Feature = Literal["appearance", "motion"]

TWO_TIERS = 2
THREE_TIERS = 3
TIERS = (TWO_TIERS, THREE_TIERS)
"""Numbers of tiers in Mehri et al. 2017."""

MAX_WIDTH = 2**16
"""Widest layer or feature: sixteen times VGG19's fc6."""
MAX_RNN_LAYERS = 64
"""Stacked recurrent layers: far above the 5 of Mehri et al. 2017."""
MAX_LOOKAHEAD = 2**10
"""Video frames: a minute, as the most context layers read."""
MAX_CONTEXT_LAYERS = 10
"""Each doubles the video frames that are read: 1,023 of them last 65 s."""


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the conditioned SampleRNN. Raises InputError for values that do not fit."""

    variant: Variant = "frame"
    """How the video enters: `frame` concatenates appearance to the coarsest tier's input; `seq`
    starts that tier from an encoder of appearance, `flow` from one of appearance and motion.
    `aligned` (ours, not in the paper) concatenates a context vector of appearance and motion of the
    video frames around the current one."""
    tiers: int = 3
    """3: big frames, frames, samples. 2: big frames and samples; frame_size equals
    big_frame_size."""
    cell: Cell = "gru"
    """The recurrent cell of the tiers and of the encoder."""
    rnn_layers: int = 1
    """Stacked recurrent layers of each tier and of the encoder."""
    big_frame_size: int = 8
    """Samples per tick of the coarsest tier (absolute, not a ratio)."""
    frame_size: int = 2
    """Samples per tick of the middle tier, and embedded samples read by the MLP."""
    dim: int = 1_024
    """Width of the recurrent layers."""
    mlp_dim: int = 1_024
    """Width of the hidden layers of the sample-level MLP."""
    mlp: Mlp = "paper"
    """The sample-level MLP: `paper` applies a ReLU to the summed inputs, then one hidden layer
    (Mehri et al. 2017, the text); `original` leaves the sum linear and has two hidden layers, as
    the authors' code does: one mlp_dim x mlp_dim layer more, and for `--engine scan` only."""
    embedding_dim: int = 256
    """Width of the embedding of one level, which only the MLP reads."""
    appearance_dim: int = 4_096
    """Width of the appearance feature (VGG19 fc6 in the paper)."""
    motion_dim: int = 4_096
    """Width of the motion feature, which only `flow` and `aligned` read."""
    visual_proj_dim: int | None = None
    """Width of a projection (linear + ReLU) of the features; None: none, as in the paper."""
    standardize_appearance: bool = False
    """Subtract the training set's mean appearance and divide by a scalar; not in the paper."""
    standardize_motion: bool = False
    """The same for motion."""
    principal_components: int | None = None
    """Reduce standardised features to this many principal components of the training set, each
    scaled to a variance of about 1, instead of dividing by a scalar; not in the paper."""
    lookahead: int = 8
    """For `aligned`: video frames after the current one that its context vector reads, by default
    half a second. Sound that is generated live is late by as much; 0: none."""
    context_layers: int = 4
    """For `aligned`: dilated convolutions over the video frames; n of them read 2**n - 1 video
    frames before the current one."""
    context_dim: int = 128
    """For `aligned`: width of a context vector."""
    context_vectors: int = 4
    """For `aligned`: context vectors per video frame, by default one for each 16 ms of sound."""
    weight_norm: bool = True
    """Weight normalisation on every linear map, as in SampleRNN."""
    learn_h0: bool = True
    """Learn the initial states of the recurrent tiers instead of starting from zero; the encoder's
    last state replaces that of the coarsest tier."""
    q_levels: int = MAX_Q_LEVELS
    """Number of quantization levels of one sample."""
    quantization: Quantization = "linear"
    """Spacing of the levels."""

    def __post_init__(self) -> None:
        check_types(self, "model")
        check_range(
            self,
            1,
            MAX_WIDTH,
            *("big_frame_size", "frame_size", "dim", "mlp_dim", "embedding_dim"),
            *("appearance_dim", "motion_dim", "visual_proj_dim", "principal_components"),
            *("context_dim", "context_vectors", "context_layers"),
        )
        check_range(self, 1, MAX_RNN_LAYERS, "rnn_layers")
        check_range(self, 0, MAX_LOOKAHEAD, "lookahead")
        if self.context_layers > MAX_CONTEXT_LAYERS:
            raise InputError(
                f"context_layers is {self.context_layers}: use at most {MAX_CONTEXT_LAYERS}, which "
                "read a minute of video"
            )
        if self.lookahead > self.context_past and self.variant == "aligned":
            raise InputError(
                f"lookahead is {self.lookahead}: {self.context_layers} context_layers read at most "
                f"{self.context_past} video frames ahead: use fewer, or more layers"
            )
        self._check_components()
        if self.big_frame_size % self.frame_size:
            nearest = nearest_divisors(self.big_frame_size, self.frame_size)
            raise InputError(
                f"frame_size {self.frame_size} does not divide big_frame_size "
                f"{self.big_frame_size}: use {nearest}"
            )
        if self.tiers not in TIERS:
            raise InputError(f"tiers is {self.tiers}: use one of {TIERS}")
        if self.tiers == TWO_TIERS and self.frame_size != self.big_frame_size:
            raise InputError(
                f"frame_size {self.frame_size} differs from big_frame_size {self.big_frame_size}, "
                f"but 2 tiers have frames of one size: use {self.big_frame_size} for both"
            )
        if not MIN_Q_LEVELS <= self.q_levels <= MAX_Q_LEVELS:
            raise InputError(
                f"q_levels is {self.q_levels}: use {MIN_Q_LEVELS} to {MAX_Q_LEVELS} "
                "(levels are stored in one byte)"
            )

    def _check_components(self) -> None:
        count = self.principal_components
        if count is None:
            return
        if not (self.standardize_appearance or self.standardize_motion):
            raise InputError(
                f"principal_components {count} needs standardised features: add "
                "--model.standardize-appearance, or leave it out"
            )
        for feature in self.standardized:
            width: int = getattr(self, f"{feature}_dim")
            if count > width:
                raise InputError(
                    f"principal_components is {count}: use 1 to {width}, the width of {feature}"
                )

    @property
    def lookback(self) -> int:
        """Samples needed before the first prediction."""
        return self.big_frame_size

    @property
    def ratio(self) -> int:
        """Ticks of the frame tier per tick of the big-frame tier."""
        return self.big_frame_size // self.frame_size

    @property
    def feature_dim(self) -> int:
        """Width of the features of a video frame: appearance, and motion if the model reads it."""
        return self.appearance_dim + (self.motion_dim if self.reads_motion else 0)

    @property
    def reads_motion(self) -> bool:
        """Whether the model reads motion besides appearance (`flow`, `aligned`)."""
        return self.variant in ("flow", "aligned")

    @property
    def standardized(self) -> tuple[Feature, ...]:
        """The features that the model standardises."""
        enabled: dict[Feature, bool] = {
            "appearance": self.standardize_appearance and self.variant != "unconditional",
            "motion": self.standardize_motion and self.reads_motion,
        }
        return tuple(feature for feature, is_enabled in enabled.items() if is_enabled)

    @property
    def standardized_dim(self) -> int:
        """Width of the features after standardisation, before any projection."""
        widths = {"appearance": self.appearance_dim}
        if self.reads_motion:
            widths["motion"] = self.motion_dim
        components = self.principal_components
        return sum(
            components if components and feature in self.standardized else width
            for feature, width in widths.items()
        )

    @property
    def encodes_video(self) -> bool:
        """Whether an encoder reads the whole video before the first sample (`seq`, `flow`)."""
        return self.variant in ("seq", "flow")

    @property
    def reads_along(self) -> bool:
        """Whether the coarsest tier reads each video frame as it comes (`frame`, `aligned`)."""
        return self.variant in ("frame", "aligned")

    @property
    def context_past(self) -> int:
        """Video frames before the current one that the coarsest tier's input depends on."""
        return 2**self.context_layers - 1 if self.variant == "aligned" else 0

    @property
    def context_future(self) -> int:
        """Video frames after the current one that the coarsest tier's input depends on."""
        return self.lookahead if self.variant == "aligned" else 0

    @property
    def vectors_per_frame(self) -> int:
        """Vectors that the coarsest tier reads of each video frame."""
        return self.context_vectors if self.variant == "aligned" else 1

    @property
    def window(self) -> int:
        """Video frames that the coarsest tier's input depends on, the current one included."""
        return self.context_past + 1 + self.context_future
