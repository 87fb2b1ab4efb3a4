"""The whole configuration of a run, its JSON form, and the presets."""

import dataclasses
import json
import reprlib
from dataclasses import dataclass, field
from typing import Any

from v2s_jax.config.clock import Clock
from v2s_jax.config.extractor import RANGE_FIELDS, ExtractorConfig, ExtractorName
from v2s_jax.config.model import ModelConfig
from v2s_jax.config.training import TrainingConfig
from v2s_jax.config.validation import check_types, from_fields, nearest_divisors
from v2s_jax.errors import InputError, reason
from v2s_jax.json_text import parse_json

FORMAT_VERSION = 2
"""Version of the JSON form; raised when an old checkpoint could be misread."""

MAX_CONFIG_CHARS = 1_000_000
"""Longest JSON form that is parsed; ours has about 2,000 characters."""

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


SECTIONS: dict[str, type] = {
    "clock": Clock,
    "extraction": ExtractorConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
}
"""Fields of `Config` that are dataclasses."""


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
        check_types(self, "config")
        if self.extractor == "pixels" and self.extraction != ExtractorConfig():
            given = [name for name, value in vars(self.extraction).items() if value is not None]
            raise InputError(
                f"extraction {', '.join(given)}: pixels has no settings: leave them out, or choose "
                "another --extractor"
            )
        if self.extractor == "controls" and not self.model.reads_motion:
            raise InputError(
                f"variant {self.model.variant} reads no motion, which has the loudness and onsets "
                "of controls: use --model.variant aligned or flow"
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
        self._check_context_vectors()
        for name, unset in (("loudness_steps", 0), ("context_rate_scale", 1.0)):
            value = getattr(self.training, name)
            if value != unset and self.model.variant != "aligned":
                raise InputError(
                    f"{name} is {value}, but variant {self.model.variant} has no context encoder: "
                    "leave it out, or use --model.variant aligned"
                )

    @property
    def samples_per_vector(self) -> int:
        """Samples for which the coarsest tier reads one vector of the video."""
        return self.clock.samples_per_video_frame // self.model.vectors_per_frame

    def _check_context_vectors(self) -> None:
        vectors, per_frame = self.model.context_vectors, self.clock.samples_per_video_frame
        ticks = per_frame // self.model.big_frame_size
        if self.model.variant != "aligned" or vectors == 1:
            return
        if ticks % vectors:
            raise InputError(
                f"context_vectors {vectors} does not divide the {ticks} big frames of a video "
                f"frame: use {nearest_divisors(ticks, vectors)}"
            )
        if self.training.chunk_samples % per_frame:
            raise InputError(
                f"chunk_samples {self.training.chunk_samples} is not in whole video frames of "
                f"{per_frame} samples: use {per_frame}, or --model.context-vectors 1"
            )

    def to_json(self) -> str:
        """Return the config as JSON text with its format version."""
        return json.dumps({"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """Parse the output of `to_json`, of this format version or of version 1.

        Raises InputError for other versions, for missing or unknown fields, and for values of
        another type or out of range.
        """
        if len(text) > MAX_CONFIG_CHARS:
            raise InputError(f"config of {len(text)} characters: the file is corrupt")
        try:
            fields = dict(parse_json(text))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"config is not JSON ({reason(error)}): the file is corrupt"
            ) from error
        version = fields.pop("format_version", None)
        if type(version) is not int or version not in (1, FORMAT_VERSION):
            raise InputError(
                f"written with config format {reprlib.repr(version)}, this version reads format "
                f"{FORMAT_VERSION}: use the v2s_jax version that wrote it, or train again"
            )
        training = fields.get("training")
        if version == 1 and isinstance(training, dict):
            fields["training"] = {RENAMED_TRAINING_FIELDS.get(n, n): v for n, v in training.items()}
        # Files from before there was a choice of extraction have none.
        for section, kind in SECTIONS.items():
            if section in fields:
                fields[section] = from_fields(kind, fields[section], section)
            elif section != "extraction":
                raise InputError(f"config has no {section}: the file is corrupt")
        return from_fields(cls, fields, "config")


def flat_fields(config: Config) -> dict[str, Any]:
    """Return every field's value by its dotted name, such as `model.dim`."""
    leaves: dict[str, Any] = {}
    for name, value in dataclasses.asdict(config).items():
        if isinstance(value, dict):
            leaves |= {f"{name}.{key}": leaf for key, leaf in value.items()}
        else:
            leaves[name] = value
    return leaves


CONTEXT_FIELDS = tuple(
    f"model.{name}" for name in ("lookahead", "context_layers", "context_dim", "context_vectors")
)
"""Fields that only `aligned` reads."""


DATA_FIELDS = tuple(f"extraction.{name}" for name in RANGE_FIELDS)
"""Fields that describe the training set, in more numbers than a message has room for."""


def differing_fields(a: Config, b: Config) -> list[str]:
    """List the fields in which two configs differ, as `model.dim: 256 != 128`.

    Fields of the context encoder count only where one of the two has it.
    """
    left, right = flat_fields(a), flat_fields(b)
    unused = CONTEXT_FIELDS if "aligned" not in (a.model.variant, b.model.variant) else ()
    return [
        f"{path}: {'other data' if path in DATA_FIELDS else f'{left[path]} != {right[path]}'}"
        for path in left
        if left[path] != right[path] and path not in unused
    ]


PAPER = Config(name="paper", extractor="vgg19")
"""SampleRNN's published three-tier sizes with the paper's Frame conditioning on VGG19 features."""

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
        standardize_motion=True,
        principal_components=64,
    ),
    training=TrainingConfig(
        batch_clips=16,
        chunk_samples=1_024,
        encoder_bptt_chunks=0,
        steps_per_call=8,
        steps=30_000,
        decay_steps=15_000,
        learning_rate=1e-3,
        warmup_steps=100,
        eval_every_steps=3_000,
        eval_clips=60,
        precision="bfloat16",
    ),
)
"""Sizes of the pretrained models of videos: faster than real time on two CPU cores."""

SOUNDS = dataclasses.replace(
    DEMO,
    name="sounds",
    extractor="controls",
    model=dataclasses.replace(
        DEMO.model,
        variant="aligned",
        visual_proj_dim=None,
        standardize_appearance=False,
        standardize_motion=False,
        principal_components=None,
    ),
    training=dataclasses.replace(
        DEMO.training,
        input_noise_levels=1.0,
        input_dropout_share=0.05,
        loudness_weight=0.1,
        ema_decay=0.998,
    ),
)
"""The demo's sizes for sounds without video: `aligned` reads controls. The clock and the widths of
the features are those of the data. Levels are linear, so that a run can begin from `real`."""

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
        standardize_motion=True,
        principal_components=8,
        lookahead=2,
        context_layers=2,
        context_dim=8,
    ),
    training=TrainingConfig(
        batch_clips=4,
        chunk_samples=1_024,
        encoder_bptt_chunks=0,
        steps_per_call=4,
        steps=40,
        log_every_steps=4,
        checkpoint_every_steps=20,
        eval_every_steps=20,
        eval_clips=8,
        log_audio_clips=1,
        log_audio_sec=1.0,
    ),
)
"""Sizes for tests."""

PRESETS: dict[str, Config] = {preset.name: preset for preset in (PAPER, DEMO, SOUNDS, TINY)}
