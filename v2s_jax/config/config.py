"""The whole configuration of a run, and its JSON form."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from v2s_jax.config.clock import Clock
from v2s_jax.config.extractor import ExtractorConfig, ExtractorName
from v2s_jax.config.model import ModelConfig
from v2s_jax.config.training import TrainingConfig
from v2s_jax.config.validation import check_choice, nearest_divisors
from v2s_jax.errors import InputError

FORMAT_VERSION = 2
"""Version of the JSON form; raised when an old checkpoint could be misread."""

RENAMED_TRAINING_FIELDS = {
    "begin_from": "init_from",
    "evaluate_every_steps": "eval_every_steps",
    "first_window_chunks": "encoder_bptt_chunks",
    "held_out_clips": "eval_clips",
    "held_out_split": "eval_split",
    "memory_ticks": "chrono_init_max_ticks",
    "micro_batches": "grad_accum_steps",
    "rematerialize": "remat",
    "sound_clips": "log_audio_clips",
    "sound_sec": "log_audio_sec",
    "updates_per_call": "steps_per_call",
}
"""Names of these fields of `training` in version 1."""


@dataclass(frozen=True)
class Config:
    """Everything that determines what a run computes.

    Raises InputError for values that contradict each other.
    """

    name: str
    """The preset's name."""
    clock: Clock = field(default_factory=Clock)
    """Rates of video and audio."""
    extractor: ExtractorName = "pixels"
    """Network that turns video frames into features."""
    extraction: ExtractorConfig = field(default_factory=ExtractorConfig)
    """Settings of the extractor; values that are not given are taken from the dataset."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Sizes of the model."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """The training run."""

    def __post_init__(self) -> None:
        check_choice("extractor", self.extractor, ExtractorName)
        if self.extractor == "pixels" and self.extraction != ExtractorConfig():
            raise InputError(
                f"extraction {self.extraction}: pixels has no settings: use --extractor vgg19"
            )
        per_frame = self.clock.samples_per_video_frame
        if per_frame % self.model.big_frame_size:
            nearest = nearest_divisors(per_frame, self.model.big_frame_size)
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
        """Return the config as JSON text with its format version."""
        return json.dumps({"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """Parse the output of `to_json`, of this format version or of version 1.

        Raises InputError for other versions, and for missing or unknown fields.
        """
        try:
            fields = dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise InputError(f"config is not JSON ({error}): the file is corrupt") from error
        version = fields.pop("format_version", None)
        if version == 1:
            fields = _from_version_1(fields)
        elif version != FORMAT_VERSION:
            raise InputError(
                f"written with config format {version}, this version reads format "
                f"{FORMAT_VERSION}: use the v2s_jax version that wrote it, or train again"
            )
        try:
            return cls(
                name=fields.pop("name"),
                clock=Clock(**fields.pop("clock")),
                # Files from before there was a choice have none.
                extraction=ExtractorConfig(**fields.pop("extraction", {})),
                model=ModelConfig(**fields.pop("model")),
                training=TrainingConfig(**fields.pop("training")),
                **fields,
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(f"config does not fit this version of v2s_jax: {error}") from error


def _from_version_1(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of version 1 under their current names."""
    training = fields.get("training")
    if not isinstance(training, dict):
        return fields
    renamed = {RENAMED_TRAINING_FIELDS.get(name, name): value for name, value in training.items()}
    return {**fields, "training": renamed}


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
