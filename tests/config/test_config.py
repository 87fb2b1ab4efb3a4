"""The config: the clock's arithmetic, JSON, and sizes that do not fit."""

import dataclasses
import json
from fractions import Fraction

import pytest

from v2s_jax.config import (
    DEMO,
    PAPER,
    PRESETS,
    TINY,
    Clock,
    Config,
    ExtractorConfig,
    ModelConfig,
    TrainingConfig,
)
from v2s_jax.config import differing_fields as diff
from v2s_jax.errors import InputError


def test_paper_clock():
    clock = Clock()
    assert clock.fps == Fraction(125, 8) == Fraction("15.625")
    assert clock.samples(Fraction("9.984")) == 159_744
    assert clock.video_frames(159_744) == 156
    assert clock.video_frames(159_745) == 157
    assert clock.video_frame_time_sec(0) == Fraction(512, 16_000)
    assert clock.video_frame_time_sec(155) == Fraction(155 * 1024 + 512, 16_000)


def test_paper_preset():
    model, training = PAPER.model, PAPER.training
    assert (model.frame_size, model.big_frame_size, model.ratio) == (2, 8, 4)
    assert (model.dim, model.mlp_dim, model.embedding_dim, model.q_levels) == (1024, 1024, 256, 256)
    assert (model.visual_proj_dim, model.standardize_appearance) == (None, False)
    assert model.weight_norm and model.learn_h0 and model.variant == "frame"
    assert (training.chunk_samples, training.batch_clips) == (512, 128)
    assert (training.learning_rate, training.decay_steps, training.gradient_clip) == (1e-3, 0, 1.0)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_json_round_trip(preset):
    assert Config.from_json(preset.to_json()) == preset


def test_differences_are_named():
    other = dataclasses.replace(DEMO, model=dataclasses.replace(DEMO.model, dim=128))
    assert diff(DEMO, other) == ["model.dim: 256 != 128"]
    assert diff(DEMO, DEMO) == []


def test_fields_of_another_variant_do_not_differ():
    other = dataclasses.replace(DEMO, model=dataclasses.replace(DEMO.model, lookahead=0))
    assert diff(DEMO, other) == []
    aligned = [
        dataclasses.replace(config, model=dataclasses.replace(config.model, variant="aligned"))
        for config in (DEMO, other)
    ]
    assert diff(*aligned) == ["model.lookahead: 8 != 0"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModelConfig(big_frame_size=8, frame_size=3), "use 2 or 4"),
        (lambda: ModelConfig(q_levels=257), "use 2 to 256"),
        (lambda: ModelConfig(q_levels=1), "use 2 to 256"),
        (lambda: ModelConfig(dim=0), "dim is 0"),
        (lambda: ModelConfig(tiers=4), r"tiers is 4: use one of \(2, 3\)"),
        (lambda: ModelConfig(tiers=2), "but 2 tiers have frames of one size: use 8 for both"),
        (lambda: ModelConfig(rnn_layers=0), "rnn_layers is 0"),
        (lambda: ModelConfig(motion_dim=0), "motion_dim is 0"),
        (lambda: TrainingConfig(encoder_bptt_chunks=-1), "encoder_bptt_chunks is -1"),
        (lambda: ModelConfig(visual_proj_dim=0), "visual_proj_dim is 0"),
        (lambda: ModelConfig(lookahead=-1), "lookahead is -1"),
        (
            lambda: ModelConfig(variant="aligned", lookahead=4, context_layers=2),
            "lookahead is 4: 2 context_layers read at most 3 video frames ahead",
        ),
        (lambda: ModelConfig(context_layers=11), "context_layers is 11: use at most 10"),
        (lambda: Clock(sample_rate_hz=0), "at least 1"),
        (lambda: TrainingConfig(steps=0), "steps is 0"),
        (lambda: TrainingConfig(learning_rate=0.0), "learning_rate is 0.0"),
        (lambda: TrainingConfig(gradient_clip=-1.0), "gradient_clip is -1.0"),
        (lambda: TrainingConfig(decay_steps=-1), "decay_steps is -1"),
        (
            lambda: Config("a", model=ModelConfig(big_frame_size=48, frame_size=2)),
            "big_frame_size 48 does not divide the 1024 samples of a video frame: use 32 or 64",
        ),
        (lambda: Config("a", training=TrainingConfig(chunk_samples=1000)), "use 1024"),
        (lambda: Config("a", training=TrainingConfig(chunk_samples=1536)), "use 1024"),
        (
            lambda: Config("a", model=ModelConfig(variant="aligned")),
            "chunk_samples 512 is not in whole video frames of 1024 samples: use 1024, or",
        ),
        (
            lambda: Config("a", model=ModelConfig(variant="aligned", context_vectors=3)),
            "context_vectors 3 does not divide the 128 big frames of a video frame: use 2 or 4",
        ),
        (lambda: TrainingConfig(seed=2**32), "seed 4294967296: use"),
        (
            lambda: ModelConfig(principal_components=8),
            "principal_components 8 needs standardised features: add --model.standardize-app",
        ),
        (
            lambda: ModelConfig(
                variant="flow", standardize_motion=True, motion_dim=7, principal_components=8
            ),
            "principal_components is 8: use 1 to 7, the width of motion",
        ),
        (
            lambda: ModelConfig(standardize_appearance=True, principal_components=0),
            "principal_components is 0: it must be at least 1",
        ),
    ],
)
def test_invalid_values_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_standardized_features():
    assert PAPER.model.standardized == ()
    assert DEMO.model.standardized == ("appearance",)
    for variant, features in (("flow", ("appearance", "motion")), ("unconditional", ())):
        assert dataclasses.replace(DEMO.model, variant=variant).standardized == features


def test_tiny_is_a_small_demo():
    assert {line.split(":")[0] for line in diff(TINY, DEMO)} <= {
        "name",
        *(f"model.{n}" for n in ("big_frame_size", "frame_size", "dim", "mlp_dim")),
        *(f"model.{n}" for n in ("embedding_dim", "visual_proj_dim", "principal_components")),
        *(f"training.{f.name}" for f in dataclasses.fields(TrainingConfig)),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "config format None"),
        ("3", "not JSON"),
        ("{", "not JSON"),
        (TINY.to_json().replace('"frame"', '"sound"'), "'sound'"),
        (TINY.to_json().replace('"gru"', '"rnn"'), "'rnn'"),
        (TINY.to_json().replace('"pixels"', '"vgg16"'), "'vgg16'"),
        (TINY.to_json().replace('"flow": null', '"flow": "dis"'), "pixels has no settings"),
        (TINY.to_json().replace('"linear"', '"cubic"'), "'cubic'"),
        (TINY.to_json().replace('"format_version": 2', '"format_version": 9'), "format 9"),
    ],
)
def test_invalid_json_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        Config.from_json(text)


SECTIONS = {"": Config, "clock": Clock, "model": ModelConfig, "training": TrainingConfig}
HUGE = 10**9 + 7
DEEP = "[" * 20_000 + "]" * 20_000
DAMAGED_VALUES = (
    "1e999",
    "NaN",
    str(HUGE),
    "9" * 4_000,
    "-1",
    "true",
    "1.5",
    '"\\u0000"',
    "[]",
    "{}",
    DEEP,
)


def changed_json(section: str, name: str, value: str) -> str:
    """The tiny config's JSON with another value of one field, given as JSON."""
    fields = json.loads(TINY.to_json())
    (fields[section] if section else fields)[name] = "@"
    return json.dumps(fields).replace('"@"', value)


@pytest.mark.parametrize(
    ("section", "name"),
    [(key, each.name) for key, kind in SECTIONS.items() for each in dataclasses.fields(kind)],
)
def test_damaged_values_are_refused_in_one_line(section, name):
    """Any value that is accepted has the field's type, and the config stays usable."""
    for value in DAMAGED_VALUES:
        try:
            config = Config.from_json(changed_json(section, name, value))
        except InputError as error:
            message = str(error)
            assert "\n" not in message and len(message) < 400
            continue
        part = getattr(config, section) if section else config
        kinds = {type(getattr(each, name)) for each in part_examples(section)} | {int}
        assert type(getattr(part, name)) in kinds, (name, value)
        assert not isinstance(getattr(part, name), list | dict)
        assert Config.from_json(config.to_json()) == config


def part_examples(section: str) -> list[object]:
    """Sections with every field set at least once."""
    return [getattr(preset, section) if section else preset for preset in PRESETS.values()]


@pytest.mark.parametrize(
    ("section", "name", "value", "message"),
    [
        ("model", "dim", "1e999", "model.dim is inf: it must be a whole number"),
        ("model", "dim", str(HUGE), f"dim is {HUGE}: it must be at most 65536"),
        ("model", "dim", "64.0", "model.dim is 64.0: it must be a whole number"),
        ("model", "dim", "true", "model.dim is True: it must be a whole number"),
        ("model", "dim", '"64"', "model.dim is '64': it must be a whole number"),
        ("model", "weight_norm", "1", "model.weight_norm is 1: it must be true or false"),
        ("model", "tiers", DEEP, "config is not JSON"),
        ("model", "rnn_layers", str(HUGE), "at most 64"),
        ("clock", "samples_per_video_frame", str(HUGE), "at most 1048576"),
        ("training", "learning_rate", "1e999", "learning_rate is inf: it must be a finite number"),
        ("training", "steps", str(2**31), "steps is 2147483648: it must be at most"),
        ("training", "category", "7", "training.category is 7: it must be text"),
        ("", "name", '"a\\nb"', r"name is 'a\\nb': it must be printable"),
        ("", "name", json.dumps("a" * 5000), "it has 5000 characters"),
        ("", "clock", "3", "clock is 3: it must have named fields"),
        ("", "format_version", "true", "config format True"),
        ("", "format_version", "1e999", "config format inf"),
        ("extraction", "flow", "[1]", "which this version does not know"),
    ],
)
def test_types_and_ranges_are_checked(section, name, value, message):
    with pytest.raises(InputError, match=message):
        Config.from_json(changed_json(section, name, value))


def test_long_config_is_refused_unparsed():
    with pytest.raises(InputError, match="config of 2000002 characters"):
        Config.from_json('"' + "a" * 2_000_000 + '"')


def test_config_without_extraction():
    fields = json.loads(TINY.to_json())
    del fields["extraction"]
    assert Config.from_json(json.dumps(fields)) == TINY


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": ("../up",)}, "has '../up': use a name"),
        ({"categories": ("onset",)}, "has 'onset'"),
        ({"categories": ("a", "a")}, "use distinct names"),
        ({"categories": ()}, "use distinct names"),
        ({"control_quantiles": (0.5,) * 21}, "has 21 values: it must be 22 for each of 1"),
        ({"control_quantiles": (1.0, 0.0) * 11}, "ascending"),
        ({"control_quantiles": (5.0,) * 22}, "from 0 to 1"),
        ({"control_memory": (2.0,)}, "1 values from 0 to below 1"),
        ({"control_memory": ()}, "1 values"),
        ({"control_excerpts": ()}, "excerpts of each of 1 categories"),
        ({"control_excerpts": ("0000000",)}, "8 digits or letters for each video frame"),
        ({"control_excerpts": ("0000000-",)}, "8 digits or letters"),
        ({"control_excerpts": ("",)}, "8 digits or letters"),
    ],
)
def test_controls_of_a_config_are_checked(changes, message):
    valid = {"categories": ("a",), "control_quantiles": (0.5,) * 22, "control_memory": (0.9,)}
    assert ExtractorConfig(**valid).quantiles.shape == (1, 2, 11)
    with pytest.raises(InputError, match=message):
        ExtractorConfig(**(valid | changes))


def test_extraction_defaults_and_differences():
    made = ExtractorConfig("after_relu", "float32", "a" * 64, "dis", "b" * 64, "cross_modality")
    assert ExtractorConfig().with_defaults(made) == made
    assert ExtractorConfig(flow="tvl1").with_defaults(made) == dataclasses.replace(
        made, flow="tvl1"
    )
    assert not ExtractorConfig().diff(made, motion=True)
    assert not made.diff(made, motion=True)
    required = dataclasses.replace(made, flow="tvl1", appearance_weights_sha256="c" * 64)
    of_appearance = [f"extraction.appearance_weights_sha256 is {'a' * 64}, expected is {'c' * 64}"]
    assert required.diff(made, motion=False) == of_appearance
    assert required.diff(made, motion=True) == [
        *of_appearance,
        "extraction.flow is dis, expected is tvl1",
    ]
