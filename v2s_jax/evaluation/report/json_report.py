"""What an evaluation found, in one file: report.json (fields: docs/evaluation.md)."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

import v2s_jax
from v2s_jax.config import Config
from v2s_jax.datasets import ClipDataset
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.paper import vegas
from v2s_jax.io import atomic_write

FORMAT_VERSION = 2
"""Raised whenever a field changes its meaning."""
REPORT_FILE = "report.json"
LIBRARIES = ("jax", "flax", "numpy", "scipy", "librosa", "mir_eval", "scikit-learn")
"""Libraries whose version may change a number."""
NOT_TOLD = ("floor_bits",)
"""Metadata of the data that the report has elsewhere."""


def write_report(
    folder: Path,
    options: Mapping[str, Any],
    models: Sequence[Model],
    data: ClipDataset,
    parts: Mapping[str, Any],
) -> Path:
    """Write the parts and what they depend on; the file is there when it is whole."""
    content = {
        "format_version": FORMAT_VERSION,
        "options": dict(options),
        "models": [_model(model) for model in models],
        "data": {
            "directory": str(data.directory),
            "name": data.name,
            "split": data.split,
            "metadata": {
                name: value for name, value in data.metadata.items() if name not in NOT_TOLD
            },
        },
        "device": device_told(),
        "versions": versions(),
        **parts,
        "paper": vegas(),
    }
    path = folder / REPORT_FILE
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    return path


def device_told() -> str:
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
        "one_for_all_categories": model.joint,
        "features": features_told(model.config),
        "params_sha256": model.sha256,
        "config": json.loads(model.config.to_json()),
    }


def features_told(config: Config) -> str:
    """Name what the model sees: the extractor, and how its features were made."""
    made = (f"{name} {value}" for name, value in vars(config.extraction).items() if value)
    return ", ".join([config.extractor, *made])
