"""Reads the Orbax checkpoints of a run. Apart from training, only this module needs Orbax.

WORKDIR/checkpoints/STEP/   state, carry, meta as JSON with a CRC of every leaf and of itself

Nothing of a checkpoint is trusted: Orbax does not notice flipped bytes, and raises errors of many
types for the rest.
"""

import json
import logging
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from v2s_jax.config import Config
from v2s_jax.errors import InputError, reason
from v2s_jax.json_text import parse_json

CHECKPOINTS = "checkpoints"
COMMIT_FILE = "commit_success.txt"
"""Orbax writes it last: a checkpoint without it is not finished."""

CHECKPOINT_PATH = re.compile(rf"(?:[^/]+/)?{CHECKPOINTS}/\d+(?=/)")
"""Starts the files of a checkpoint: of a run, or of one of the runs in a folder."""

FIRST_PROCESS = ocp.options.MultiprocessingOptions(active_processes={0})
"""Only process 0 reads and writes."""

UNSCORED = float("inf")
"""Bits of a checkpoint that was not evaluated: never the best."""

META_FILE = "meta/metadata"  # Orbax's name for an item written as JSON
OLD_METRICS_FILE = "metrics/metrics"
"""Holds the bits of checkpoints from before meta had them."""
OLD_BITS = "bits_per_sample"


def _suppress_duplicate_log(record: logging.LogRecord) -> bool:
    """Drop errors that a thread or task of Orbax logs and also raises in our thread."""
    is_from_thread = record.exc_info and "orbax" in record.pathname
    return not is_from_thread and "exception was never retrieved" not in record.getMessage()


def quiet_orbax() -> None:
    """Keep Orbax from reporting an error twice."""
    for name in ("absl", "asyncio"):  # Orbax's loggers
        logging.getLogger(name).addFilter(_suppress_duplicate_log)


class CorruptCheckpointError(Exception):
    """A checkpoint that cannot be read, or whose values are not those that were saved."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: corrupt checkpoint ({reason})")
        self.path, self.reason = path, reason


class Meta(NamedTuple):
    """What a checkpoint says about itself."""

    config: Config
    data: str
    """Fingerprint of the training data."""
    crc: dict[str, int]
    """The CRC-32 of every leaf, by its path in the tree."""
    bits: float
    """Bits per held-out sample, or UNSCORED."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields with their checksum."""
        fields = {**self._asdict(), "config": self.config.to_json()}
        return {**fields, "checksum": _checksum(fields)}


def _checksum(fields: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(fields, sort_keys=True).encode())


def read_meta(path: Path) -> Meta:
    """Return what the checkpoint at `path` says about itself; raise CorruptCheckpointError."""
    try:
        fields = parse_json((path / META_FILE).read_bytes())
        if not isinstance(fields, dict):
            raise ValueError("meta is not an object")
        if fields.keys() == {"config", "data", "crc"}:  # from before there was a checksum
            fields["bits"] = _read_old_bits(path)
        elif fields.pop("checksum", None) != _checksum(fields):
            raise ValueError("checksum of meta differs")
        types = {"config": str, "data": str, "crc": dict, "bits": float}
        if any(not isinstance(fields.get(name), kind) for name, kind in types.items()):
            raise ValueError(f"{', '.join(types)} are not all there")
        config = Config.from_json(fields.pop("config"))
        return Meta(config=config, **fields)
    except (OSError, ValueError, TypeError, InputError) as error:
        raise CorruptCheckpointError(path, reason(error)) from error


def _read_old_bits(path: Path) -> float:
    """Return the bits beside the meta of an old checkpoint, which no checksum covers."""
    try:
        bits = parse_json((path / OLD_METRICS_FILE).read_bytes())[OLD_BITS]
    except FileNotFoundError:
        return UNSCORED
    except (KeyError, IndexError) as error:
        raise ValueError(f"{OLD_METRICS_FILE} has no {OLD_BITS}") from error
    if not isinstance(bits, float) or not bits > 0:
        raise ValueError(f"{OLD_BITS} is {str(bits)[:20]}")
    return bits


def crc_by_leaf(tree: Any) -> dict[str, int]:
    """Return the CRC-32 of every leaf, by its path in the tree."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path): zlib.crc32(np.ascontiguousarray(leaf).data)
        for path, leaf in leaves
    }


def check_crc(tree: Any, expected: dict[str, int], path: Path) -> None:
    """Raise CorruptCheckpointError if the checksum of a leaf has changed."""
    for leaf, crc in crc_by_leaf(tree).items():
        if expected.get(leaf) != crc:
            raise CorruptCheckpointError(path, f"checksum of {leaf} differs")


def restore_item(path: Path, item: str, like: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays of an item of a checkpoint, with the structure and shapes of `like`.

    `like` may leave out fields of the item. Raises CorruptCheckpointError.
    """
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=FIRST_PROCESS)
    args = ocp.args.PyTreeRestore(
        item=like,
        restore_args=jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like),
        partial_restore=True,
    )
    try:
        # Only shapes are read here: a wrong one must not be allocated.
        stored = _array_types(handler.metadata(path / item).tree)
        for leaf, expected in _array_types(like).items():
            if stored.get(leaf) != expected:
                raise ValueError(f"{leaf} is {stored.get(leaf)}, expected is {expected}")
        with ocp.Checkpointer(handler, multiprocessing_options=FIRST_PROCESS) as checkpointer:
            restored: dict[str, Any] = checkpointer.restore(path / item, args=args)
    except Exception as error:  # Orbax, TensorStore and the file system each have their own
        raise CorruptCheckpointError(path, reason(error)) from error
    return restored


def _array_types(tree: Any) -> dict[str, str]:
    """Return type and shape of each leaf, by a path that is the same for all containers."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{leaf.dtype}{[*leaf.shape]}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def read_params(path: Path, meta: Meta, params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a checkpoint, or their moving average if it has one.

    `params` has their structure and shapes. Raises CorruptCheckpointError.
    """
    item = "average" if any(leaf.startswith(".state.average") for leaf in meta.crc) else "params"
    restored = restore_item(path, "state", {item: params})[item]
    prefix = f".state.{item}"
    expected = {
        leaf.removeprefix(prefix): crc for leaf, crc in meta.crc.items() if leaf.startswith(prefix)
    }
    check_crc(restored, expected, path)
    return restored


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the newest first."""
    steps = [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]
    return [folder / str(step) for step in sorted(steps, reverse=True)]


def finished_checkpoints(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the files of the finished checkpoints below a folder, by checkpoint.

    `names` are those of all files, relative to the folder. The newest checkpoints come first.
    """
    files: dict[str, list[str]] = {}
    for name in names:
        if match := CHECKPOINT_PATH.match(name):
            files.setdefault(match[0], []).append(name)
    finished = [path for path, found in files.items() if f"{path}/{COMMIT_FILE}" in found]
    newest_first = sorted(finished, key=lambda path: int(path.rpartition("/")[2]), reverse=True)
    return {path: files[path] for path in newest_first}
