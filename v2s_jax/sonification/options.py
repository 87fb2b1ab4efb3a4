"""Options that the command line, the web page and Python share."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.features.adjustment import Adjustment
from v2s_jax.features.extractor import WeightFiles
from v2s_jax.kernels.interface import EngineOption, WeightOption
from v2s_jax.media import Original
from v2s_jax.pretrained import DEFAULT_CHECKPOINT, default_temperature
from v2s_jax.sampling import (
    EngineChoice,
    Sampler,
    check_seed,
    check_temperature,
    choose_engine,
)

MAX_GAIN_DB = 60
"""Largest gain or attenuation of original audio: from barely audible to full scale and back."""


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """How to generate audio."""

    checkpoint: Path = DEFAULT_CHECKPOINT
    """A .safetensors file, the --workdir of a training run, the gs:// or s3:// URL of one, or a
    pretrained model: real, aligned, frame, seq or flow."""
    seed: int = 0
    """Another seed gives other audio for the same video."""
    temperature: float | None = None
    """Below 1 likely levels are preferred; 1 samples from the model as it is. By default 0.9 for
    the pretrained model real, and 1 for others."""
    overwrite: bool = False
    """Replace outputs that already exist."""
    engine: EngineOption = "auto"
    """What runs the model: the fastest that is exact here (auto), scan everywhere, fused on TPU and
    GPU, cpu with a C++ compiler. At near-ties another engine draws another level, so the same seed
    gives other audio; what ran is printed and stored."""
    weights: WeightOption = "auto"
    """Format of the weights in memory. With engine auto the fastest that loses at most 0.001 bits
    per sample, else float32."""
    batch_size: int | None = None
    """Clips generated at once; by default chosen with engine auto, else 4. With the scan engine the
    audio depends on it."""
    max_retries: int = 0
    """How often runaway noise, a buzz or dead silence is generated again, with the next seed."""
    takes: int = 1
    """Versions of each video's audio, with this seed and the next ones; NAME_sound_1 is the
    likeliest."""
    prefix: Path | None = None
    """An audio file that every generated audio starts with and continues."""
    category: str | None = None
    """For a model trained on sounds: generate this category, whatever is in the video."""
    controls: Path | None = None
    """For such a model: a CSV file of category weights, loudness and onsets over time, which
    replaces the video's."""
    export_controls: Path | None = None
    """Write the controls that are used to this CSV file, to be edited for --controls."""
    loudness_gain: float = 1.0
    """For such a model: gain of the loudness curve around the category's mean; 0 makes it flat."""
    loudness_offset: float = 0.0
    """For such a model: added to the loudness curve, whose values are from 0 to 1."""
    controls_shift_ms: float = 0.0
    """For such a model: loudness and onsets come this much later, or earlier if it is negative."""
    original: Original = "drop"
    """The video's original audio: drop it, keep it as a second track, or mix it in."""
    original_gain_db: float = 0.0
    """Gain of the original audio with --original mix."""
    metadata: bool = True
    """Write into each file that its sound is generated, and how: see --describe."""
    weight_files: WeightFiles = field(default_factory=WeightFiles)
    """Weights of the vgg19 extractor, if they are not in the default place."""

    @property
    def adjustment(self) -> Adjustment:
        """What to change in the curves of controls."""
        return Adjustment(self.loudness_gain, self.loudness_offset, self.controls_shift_ms)

    @property
    def chosen_temperature(self) -> float:
        """The temperature, or the default for this checkpoint."""
        if self.temperature is None:
            return default_temperature(Path(self.checkpoint))
        return self.temperature

    def check(self) -> None:
        """Raise InputError for values out of range."""
        check_seed(self.seed)
        self.adjustment.check()
        check_temperature(self.chosen_temperature)
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"batch size {self.batch_size}: use at least 1")
        if self.max_retries < 0:
            raise InputError(f"max_retries {self.max_retries}: use 0 or more")
        if self.takes < 1:
            raise InputError(f"{self.takes} takes: use at least 1")
        check_seed(self.seed + self.takes - 1)
        if not abs(self.original_gain_db) <= MAX_GAIN_DB:
            raise InputError(
                f"original_gain_db {self.original_gain_db}: use a number from -{MAX_GAIN_DB} to "
                f"{MAX_GAIN_DB}, such as -6"
            )
        if self.original_gain_db and self.original != "mix":
            raise InputError(
                f"original_gain_db {self.original_gain_db} has no effect with original "
                f"{self.original!r}: use original mix, or leave the gain out"
            )


DEFAULT_OPTIONS = SampleOptions()


def choose(
    config: Config,
    params: dict[str, Any],
    options: SampleOptions,
    samples: int | None,
    clips: int = 1,
) -> EngineChoice:
    """Choose the engine for clips of `samples` samples together, None if that is not known."""
    return choose_engine(
        config,
        params,
        engine=options.engine,
        weights=options.weights,
        batch_size=options.batch_size,
        clips=clips,
        samples=samples,
    )


def make_sampler(config: Config, params: dict[str, Any], choice: EngineChoice) -> Sampler:
    """Make a sampler on JAX's default device."""
    return Sampler(
        config,
        params,
        batch_size=choice.batch_size,
        engine=choice.engine,
        weights=choice.weights,
    )
