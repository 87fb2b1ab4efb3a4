"""What a sound was generated with: all that is needed to generate it again."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from v2s_jax.checkpoints import params_digest, unique_model_name
from v2s_jax.features.adjustment import NO_ADJUSTMENT, Adjustment
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.sampling import Sampler
from v2s_jax.sonification.options import SampleOptions


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """What determines a sound, in addition to its video; nothing is left to be chosen.

    The same settings give the same samples on the same device with the same versions of v2s_jax
    and JAX.
    """

    model: str
    """Name of the checkpoint's file or folder."""
    model_sha256: str
    """Digest of its parameters."""
    engine: EngineName
    weights: WeightFormat
    batch_size: int
    """Slots of the compiled program. With the cpu engine the sound does not depend on it."""
    seed: int
    temperature: float
    max_retries: int
    device: str
    """JAX's platform: cpu, gpu or tpu."""
    category: str | None = None
    """The one that was chosen, instead of what is in the video."""
    adjustment: Adjustment = NO_ADJUSTMENT
    """Changes to the curves of controls."""

    def flags(self) -> str:
        """Return the options of `v2s sample` that give this sound again."""
        words = f"--engine {self.engine} --weights {self.weights} --batch-size {self.batch_size}"
        words += (
            f" --seed {self.seed} --temperature {float(self.temperature)!r} --device {self.device}"
        )
        if self.max_retries:
            words += f" --max-retries {self.max_retries}"
        if self.category is not None:
            words += f" --category {shlex.quote(self.category)}"
        names = ("--loudness-gain", "--loudness-offset", "--controls-shift-ms")
        for name, value, default in zip(names, self.adjustment, NO_ADJUSTMENT, strict=True):
            if value != default:
                words += f" {name} {float(value)!r}"
        return words


def settings_of(
    sampler: Sampler, params: dict[str, Any], options: SampleOptions
) -> GenerationSettings:
    """Return the settings of sounds from this sampler, with the seed of the options."""
    return GenerationSettings(
        model=unique_model_name(Path(options.checkpoint), ()),
        model_sha256=params_digest(params),
        engine=sampler.engine_name,
        weights=sampler.weights,
        batch_size=sampler.batch_size,
        seed=options.seed,
        temperature=options.chosen_temperature,
        max_retries=options.max_retries,
        device=jax.default_backend(),
        category=options.category,
        adjustment=options.adjustment,
    )
