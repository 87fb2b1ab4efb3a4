"""report.json: all results of an evaluation and what they depend on (docs/evaluation.md)."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

import v2s_jax
from v2s_jax.config import Config
from v2s_jax.datasets import ClipDataset
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.report import paper
from v2s_jax.io import atomic_write

FORMAT_VERSION = 3
"""Raised whenever a field changes its name or meaning."""
REPORT_FILE = "report.json"
LIBRARIES = ("jax", "flax", "numpy", "scipy", "librosa", "mir_eval", "scikit-learn")
"""Libraries whose version may change a number."""


def write_report(
    folder: Path,
    options: Mapping[str, Any],
    models: Sequence[Model],
    data: ClipDataset,
    results: Mapping[str, Any],
) -> Path:
    """Write the results of each part, and what they depend on."""
    metadata = {name: value for name, value in data.metadata.items() if name != "floor_bits"}
    content = {
        "format_version": FORMAT_VERSION,
        "options": dict(options),
        "models": [_model(model) for model in models],
        "data": {
            "directory": str(data.directory),
            "name": data.name,
            "split": data.split,
            "metadata": metadata,  # without the floors, which are with the clips
        },
        "device": describe_device(),
        "versions": versions(),
        **_plain(results),
        "paper": paper.RESULTS,
    }
    path = folder / REPORT_FILE
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    return path


def _plain(value: Any) -> Any:
    """Convert dataclasses and named tuples to dictionaries."""
    if is_dataclass(value):
        return {name: _plain(field) for name, field in vars(value).items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def describe_device() -> str:
    """Name the device that computes."""
    return " ".join(f"{d.platform}: {d.device_kind}" for d in jax.devices()[:1])


def versions() -> dict[str, str]:
    """Return the version of everything that may change a number."""
    return {
        "v2s_jax": v2s_jax.__version__,
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }


def _model(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "checkpoints": {
            "all" if category is None else category: str(path)
            for category, path in model.checkpoints.items()
        },
        "is_shared": model.is_shared,
        "features": describe_features(model.config),
        "params_sha256": model.sha256,
        "config": json.loads(model.config.to_json()),
    }


def describe_features(config: Config) -> str:
    """Name the extractor and how its features were made."""
    options = (f"{name} {value}" for name, value in vars(config.extraction).items() if value)
    return ", ".join([config.extractor, *options])
