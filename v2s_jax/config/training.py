"""The training run."""

from dataclasses import dataclass
from typing import Literal

from v2s_jax.config.validation import check_choice
from v2s_jax.errors import InputError

Precision = Literal["default", "high", "highest", "bfloat16"]

MAX_SEED = 2**32 - 1
"""Seeds are one 32-bit word of a counter-based generator's key."""

MIN_CHRONO_INIT_TICKS = 2
"""Ticks over which a GRU forgets whose update gate begins half open, its bias being 0."""

MAX_CHRONO_INIT_TICKS = 2**23
"""Ticks; of twice as many, 1 - 1/T is rounded to 1 in a float32 gate, which never forgets."""


@dataclass(frozen=True)
class TrainingConfig:
    """One training run."""

    category: str | None = None
    """Train on this category alone, as the paper's ten models of a variant; None: on all."""
    batch_clips: int = 128
    """Clips per update, over all devices and hosts."""
    chunk_samples: int = 512
    """Samples per truncated-BPTT window, and so per update."""
    encoder_bptt_chunks: int = 1
    """For `seq` and `flow`: chunks from a clip's start through which its first update
    back-propagates to the encoder. 1: the plain reading of truncated BPTT; 0: the whole clip."""
    steps_per_call: int = 1
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
    grad_accum_steps: int = 1
    """Parts that a device's clips are gone through in, one after the other, their gradients added
    up before the update: less memory, the same updates to rounding."""
    remat: bool = False
    """Keep only the recurrent layers' states for the way back and compute the rest again: less
    memory, more time, the same updates."""
    init_from: str | None = None
    """Parameters that a new run begins from, layer by layer where the sizes are the same: a
    .safetensors file, the --workdir of another run, or a model that ships. None: drawn."""
    chrono_init_max_ticks: int | None = None
    """Longest time constant that the coarsest tier (in ticks of its big frames) and the encoder (in
    video frames) begin with where their parameters are drawn; the shortest is 2. None: all begin
    with 2, and LSTMs with 21, as in SampleRNN. With ticks, an LSTM's input gates begin as far shut
    as its forget gates are open, in the frame tier too."""
    seed: int = 0
    """Seed of the initial parameters and of the order of clips."""
    log_every_steps: int = 100
    """Updates between lines in the logs."""
    checkpoint_every_steps: int = 1_000
    """Updates between checkpoints; the last update is always saved."""
    keep_checkpoints: int = 3
    """How many of the newest checkpoints stay on disk, beside the best."""
    eval_every_steps: int = 5_000
    """Updates between evaluations on clips that are not trained on, each with a checkpoint; 0 for
    none."""
    eval_split: str = "test"
    """The split that those clips are of."""
    eval_clips: int = 128
    """How many of them, chosen by the seed; all if there are fewer."""
    log_audio_clips: int = 2
    """How many of them are sounded for TensorBoard after each evaluation."""
    log_audio_sec: float = 4.0
    """Seconds of each that are sounded, at most."""
    precision: Precision = "default"
    """Precision of matrix products: `highest` is exact float32 on every device, `bfloat16` rounds
    their factors and keeps parameters and sums in float32."""

    def __post_init__(self) -> None:
        for name in (
            "batch_clips",
            "chunk_samples",
            "steps_per_call",
            "steps",
            "log_every_steps",
            "checkpoint_every_steps",
            "keep_checkpoints",
            "grad_accum_steps",
            "eval_clips",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 1")
        check_choice("precision", self.precision, Precision)
        if not 0 <= self.seed <= MAX_SEED:
            raise InputError(f"seed {self.seed}: use a whole number from 0 to {MAX_SEED}")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate is {self.learning_rate}: it must be above 0")
        if not self.gradient_clip > 0:
            raise InputError(f"gradient_clip is {self.gradient_clip}: it must be above 0")
        for name in (
            "decay_steps",
            "warmup_steps",
            "encoder_bptt_chunks",
            "eval_every_steps",
            "log_audio_clips",
        ):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")
        if self.init_from == "":
            raise InputError(
                "begin_from is empty: give a .safetensors file, a --workdir or the name of a model "
                "that ships, or leave it out"
            )
        ticks = self.chrono_init_max_ticks
        if ticks is not None and not MIN_CHRONO_INIT_TICKS <= ticks <= MAX_CHRONO_INIT_TICKS:
            raise InputError(
                f"memory_ticks is {ticks}: use {MIN_CHRONO_INIT_TICKS} to {MAX_CHRONO_INIT_TICKS}, "
                "or leave it out"
            )
        if not 0 <= self.ema_decay < 1:
            raise InputError(f"ema_decay is {self.ema_decay}: use 0 (none) or more, below 1")
        if not self.log_audio_sec > 0:
            raise InputError(f"sound_sec is {self.log_audio_sec}: it must be above 0")
