"""Checkpoints: what a run needs to go on exactly, and the parameters alone for sampling.

A run's folder holds Orbax steps, written in the background and renamed when whole:

    WORKDIR/checkpoints/STEP/   state (params, optimiser, step), carry in clip order, meta as JSON
    WORKDIR/params.safetensors  parameters and config of the finished run, half precision

Orbax does not notice bytes that flipped inside a file, so meta keeps a CRC of every leaf. A run
goes on from its newest whole checkpoint; damaged ones are set aside in WORKDIR/damaged/.
"""

import itertools
import logging
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from v2s_jax.config import Config, differing_fields
from v2s_jax.errors import InputError
from v2s_jax.files import reading, whole_file
from v2s_jax.model import Carry, VideoToSound, init_params
from v2s_jax.training.step import TrainState

CHECKPOINTS = "checkpoints"
PARAMS_FILE = "params.safetensors"
DAMAGED = "damaged"
SEPARATOR = "/"

logger = logging.getLogger(__name__)


class DamagedCheckpointError(InputError):
    """A checkpoint that is there and cannot be read, or holds other values than were saved."""

    def __init__(self, place: Path, reason: str) -> None:
        super().__init__(
            f"{place}: damaged checkpoint ({reason}): train.py sets it aside and goes on from the "
            "one before; or delete this folder"
        )
        self.place, self.reason = place, reason


class Checkpoint(NamedTuple):
    """A run between two calls of the training step, as host arrays."""

    state: TrainState
    carry: Carry


def _crc_by_leaf(tree: Any) -> dict[str, int]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path): zlib.crc32(np.ascontiguousarray(leaf).data)
        for path, leaf in leaves
    }


class Checkpointer:
    """The checkpoints of one run."""

    def __init__(self, workdir: Path, config: Config) -> None:
        self.config = config
        self.folder = (workdir / CHECKPOINTS).absolute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot be made ({error.strerror}): choose another --workdir"
            ) from error
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=config.training.keep_checkpoints, cleanup_tmp_directories=True
            ),
        )

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    def save(self, checkpoint: Checkpoint) -> None:
        """Save in the background; the arrays are copied before this returns."""
        meta = {"config": self.config.to_json(), "crc": _crc_by_leaf(checkpoint)}
        self._manager.save(
            int(checkpoint.state.step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(checkpoint.state._asdict()),
                carry=ocp.args.StandardSave(checkpoint.carry._asdict()),
                meta=ocp.args.JsonSave(meta),
            ),
        )

    def restore_latest(self, like: Checkpoint) -> Checkpoint | None:
        """Return the newest whole checkpoint, or None in a new folder. `like` gives the structure.

        Newer ones that are damaged are named in the log and set aside. Raises InputError when the
        run in the folder has another config, or no checkpoint of it is whole.
        """
        damaged: list[DamagedCheckpointError] = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                found = self._restore(step, like)
            except DamagedCheckpointError as error:
                damaged.append(error)
                continue
            for newer in damaged:
                self._set_aside(newer, step)
            return found
        if damaged:
            raise InputError(
                f"{self.folder}: no whole checkpoint; of the newest: {damaged[0].reason}: copy the "
                "folder again, or use another --workdir"
            ) from damaged[0]
        return None

    def _set_aside(self, error: DamagedCheckpointError, going_on_from: int) -> None:
        """Move a damaged checkpoint away, where no later one of the same step is in its way."""
        aside = self.folder.parent / DAMAGED
        aside.mkdir(exist_ok=True)
        names = (f"{error.place.name}.{number}" for number in itertools.count())
        target = next(aside / name for name in names if not (aside / name).exists())
        error.place.rename(target)
        self._manager.reload()
        logger.warning(
            "warning: %s: damaged checkpoint (%s): set aside as %s, going on from step %d",
            error.place,
            error.reason,
            target,
            going_on_from,
        )

    def _restore(self, step: int, like: Checkpoint) -> Checkpoint:
        """Return one checkpoint.

        Raises DamagedCheckpointError, and InputError when it is of another config.
        """
        meta = _read_meta(self._manager, self.folder, step)
        differing = differing_fields(
            self.config, _config_of(self.folder / str(step), meta["config"])
        )
        if differing:
            raise InputError(
                f"{self.folder}: the run there has another config ({'; '.join(differing)}): "
                "use its config, or another --workdir"
            )
        like = jax.tree.map(np.asarray, like)
        args = ocp.args.Composite(
            state=ocp.args.StandardRestore(like.state._asdict()),
            carry=ocp.args.StandardRestore(like.carry._asdict()),
        )
        read = _restore(self._manager, self.folder, step, args)
        found = Checkpoint(TrainState(**read["state"]), Carry(**read["carry"]))
        _check_crc(found, meta["crc"], self.folder / str(step))
        return found


def _restore(manager: ocp.CheckpointManager, folder: Path, step: int, args: Any) -> Any:
    try:
        return manager.restore(step, args=args)
    except (ValueError, OSError, KeyError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise DamagedCheckpointError(folder / str(step), first_line) from error


def _read_meta(manager: ocp.CheckpointManager, folder: Path, step: int) -> dict[str, Any]:
    args = ocp.args.Composite(meta=ocp.args.JsonRestore())
    meta = _restore(manager, folder, step, args)["meta"]
    if not {"config", "crc"} <= set(meta):
        raise DamagedCheckpointError(folder / str(step), "its meta lacks config or checksums")
    return meta


def _check_crc(tree: Any, expected: dict[str, int], place: Path) -> None:
    for path, crc in _crc_by_leaf(tree).items():
        if expected.get(path) != crc:
            raise DamagedCheckpointError(place, f"checksum of {path} differs")


def save_params(path: Path, config: Config, params: dict[str, Any]) -> None:
    """Write parameters and config to one safetensors file, parameters in half precision."""
    flat = flatten_dict(params["params"], sep=SEPARATOR)
    halves = {name: np.asarray(value, np.float16) for name, value in flat.items()}
    with whole_file(path) as temporary:
        save_file(halves, temporary, metadata={"config": config.to_json()})


def load_params(path: Path) -> tuple[Config, dict[str, Any]]:
    """Return config and float32 parameters from a safetensors file or a run's folder.

    Of a run's folder the newest checkpoint is read. Raises InputError when nothing is there, or
    it is damaged, or of another version.
    """
    with reading(path):
        if path.is_dir():
            return _load_run(path)
        return _load_file(path)


def _load_file(path: Path) -> tuple[Config, dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint: give a .safetensors file or a --workdir")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            flat = {name: file.get_tensor(name).astype(np.float32) for name in names}
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: not a readable checkpoint ({error}): give a .safetensors file that "
            "train.py wrote, or its --workdir"
        ) from error
    if "config" not in metadata:
        raise InputError(f"{path}: holds no v2s_jax config: give a file that train.py wrote")
    config, params = _config_of(path, metadata["config"]), unflatten_dict(flat, sep=SEPARATOR)
    return config, _fitting(path, config, {"params": params})


def _config_of(path: Path, text: str) -> Config:
    try:
        return Config.from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _fitting(path: Path, config: Config, params: dict[str, Any]) -> dict[str, Any]:
    """Return `params` if they are those of the config's model, by name and shape."""
    wanted = jax.eval_shape(lambda: init_params(VideoToSound(config), jax.random.key(0)))
    shapes = {name: leaf.shape for name, leaf in flatten_dict(wanted, sep=SEPARATOR).items()}
    found = {name: leaf.shape for name, leaf in flatten_dict(params, sep=SEPARATOR).items()}
    for name in sorted(shapes.keys() | found.keys()):
        if shapes.get(name) != found.get(name):
            raise InputError(
                f"{path}: {name} has shape {found.get(name)}, the config's model wants "
                f"{shapes.get(name)}: the file is of another version or damaged"
            )
    return params


def _load_run(workdir: Path) -> tuple[Config, dict[str, Any]]:
    folder = (workdir / CHECKPOINTS).absolute()
    steps = [int(p.name) for p in folder.glob("*") if p.name.isdigit()] if folder.exists() else []
    if not steps:
        raise InputError(
            f"{workdir}: a folder without a checkpoint: give the --workdir of a run that has "
            "saved one, or a .safetensors file"
        )
    with ocp.CheckpointManager(folder) as manager:
        step = max(steps)
        meta = _read_meta(manager, folder, step)
        config = _config_of(folder / str(step), meta["config"])
        args = ocp.args.Composite(state=ocp.args.StandardRestore())
        state = _restore(manager, folder, step, args)["state"]
    params = jax.tree.map(np.asarray, state["params"])
    expected = {
        path.removeprefix(".state.params"): crc
        for path, crc in meta["crc"].items()
        if path.startswith(".state.params")
    }
    _check_crc(params, expected, folder / str(step))
    return config, _fitting(folder / str(step), config, params)
