"""The models that are compared: one checkpoint each, or one for each category as in the paper.

Only configs are held in memory; parameters are loaded on use, one checkpoint at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from v2s_jax.checkpoints import load_params, params_digest, unique_model_name
from v2s_jax.config import Config
from v2s_jax.datasets import ClipDataset, check_fits
from v2s_jax.errors import InputError
from v2s_jax.io import wrap_read_errors
from v2s_jax.pretrained import resolve_checkpoint_path
from v2s_jax.sampling import content_hash


class ModelShard(NamedTuple):
    """A checkpoint, and the clips that it serves."""

    config: Config
    params: dict[str, Any]
    members: list[int]


@dataclass(frozen=True)
class Model:
    """A named model."""

    name: str
    checkpoints: dict[str | None, Path]
    """One for each category, or one under None for all."""
    configs: tuple[Config, ...]
    """One for each checkpoint, of one variant."""
    sha256: str
    """Digest of the parameters of all checkpoints."""

    @property
    def config(self) -> Config:
        """The first checkpoint's config, for what is the same in all."""
        return self.configs[0]

    @property
    def identity(self) -> dict[str, str]:
        """Hashes of everything that the model's outputs depend on."""
        configs = content_hash(*(config.to_json().encode() for config in self.configs))
        return {"params_sha256": self.sha256, "configs_sha256": configs.hex()}

    @property
    def is_shared(self) -> bool:
        """Whether one checkpoint serves all categories."""
        return None in self.checkpoints

    @property
    def is_conditional(self) -> bool:
        """Whether the model reads the video."""
        return self.config.model.variant != "unconditional"

    def shards(self, categories: Sequence[str]) -> Iterator[ModelShard]:
        """Load in turn each checkpoint that serves any of the clips of these categories."""
        for category, path in self.checkpoints.items():
            members = [i for i, name in enumerate(categories) if category in (None, name)]
            if members:
                yield ModelShard(*load_params(path), members)


def open_models(paths: Sequence[Path], data: ClipDataset, categories: Sequence[str]) -> list[Model]:
    """Return the models of these checkpoints for clips of these categories; see `_open_model`.

    Raises InputError for no path, a path given twice, a model that does not fit the dataset, and
    models that cannot be compared.
    """
    if not paths:
        raise InputError("--checkpoint: give at least one")
    resolved: list[Path] = []
    models: list[Model] = []
    for path in paths:
        with wrap_read_errors(path):
            resolved.append(resolve_checkpoint_path(path).resolve())
        if resolved[-1] in resolved[:-1]:
            raise InputError(f"--checkpoint {path}: given twice: name each model once")
        model = _open_model(path, categories, [model.name for model in models])
        models.append(model)
        _check_same(paths[0], models[0].config, path, model.config)
        try:
            for config in model.configs:
                check_fits(data, config)
        except InputError as error:
            raise InputError(f"model {model.name} does not fit the dataset: {error}") from error
    return models


def _open_model(path: Path, categories: Sequence[str], taken: Sequence[str]) -> Model:
    """Open a checkpoint file, a pretrained model by name, a --workdir, or a folder of --workdirs.

    The folder that `v2s train --run.each-category` wrote has one run for each category; then all
    `categories` must be there.
    """
    with wrap_read_errors(path):
        folders = sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else []
    of_category = {p.name: p for p in folders if p.name in categories}
    checkpoints: dict[str | None, Path] = {None: path}
    if of_category:
        missing = [name for name in categories if name not in of_category]
        if missing:
            raise InputError(
                f"{path}: no run of {', '.join(missing)}: train with --run.each-category, or use "
                "others with --category"
            )
        checkpoints = {name: of_category[name] for name in categories}
    configs: list[Config] = []
    digests: list[bytes] = []
    for checkpoint in checkpoints.values():
        config, params = load_params(checkpoint)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params)):
            raise InputError(
                f"{checkpoint}: NaN or infinity in its parameters, so training diverged or the "
                "file is corrupt: choose an earlier checkpoint"
            )
        configs.append(config)
        digests.append(bytes.fromhex(params_digest(params)))
        if config.model.variant != configs[0].model.variant:
            raise InputError(
                f"{checkpoint}: {config.model.variant}, the run next to it is "
                f"{configs[0].model.variant}: train all categories with one --model.variant"
            )
        _check_same(path, configs[0], checkpoint, config)
    name = unique_model_name(path, taken)
    return Model(name, checkpoints, tuple(configs), content_hash(*digests).hex())


def _check_same(first: Path, one: Config, second: Path, other: Config) -> None:
    """Raise InputError unless bits per sample of both mean the same."""
    rates = f"{one.clock.sample_rate_hz} Hz", f"{other.clock.sample_rate_hz} Hz"
    for name, a, b in (
        ("sample rates", *rates),
        ("numbers of levels", one.model.q_levels, other.model.q_levels),
        ("quantisers", one.model.quantization, other.model.quantization),
    ):
        if a != b:
            raise InputError(
                f"{first} and {second}: {name} of {a} and {b}: bits per sample not comparable: "
                "evaluate them separately"
            )
