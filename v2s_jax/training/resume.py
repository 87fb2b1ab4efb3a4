"""What may differ between a run and the command that resumes it."""

import numpy as np
from jaxtyping import Float32

from v2s_jax.config import VALIDATION, Config, TrainingConfig, differing_fields, flat_fields
from v2s_jax.errors import InputError
from v2s_jax.training.state import learning_rate

ONLY_AUDIO = "changes only the audio in TensorBoard"
EFFECTS = {
    "training.steps": "the run ends as one that had this number from the start",
    "training.decay_steps": "the learning rate falls as in a run that had this number",
    "training.log_every_steps": "changes only the log",
    "training.checkpoint_every_steps": "changes only which checkpoints there are",
    "training.keep_checkpoints": "changes only which checkpoints there are",
    "training.eval_every_steps": "changes which parameters can be the best",
    "training.log_audio_clips": ONLY_AUDIO,
    "training.log_audio_sec": ONLY_AUDIO,
}
"""Fields that do not change the updates, and what they change."""


class OtherLearningRatesError(InputError):
    """The updates of a checkpoint would have had other learning rates."""


def check_config(run: str, stored: Config, given: Config) -> None:
    """Raise InputError if fields differ that decide the updates, apart from the learning rate."""
    differing = [
        line for line in differing_fields(given, stored) if line.split(":")[0] not in EFFECTS
    ]
    if differing:
        raise InputError(
            f"{run}: the run there has another config ({'; '.join(differing)}): use its config, or "
            "another --workdir; only steps, decay, log, checkpoint and evaluation intervals may "
            "change"
        )


def check_resumable(run: str, stored: Config, given: Config, step: int) -> list[str]:
    """Return a line about each field that differs and may; raise InputError for the others.

    Args:
        run: Name of the run for messages.
        stored: Config of the run's checkpoint.
        given: Config to resume with.
        step: Updates that the run has made.
    """
    old, new = flat_fields(stored), flat_fields(given)
    check_config(run, stored, given)
    _check_steps(run, stored.training, given.training, step)
    check_held_out(run, stored.training, given.training)
    return [
        f"{name} is {new[name]}, was {old[name]}: {effect}"
        for name, effect in EFFECTS.items()
        if new[name] != old[name]
    ]


def _check_steps(run: str, stored: TrainingConfig, given: TrainingConfig, step: int) -> None:
    """Refuse a number of steps with which the updates so far would have been others."""
    if given.steps < step:
        raise InputError(
            f"{run}: the run is at step {step}, not {given.steps}: use --training.steps {step} or "
            "more, or a longer --budget"
        )
    if not np.array_equal(_learning_rates(stored, step), _learning_rates(given, step)):
        raise OtherLearningRatesError(
            f"{run}: steps {given.steps}, was {stored.steps}: the learning rate rises over "
            f"{stored.warmup_steps} and falls over the last {stored.decay_steps} steps of the run, "
            f"so the {step} steps made would have had other rates, and no checkpoint from before "
            f"is left: keep {stored.steps}, or start from its parameters in another --workdir "
            "(--training.init-from)"
        )


def _learning_rates(training: TrainingConfig, steps: int) -> Float32[np.ndarray, " steps"]:
    """Return the rate of each of the first updates."""
    rate = learning_rate(training)
    rates = rate(np.arange(steps)) if callable(rate) else rate
    return np.broadcast_to(np.asarray(rates, np.float32), steps)


def check_held_out(run: str, stored: TrainingConfig, given: TrainingConfig) -> None:
    """Refuse to begin or end an evaluation on clips that are held out from training."""
    if given.eval_split == VALIDATION and bool(stored.eval_every_steps) != bool(
        given.eval_every_steps
    ):
        raise InputError(
            f"{run}: eval_every_steps {given.eval_every_steps}, was {stored.eval_every_steps}: "
            "with evaluation a part of the training set is held out, so the run would have other "
            "clips: use its value, or another --workdir"
        )
