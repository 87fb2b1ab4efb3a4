"""The configuration: one clock, the model's sizes, the training run. A config is a value.

Frozen dataclasses hold every number that a stage reads; sizes that follow from others are
properties here and nowhere else. A config travels as JSON inside every checkpoint, so sampling
takes no model flags. `PRESETS` holds the named configs; variations are made with
`dataclasses.replace`.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, get_args

from v2s_jax.errors import InputError
from v2s_jax.quantize import MAX_Q_LEVELS, MIN_Q_LEVELS, Quantization

MAX_SEED = 2**32 - 1
"""Seeds are one 32-bit word of a counter-based generator's key."""

FORMAT_VERSION = 1
"""Version of the JSON form; raised whenever an old checkpoint could be read wrongly."""

Variant = Literal["frame", "seq", "flow", "unconditional"]
Cell = Literal["gru", "lstm"]
ExtractorName = Literal["pixels", "vgg19"]
FlowMethod = Literal["dis", "farneback", "tvl1"]
Fc6 = Literal["after_relu", "before_relu"]
VggPrecision = Literal["float32", "bfloat16"]
MotionOrigin = Literal["flow_weights", "cross_modality"]
Precision = Literal["default", "high", "highest", "bfloat16"]

TWO_TIERS = 2
THREE_TIERS = 3
TIERS = (TWO_TIERS, THREE_TIERS)
"""The numbers of tiers that Mehri et al. 2017 report on."""


@dataclass(frozen=True)
class Clock:
    """The rates that tie picture and sound together (docs/SPEC.md, clock)."""

    sample_rate_hz: int = 16_000
    """Samples of sound per second."""
    samples_per_video_frame: int = 1_024
    """Samples of sound per video frame: the paper's s = ceil(sr_audio / sr_video)."""

    def __post_init__(self) -> None:
        if self.sample_rate_hz < 1 or self.samples_per_video_frame < 1:
            raise InputError(
                f"clock of {self.sample_rate_hz} Hz and {self.samples_per_video_frame} samples "
                "per video frame: both must be at least 1"
            )

    @property
    def fps(self) -> Fraction:
        """Pictures per second: 15.625 for the defaults, the paper's "15.6"."""
        return Fraction(self.sample_rate_hz, self.samples_per_video_frame)

    def samples(self, duration_sec: Fraction | float) -> int:
        """Return the number of samples that a video of this length gets."""
        return round(duration_sec * self.sample_rate_hz)

    def video_frames(self, samples: int) -> int:
        """Return how many video frames cover `samples`; the last one may be covered in part."""
        return -(-samples // self.samples_per_video_frame)

    def picture_time_sec(self, video_frame: int) -> Fraction:
        """Return the instant that a video frame stands for: the middle of its samples.

        Video frame 0 of the default clock stands for 512 / 16000 s = 32 ms.
        """
        return (Fraction(video_frame) + Fraction(1, 2)) / self.fps


def _check_choice(name: str, value: str, choices: object) -> None:
    """Raise InputError unless `value` is one of a Literal's choices."""
    known = get_args(choices)
    if value not in known:
        raise InputError(
            f"{name} is {value!r}, which this version does not know: use one of {known}"
        )


def _nearest_divisors(of: int, wanted: int) -> str:
    """Name the divisors of `of` just below and just above `wanted`."""
    divisors = [d for d in range(1, of + 1) if of % d == 0]
    below = [d for d in divisors if d < wanted][-1:]
    above = [d for d in divisors if d > wanted][:1]
    return " or ".join(str(d) for d in below + above)


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the conditioned SampleRNN."""

    variant: Variant = "frame"
    """How the video enters: `frame` concatenates appearance to the coarsest tier's input; `seq`
    starts that tier from an encoder of appearance, `flow` from one of appearance and motion."""
    tiers: int = 3
    """3: big frames, frames, samples. 2: big frames and samples; frame_size equals
    big_frame_size."""
    cell: Cell = "gru"
    """The recurrent cell of the tiers and of the encoder."""
    rnn_layers: int = 1
    """Recurrent layers of each tier and of the encoder, one upon the other."""
    big_frame_size: int = 8
    """Samples per tick of the coarsest tier (absolute, not a ratio)."""
    frame_size: int = 2
    """Samples per tick of the middle tier, and embedded samples read by the MLP."""
    dim: int = 1_024
    """Width of the recurrent layers."""
    mlp_dim: int = 1_024
    """Width of the two hidden layers of the sample-level MLP."""
    embedding_dim: int = 256
    """Width of the embedding of one level, read by the MLP only."""
    appearance_dim: int = 4_096
    """Width of the appearance feature (VGG19 fc6 in the paper)."""
    motion_dim: int = 4_096
    """Width of the motion feature, which `flow` alone reads."""
    visual_proj_dim: int | None = None
    """Width of a projection (linear + ReLU) of the features; None as in the paper."""
    standardize_appearance: bool = False
    """Subtract the training set's mean appearance and divide by one scale; not in the paper."""
    standardize_motion: bool = False
    """The same for motion."""
    weight_norm: bool = True
    """Weight normalisation on every linear map, as in SampleRNN."""
    learn_h0: bool = True
    """Learn the recurrent tiers' first states instead of starting from zero; the encoder's last
    state takes the place of the coarsest tier's."""
    q_levels: int = MAX_Q_LEVELS
    """Number of levels of one sample."""
    quantization: Quantization = "linear"
    """Spacing of the levels."""

    def __post_init__(self) -> None:
        _check_choice("variant", self.variant, Variant)
        _check_choice("cell", self.cell, Cell)
        _check_choice("quantization", self.quantization, Quantization)
        sizes = (
            "rnn_layers",
            "big_frame_size",
            "frame_size",
            "dim",
            "mlp_dim",
            "embedding_dim",
            "appearance_dim",
            "motion_dim",
        )
        for name in sizes:
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.visual_proj_dim is not None and self.visual_proj_dim < 1:
            raise InputError(
                f"visual_proj_dim is {self.visual_proj_dim}: give at least 1, or None for none"
            )
        if self.big_frame_size % self.frame_size:
            nearest = _nearest_divisors(self.big_frame_size, self.frame_size)
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
        """Width of what the model reads of a video frame: appearance, for `flow` motion too."""
        return self.appearance_dim + (self.motion_dim if self.variant == "flow" else 0)

    @property
    def encodes_video(self) -> bool:
        """Whether the video is read as a whole, before the first sample (`seq`, `flow`)."""
        return self.variant in ("seq", "flow")


@dataclass(frozen=True)
class TrainingConfig:
    """One training run."""

    category: str | None = None
    """Train on this category alone, as the paper's ten models of a variant; None: on all."""
    batch_clips: int = 128
    """Clips per update, over all devices and hosts."""
    chunk_samples: int = 512
    """Samples per truncated-BPTT window, and so per update."""
    first_window_chunks: int = 1
    """For `seq` and `flow`: chunks from a clip's start through which its first update
    back-propagates to the encoder. 1: the plain reading of truncated BPTT; 0: the whole clip."""
    updates_per_call: int = 1
    """Chunk updates inside one compiled call (speed only; the updates are the same)."""
    steps: int = 100_000
    """Updates in the whole run."""
    learning_rate: float = 1e-3
    """Adam's learning rate."""
    warmup_steps: int = 0
    """First updates, over which the learning rate rises from 0 (at most those before its fall)."""
    decay_steps: int = 0
    """Last updates, over which the learning rate falls to 0 (at most all); 0 keeps it constant."""
    gradient_clip: float = 1.0
    """Bound on each element of the gradient."""
    ema_decay: float = 0.0
    """Decay per update of an exponential moving average of the parameters, which is then what is
    evaluated, heard and written; 0 for none."""
    micro_batches: int = 1
    """Parts that a device's clips are gone through in, one after the other, their gradients added
    up before the update: less memory, the same updates to rounding."""
    rematerialize: bool = False
    """Keep only the recurrent layers' states for the way back and compute the rest again: less
    memory, more time, the same updates."""
    seed: int = 0
    """Seed of the initial parameters and of the order of clips."""
    log_every_steps: int = 100
    """Updates between lines in the logs."""
    checkpoint_every_steps: int = 1_000
    """Updates between checkpoints; the last update is always saved."""
    keep_checkpoints: int = 3
    """How many of the newest checkpoints stay on disk, beside the best."""
    evaluate_every_steps: int = 5_000
    """Updates between evaluations on clips that are not trained on, each with a checkpoint; 0 for
    none."""
    held_out_split: str = "test"
    """The split that those clips are of."""
    held_out_clips: int = 128
    """How many of them, chosen by the seed; all if there are fewer."""
    sound_clips: int = 2
    """How many of them are sounded for TensorBoard after each evaluation."""
    sound_sec: float = 4.0
    """Seconds of each that are sounded, at most."""
    precision: Precision = "default"
    """Precision of matrix products: `highest` is exact float32 on every device, `bfloat16` rounds
    their factors and keeps parameters and sums in float32."""

    def __post_init__(self) -> None:
        for name in (
            "batch_clips",
            "chunk_samples",
            "updates_per_call",
            "steps",
            "log_every_steps",
            "checkpoint_every_steps",
            "keep_checkpoints",
            "micro_batches",
            "held_out_clips",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 1")
        _check_choice("precision", self.precision, Precision)
        if not 0 <= self.seed <= MAX_SEED:
            raise InputError(f"seed {self.seed}: use a whole number from 0 to {MAX_SEED}")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate is {self.learning_rate}: it must be above 0")
        if not self.gradient_clip > 0:
            raise InputError(f"gradient_clip is {self.gradient_clip}: it must be above 0")
        for name in (
            "decay_steps",
            "warmup_steps",
            "first_window_chunks",
            "evaluate_every_steps",
            "sound_clips",
        ):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")
        if not 0 <= self.ema_decay < 1:
            raise InputError(f"ema_decay is {self.ema_decay}: use 0 (none) or more, below 1")
        if not self.sound_sec > 0:
            raise InputError(f"sound_sec is {self.sound_sec}: it must be above 0")


OF_APPEARANCE = ("fc6", "precision", "appearance_weights_sha256")
"""Fields of `Extraction` that appearance depends on; motion does on all."""


@dataclass(frozen=True)
class Extraction:
    """How features were made, where the extractor leaves a choice; `pixels` leaves none.

    None: not fixed. The metadata of a data set made with `vgg19` have every value, and a run takes
    them over into its config.
    """

    fc6: Fc6 | None = None
    """fc6 after its ReLU, as Caffe's and Keras's layer of that name, or before it."""
    precision: VggPrecision | None = None
    """What the networks' products are computed in."""
    appearance_weights_sha256: str | None = None
    """Digest of the network that makes appearance."""
    flow: FlowMethod | None = None
    """The method of optical flow."""
    motion_weights_sha256: str | None = None
    """Digest of the network that makes motion, before cross-modality initialisation."""
    motion_origin: MotionOrigin | None = None
    """Whether that network was trained on flow, or on pictures and given flow."""

    def __post_init__(self) -> None:
        for name, choices in (
            ("fc6", Fc6),
            ("precision", VggPrecision),
            ("flow", FlowMethod),
            ("motion_origin", MotionOrigin),
        ):
            if getattr(self, name) is not None:
                _check_choice(f"extraction.{name}", getattr(self, name), choices)

    def completed(self, made: "Extraction") -> "Extraction":
        """Return this with the values of `made` where it fixes none."""
        fixed = {name: value for name, value in vars(self).items() if value is not None}
        return dataclasses.replace(made, **fixed)

    def differing(self, made: "Extraction", *, motion: bool) -> list[str]:
        """List where `made` is not what this fixes: of motion too, or of appearance alone."""
        found = vars(made)
        return [
            f"extraction.{name} is {found[name]}, wanted is {value}"
            for name, value in vars(self).items()
            if (motion or name in OF_APPEARANCE) and value not in (None, found[name])
        ]


@dataclass(frozen=True)
class Config:
    """Everything that decides what a run computes."""

    name: str
    """The preset's name."""
    clock: Clock = field(default_factory=Clock)
    """Rates of picture and sound."""
    extractor: ExtractorName = "pixels"
    """What turns video frames into features."""
    extraction: Extraction = field(default_factory=Extraction)
    """How it does; what is not given is taken over from the data set."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Sizes of the model."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """The training run."""

    def __post_init__(self) -> None:
        _check_choice("extractor", self.extractor, ExtractorName)
        if self.extractor == "pixels" and self.extraction != Extraction():
            raise InputError(
                f"extraction {self.extraction}: pixels leaves no choice: use --extractor vgg19"
            )
        per_frame = self.clock.samples_per_video_frame
        if per_frame % self.model.big_frame_size:
            nearest = _nearest_divisors(per_frame, self.model.big_frame_size)
            raise InputError(
                f"big_frame_size {self.model.big_frame_size} does not divide the {per_frame} "
                f"samples of a video frame: use {nearest}"
            )
        chunk = self.training.chunk_samples
        if chunk % self.model.big_frame_size or (per_frame % chunk and chunk % per_frame):
            raise InputError(
                f"chunk_samples {chunk} must be a multiple of big_frame_size "
                f"{self.model.big_frame_size} and divide, or be a multiple of, the {per_frame} "
                f"samples of a video frame: use {per_frame}"
            )

    def to_json(self) -> str:
        """Return the config as JSON text, with the format's version."""
        return json.dumps({"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """Read what `to_json` wrote.

        Raises InputError for another format version, and for fields that are missing or unknown.
        """
        try:
            fields = dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise InputError(f"config is not JSON ({error}): the file is damaged") from error
        version = fields.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise InputError(
                f"written with config format {version}, this program reads format "
                f"{FORMAT_VERSION}: use the v2s_jax version that wrote it, or train again"
            )
        try:
            return cls(
                name=fields.pop("name"),
                clock=Clock(**fields.pop("clock")),
                # Older files, all of pixels, have none.
                extraction=Extraction(**fields.pop("extraction", {})),
                model=ModelConfig(**fields.pop("model")),
                training=TrainingConfig(**fields.pop("training")),
                **fields,
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(f"config does not fit this version of v2s_jax: {error}") from error


def flat_fields(config: Config) -> dict[str, Any]:
    """Return every field's value by its dotted name, such as `model.dim`."""

    def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        leaves: dict[str, Any] = {}
        for name, value in tree.items():
            path = f"{prefix}{name}"
            leaves |= flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
        return leaves

    return flat(dataclasses.asdict(config))


def differing_fields(a: Config, b: Config) -> list[str]:
    """List the fields in which two configs differ, as `model.dim: 256 != 128`."""
    left, right = flat_fields(a), flat_fields(b)
    return [f"{path}: {left[path]} != {right[path]}" for path in left if left[path] != right[path]]


PAPER = Config(name="paper", extractor="vgg19")
"""SampleRNN's published three-tier sizes under the paper's Frame wiring, on VGG19 features."""

DEMO = Config(
    name="demo",
    model=ModelConfig(
        big_frame_size=64,
        frame_size=8,
        dim=256,
        mlp_dim=256,
        embedding_dim=32,
        visual_proj_dim=64,
        standardize_appearance=True,
    ),
    training=TrainingConfig(
        batch_clips=16,
        chunk_samples=1_024,
        first_window_chunks=0,
        updates_per_call=8,
        steps=3_600,
        decay_steps=1_800,
        learning_rate=1e-3,
        evaluate_every_steps=600,
        held_out_clips=64,
    ),
)
"""The sizes of the shipped checkpoint: outruns real time on two CPU cores."""

TINY = Config(
    name="tiny",
    model=ModelConfig(
        big_frame_size=16,
        frame_size=4,
        dim=32,
        mlp_dim=32,
        embedding_dim=16,
        visual_proj_dim=8,
        standardize_appearance=True,
    ),
    training=TrainingConfig(
        batch_clips=4,
        chunk_samples=1_024,
        first_window_chunks=0,
        updates_per_call=4,
        steps=40,
        log_every_steps=4,
        checkpoint_every_steps=20,
        evaluate_every_steps=20,
        held_out_clips=8,
        sound_clips=1,
        sound_sec=1.0,
    ),
)
"""The sizes of the tests."""

PRESETS: dict[str, Config] = {preset.name: preset for preset in (PAPER, DEMO, TINY)}
