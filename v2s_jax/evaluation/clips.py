"""The clips that are evaluated: their records, their events, and the sound made for them."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Float32, Float64

from v2s_jax.config import ModelConfig
from v2s_jax.datasets import ClipDataset, ClipRecord, select_model_features, waveform_from_int16
from v2s_jax.errors import InputError
from v2s_jax.quantize import dequantize, quantize
from v2s_jax.sampling import Request, Sampler, clip_key, content_hash


class Label(NamedTuple):
    """What a synthetic clip's label tells of its causes."""

    events_sec: Float64[np.ndarray, " events"]
    """Times at which something that sounds happens, from the start of the clip."""
    state: dict[str, Any]
    """What the clip was drawn from, such as `distance_m`."""


def read_label(data: ClipDataset, record: ClipRecord) -> Label:
    """Read the label that lies beside a synthetic clip (clips/CATEGORY/CLIP.json).

    Raises InputError when it is not there, or belongs to a clip made otherwise.
    """
    clips = data.directory.parent.parent / "clips"
    path = clips / record.category / f"{record.clip_id}.json"
    if not path.exists():
        raise InputError(
            f"{path}: not there: true event times are known for synthetic data only; make it "
            f"with `v2s prepare synthetic` and keep its clips beside it"
        )
    made_by = data.metadata["made_by"]
    label, made_with = _read_label(path)
    if made_with != (made_by.get("seed"), made_by.get("generator")):
        raise InputError(
            f"{path}: made with another seed or generator than {data.directory}: make the data "
            "set again with --overwrite"
        )
    return label


def _read_label(path: epath.Path) -> tuple[Label, tuple[int, str]]:
    """Return a label, and the seed and generator that it was made with."""
    try:
        content = json.loads(path.read_text())
        label = Label(np.array(content["events_sec"], np.float64), dict(content["state"]))
        return label, (content["recipe"]["seed"], content["recipe"]["generator"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not a clip's label: make the data set again with --overwrite"
        ) from error


def generate_sounds(
    sampler: Sampler,
    records: Sequence[ClipRecord],
    seed: int,
    temperature: float,
    on_samples: Callable[[int], None],
) -> list[Float32[np.ndarray, " _"]]:
    """Generate a sound as long as the true one for each clip; it depends on features and seed.

    `on_samples` is told how many samples each block of video frames brought.
    """
    model = sampler.config.model
    requests = [
        Request(
            clip_key(seed, content_hash(record.appearance.tobytes())),
            record.waveform.size,
            select_model_features(record, model),
        )
        for record in records
    ]
    return [
        dequantize(levels, model.q_levels, model.quantization)
        for levels in sampler.generate(requests, temperature, on_samples)
    ]


def true_sounds(
    records: Sequence[ClipRecord], model: ModelConfig
) -> list[Float32[np.ndarray, " _"]]:
    """Return the true sounds in the model's levels: the best that it could generate."""
    return [
        dequantize(
            quantize(waveform_from_int16(record.waveform), model.q_levels, model.quantization),
            model.q_levels,
            model.quantization,
        )
        for record in records
    ]
