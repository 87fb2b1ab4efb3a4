"""Settings of a training run."""

from dataclasses import dataclass
from typing import Literal

from v2s_jax.config.validation import check_range, check_types
from v2s_jax.errors import InputError

Precision = Literal["default", "high", "highest", "bfloat16"]

MAX_SEED = 2**32 - 1
"""Seeds are one 32-bit word of a counter-based generator's key."""

MAX_STEPS = 2**31 - 1
"""Updates are counted in 32 bits, as is everything that is counted in them."""
MAX_BATCH_CLIPS = 2**20
"""Clips of a batch, and clips to evaluate on."""

MIN_CHRONO_INIT_TICKS = 2
"""Ticks: the time constant of a GRU whose update gate starts half open (bias 0)."""

MAX_CHRONO_INIT_TICKS = 2**23
"""Ticks; at twice as many, 1 - 1/T rounds to 1 in float32, and the gate never forgets."""


MAX_DROPOUT_CHUNKS = 2**10
"""Chunks: a minute in chunks of one video frame."""


VALIDATION = "validation"
"""Value of `eval_split` that holds out a part of the training set."""


@dataclass(frozen=True)
class TrainingConfig:
    """One training run. Raises InputError for values out of range."""

    category: str | None = None
    """Train only on this category, like the paper's ten models per variant; None: all."""
    batch_clips: int = 128
    """Clips per update, over all devices and hosts."""
    chunk_samples: int = 512
    """Samples per truncated-BPTT window, and so per update."""
    encoder_bptt_chunks: int = 1
    """For `seq` and `flow`: chunks through which the first update of a clip back-propagates to the
    encoder. 1: plain truncated BPTT; 0: the whole clip."""
    steps_per_call: int = 1
    """Updates per compiled call (affects speed only)."""
    steps: int = 100_000
    """Updates in the whole run."""
    learning_rate: float = 1e-3
    """Adam's learning rate."""
    warmup_steps: int = 0
    """First updates, over which the learning rate rises from 0 (at most those before the decay)."""
    decay_steps: int = 0
    """Last updates, over which the learning rate falls to 0 (at most all); 0: constant."""
    gradient_clip: float = 1.0
    """Bound on each element of the gradient of the loss in nats."""
    ema_decay: float = 0.0
    """Decay per update of an exponential moving average of the parameters, which is then evaluated
    and saved; 0: none."""
    grad_accum_steps: int = 1
    """Micro-batches per device, whose gradients are summed before the update: less memory, the
    same updates up to rounding."""
    remat: bool = False
    """Keep only the recurrent states for the backward pass and recompute the rest: less memory,
    more time, the same updates."""
    init_from: str | None = None
    """Warm start: take every layer of equal size from a .safetensors file, the --workdir of another
    run, or a pretrained model. None: random parameters."""
    chrono_init_max_ticks: int | None = None
    """Longest initial time constant of the coarsest tier (in ticks) and the encoder (in video
    frames); the shortest is 2 (chrono initialisation, Tallec & Ollivier 2018). It also closes an
    LSTM's input gates as far as its forget gates are open, in the frame tier too. None: all time
    constants are 2, or 21 for LSTMs, as in SampleRNN."""
    input_noise_levels: float = 0.0
    """Noise on the samples that the tiers read, so that they learn to return from their own errors
    while sampling (Valin & Skoglund 2019, LPCNet); the predicted samples stay clean. Each clip
    draws its standard deviation from 0 to this many levels; 0: no noise."""
    input_noise_share: float = 0.5
    """Share of the clips that get this noise; the others are clean."""
    input_dropout_share: float = 0.0
    """Share of the chunks of each clip whose samples are hidden from the tiers, as silence, from a
    random one on. The model then has to predict them from the video, and learns when sounds start
    (word dropout of Bowman et al. 2016, for spans)."""
    input_dropout_chunks: int = 1
    """Length of a hidden span: the rest of its own chunk, and this many minus one more. A span that
    outlasts what still sounds makes the video tell more."""
    loudness_weight: float = 0.0
    """For `aligned`: weight of a loss that teaches the context vectors how loud the sound is; 0:
    none."""
    loudness_steps: int = 0
    """Extra updates before training, of the context encoder by that loss alone. Each takes a tenth
    of the time of an update of the whole model, and reads other clips."""
    context_rate_scale: float = 1.0
    """For `aligned`: factor on the learning rate of the projection, the context encoder and the
    loudness that it predicts, after `loudness_steps`. With `loudness_weight` they read whole clips
    at every update, the same ones for all chunks of a batch, and forget what they learned from many
    (docs/results.md). 0: they stay as they are."""
    seed: int = 0
    """Seed of the noise on inputs, of the initial parameters and of the order of clips."""
    log_every_steps: int = 100
    """Updates between log lines."""
    checkpoint_every_steps: int = 1_000
    """Updates between checkpoints; the last update is always saved."""
    keep_checkpoints: int = 3
    """How many of the newest checkpoints to keep, besides the best."""
    eval_every_steps: int = 5_000
    """Updates between evaluations on clips that are not trained on, each with a checkpoint; 0: no
    evaluation."""
    eval_split: str = VALIDATION
    """Split for these evaluations, which choose the best parameters. `validation`: clips held out
    from the training split (a tenth of it, at most `eval_clips`, chosen by the seed, plus one of
    each category that is missing among them). Otherwise a split of the dataset, such as `test`."""
    eval_clips: int = 128
    """Clips per evaluation, chosen by the seed; all if there are fewer."""
    log_audio_clips: int = 2
    """How many of them to generate audio for in TensorBoard after each evaluation."""
    log_audio_sec: float = 4.0
    """Seconds of audio to generate for each, at most."""
    precision: Precision = "default"
    """Precision of matrix products: `highest` is exact float32 on every device, `bfloat16` rounds
    their factors and keeps parameters and sums in float32."""

    def __post_init__(self) -> None:
        check_types(self, "training")
        check_range(
            self,
            1,
            MAX_STEPS,
            *("chunk_samples", "steps_per_call", "steps", "log_every_steps"),
            *("checkpoint_every_steps", "keep_checkpoints", "grad_accum_steps"),
        )
        check_range(self, 1, MAX_BATCH_CLIPS, "batch_clips", "eval_clips")
        check_range(
            self,
            0,
            MAX_STEPS,
            *("decay_steps", "warmup_steps", "encoder_bptt_chunks", "eval_every_steps"),
            *("log_audio_clips", "loudness_steps"),
        )
        if not 0 <= self.seed <= MAX_SEED:
            raise InputError(f"seed {self.seed}: use a whole number from 0 to {MAX_SEED}")
        for name in ("learning_rate", "gradient_clip", "log_audio_sec"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be above 0")
        if self.init_from == "":
            raise InputError(
                "init_from is empty: give a .safetensors file, a --workdir or the name of a "
                "pretrained model, or leave it out"
            )
        ticks = self.chrono_init_max_ticks
        if ticks is not None and not MIN_CHRONO_INIT_TICKS <= ticks <= MAX_CHRONO_INIT_TICKS:
            raise InputError(
                f"chrono_init_max_ticks is {ticks}: use {MIN_CHRONO_INIT_TICKS} to "
                f"{MAX_CHRONO_INIT_TICKS}, or leave it out"
            )
        if self.input_noise_levels < 0:
            raise InputError(f"input_noise_levels is {self.input_noise_levels}: use 0 or more")
        check_range(self, 1, MAX_DROPOUT_CHUNKS, "input_dropout_chunks")
        if self.input_dropout_chunks > 1 and not self.input_dropout_share:
            raise InputError(
                f"input_dropout_chunks is {self.input_dropout_chunks}, but input_dropout_share is "
                "0: add --training.input-dropout-share, or leave it out"
            )
        if not 0 <= self.input_dropout_share <= 1:
            raise InputError(f"input_dropout_share is {self.input_dropout_share}: use 0 to 1")
        if self.loudness_weight < 0:
            raise InputError(f"loudness_weight is {self.loudness_weight}: use 0 or more")
        if self.loudness_steps and not self.loudness_weight:
            raise InputError(
                f"loudness_steps is {self.loudness_steps}, but loudness_weight is 0: add "
                "--training.loudness-weight, or leave it out"
            )
        if not 0 <= self.context_rate_scale <= 1:
            raise InputError(f"context_rate_scale is {self.context_rate_scale}: use 0 to 1")
        if not (self.context_rate_scale or self.init_from or self.loudness_steps):
            raise InputError(
                "context_rate_scale is 0, so the context encoder would stay random: add "
                "--training.init-from or --training.loudness-steps"
            )
        if not 0 <= self.input_noise_share <= 1:
            raise InputError(f"input_noise_share is {self.input_noise_share}: use 0 to 1")
        if not 0 <= self.ema_decay < 1:
            raise InputError(f"ema_decay is {self.ema_decay}: use 0 (none) or more, below 1")
