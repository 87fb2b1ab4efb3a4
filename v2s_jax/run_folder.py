"""Reads the Orbax checkpoints of a run. Apart from training, only this module needs Orbax.

WORKDIR/checkpoints/STEP/   state, carry, meta as JSON with a CRC of every leaf
"""

import logging
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from v2s_jax.errors import InputError, reason

CHECKPOINTS = "checkpoints"

FIRST_PROCESS = ocp.options.MultiprocessingOptions(active_processes={0})
"""Only process 0 reads and writes."""


def _suppress_duplicate_log(record: logging.LogRecord) -> bool:
    """Drop errors that a thread or task of Orbax logs and also raises in our thread."""
    is_from_thread = record.exc_info and "orbax" in record.pathname
    return not is_from_thread and "exception was never retrieved" not in record.getMessage()


def quiet_orbax() -> None:
    """Keep Orbax from reporting an error twice."""
    for name in ("absl", "asyncio"):  # Orbax's loggers
        logging.getLogger(name).addFilter(_suppress_duplicate_log)


class CorruptCheckpointError(InputError):
    """A checkpoint that cannot be read, or whose values are not those that were saved."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path}: corrupt checkpoint ({reason}): v2s train moves it away and resumes from "
            "the one before; or delete this folder"
        )
        self.path, self.reason = path, reason


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


def restore_items(manager: ocp.CheckpointManager, folder: Path, step: int, args: Any) -> Any:
    """Restore items of one step; raise CorruptCheckpointError if Orbax cannot read them."""
    try:
        return manager.restore(step, args=args)
    except (ValueError, OSError, KeyError) as error:
        raise CorruptCheckpointError(folder / str(step), reason(error)) from error


def read_meta(manager: ocp.CheckpointManager, folder: Path, step: int) -> dict[str, Any]:
    """Return the config (JSON), data fingerprint and checksums of one step."""
    args = ocp.args.Composite(meta=ocp.args.JsonRestore())
    meta = restore_items(manager, folder, step, args)["meta"]
    if not {"config", "data", "crc"} <= set(meta):
        raise CorruptCheckpointError(folder / str(step), "config, data or checksums are missing")
    return meta


def read_newest_params(workdir: Path) -> tuple[Path, str, dict[str, Any]]:
    """Return the path, config (JSON) and parameters of a run's newest checkpoint.

    If the run has a moving average of the parameters, that is returned.
    """
    folder = (workdir / CHECKPOINTS).absolute()
    steps = [int(p.name) for p in folder.glob("*") if p.name.isdigit()] if folder.exists() else []
    if not steps:
        raise InputError(
            f"{workdir}: a folder without a checkpoint: give the --workdir of a run that has "
            "saved one, or a .safetensors file"
        )
    quiet_orbax()
    step = max(steps)
    path = folder / str(step)
    # Other processes may not be reading: the manager must not wait for them.
    options = ocp.CheckpointManagerOptions(create=False, multiprocessing_options=FIRST_PROCESS)
    with ocp.CheckpointManager(folder, options=options) as manager:
        meta = read_meta(manager, folder, step)
        args = ocp.args.Composite(state=ocp.args.StandardRestore())
        state = restore_items(manager, folder, step, args)["state"]
    item = "params" if state.get("average") is None else "average"
    params = jax.tree.map(np.asarray, state[item])
    prefix = f".state.{item}"
    expected = {
        leaf.removeprefix(prefix): crc
        for leaf, crc in meta["crc"].items()
        if leaf.startswith(prefix)
    }
    check_crc(params, expected, path)
    return path, meta["config"], params
