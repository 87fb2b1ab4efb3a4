"""The clips that are evaluated: their records, their events, and the sound made for them."""

import json
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Float32, Float64

from v2s_jax.config import ModelConfig
from v2s_jax.errors import InputError, unknown
from v2s_jax.generate import Generator, Request, clip_key, content_hash
from v2s_jax.place import called
from v2s_jax.quantize import dequantize, quantize
from v2s_jax.records import ClipRecord, DataSet, model_features, waveform_from_int16


class LabelledClip(NamedTuple):
    """A clip whose causes are known."""

    record: ClipRecord
    events_sec: Float64[np.ndarray, "events"]
    """Times at which something that sounds happens, from the start of the clip."""


def choose_clips(data: DataSet, category: str, count: int) -> list[LabelledClip]:
    """Return the first `count` clips of a category with their events; fewer if there are fewer.

    Raises InputError for an unknown category, a split without it, fewer than the two clips that
    shuffling needs, events that are not known, and a category without any.
    """
    if count < 2:
        raise InputError(f"--clips {count}: use at least 2, so that they can be shuffled")
    if category not in data.categories:
        raise unknown("--category", category, data.categories, f"{data.directory} holds")
    records = list(islice((record for record in data if record.category == category), count))
    if len(records) < 2:
        raise InputError(
            f"{data.directory}: {len(records)} clips of {category} in split {data.split}, "
            "shuffling needs 2: choose another --split or make more clips"
        )
    clips = [LabelledClip(record, read_events(data, record)) for record in records]
    if not any(clip.events_sec.size for clip in clips):
        raise InputError(
            f"--category {category}: its clips have no events, whose times could be compared: "
            "choose one that has, such as drum"
        )
    return clips


def read_events(data: DataSet, record: ClipRecord) -> Float64[np.ndarray, "events"]:
    """Read the event times that lie beside a synthetic clip (clips/CATEGORY/CLIP.json).

    Raises InputError when they are not there, or belong to a clip made otherwise.
    """
    clips = data.directory.parent.parent / "clips"
    label = clips / record.category / f"{record.clip_id}.json"
    if not label.exists():
        raise InputError(
            f"{label}: not there: true event times are known for synthetic data only; make it "
            f"with `{called('prepare synthetic')}` and keep its clips beside it"
        )
    made_by = data.metadata["made_by"]
    events_sec, made_with = _read_label(label)
    if made_with != (made_by.get("seed"), made_by.get("generator")):
        raise InputError(
            f"{label}: made with another seed or generator than {data.directory}: make the data "
            "set again with --overwrite"
        )
    return events_sec


def _read_label(label: epath.Path) -> tuple[Float64[np.ndarray, "events"], tuple[int, str]]:
    """Return the event times, and the seed and generator of a label."""
    try:
        content = json.loads(label.read_text())
        events_sec = np.array(content["events_sec"], np.float64)
        return events_sec, (content["recipe"]["seed"], content["recipe"]["generator"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{label}: not a clip's label: make the data set again with --overwrite"
        ) from error


def generate_sounds(
    generator: Generator,
    records: Sequence[ClipRecord],
    seed: int,
    temperature: float,
    on_samples: Callable[[int], None],
) -> list[Float32[np.ndarray, "_"]]:
    """Generate a sound as long as the true one for each clip; it depends on features and seed.

    `on_samples` is told how many samples each block of video frames brought.
    """
    model = generator.config.model
    requests = [
        Request(
            clip_key(seed, content_hash(record.appearance.tobytes())),
            record.waveform.size,
            model_features(record, model),
        )
        for record in records
    ]
    return [
        dequantize(levels, model.q_levels, model.quantization)
        for levels in generator.generate(requests, temperature, on_samples)
    ]


def true_sounds(
    records: Sequence[ClipRecord], model: ModelConfig
) -> list[Float32[np.ndarray, "_"]]:
    """Return the true sounds in the model's levels: the best that it could generate."""
    return [
        dequantize(
            quantize(waveform_from_int16(record.waveform), model.q_levels, model.quantization),
            model.q_levels,
            model.quantization,
        )
        for record in records
    ]
