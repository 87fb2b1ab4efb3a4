"""Checkpoints: what a run needs to go on exactly, and the parameters alone for sampling.

A run's folder holds Orbax steps, written in the background and renamed when whole:

    WORKDIR/checkpoints/STEP/   state (params, optimiser, average, step), carry in clip order,
                                meta as JSON, bits on held-out clips where they were measured
    WORKDIR/params.safetensors  parameters and config of the finished run, half precision

The newest ones are kept, and the one with the fewest held-out bits. Orbax does not notice bytes
that flipped inside a file, so meta keeps a CRC of every leaf. A run goes on from its newest whole
checkpoint; damaged ones are set aside in WORKDIR/damaged/. Of several processes the first alone
reads and writes; the folder need not be there for the others.
"""

import itertools
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from v2s_jax.checkpoints import parse_config
from v2s_jax.config import Config, differing_fields
from v2s_jax.errors import InputError
from v2s_jax.model import Carry
from v2s_jax.run_folder import (
    CHECKPOINTS,
    FIRST_PROCESS,
    CorruptCheckpointError,
    check_crc,
    crc_by_leaf,
    quiet_orbax,
    read_meta,
    restore_items,
)
from v2s_jax.training.state import TrainState

CORRUPT_SUFFIX = "damaged"
NOT_FINITE = "not_finite"
BITS = "bits_per_sample"
UNSCORED = float("inf")
"""The bits of a checkpoint that was not scored: it is nobody's best."""

LOOP_CLOSED = "Event loop is closed"  # asyncio's words

logger = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """A run between two calls of the training step, as host arrays."""

    state: TrainState
    carry: Carry


def _bits(metrics: dict[str, float]) -> float:
    return metrics[BITS]


class Checkpointer:
    """The checkpoints of one run, for the first process.

    `data` says what the run is trained on; a run on other data does not go on.
    """

    def __init__(self, workdir: Path, config: Config, data: str = "") -> None:
        quiet_orbax()
        self.config, self.data = config, data
        self.folder = (workdir / CHECKPOINTS).absolute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot be made ({error.strerror}): choose another --workdir"
            ) from error
        newest = policies.LatestN(config.training.keep_checkpoints)
        # The last of the sorted ones stays.
        best = policies.BestN(get_metric_fn=_bits, reverse=True, n=1)
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                best_fn=_bits,  # without it no metrics are written
                best_mode="min",
                preservation_policy=policies.AnyPreservationPolicy([newest, best]),
                create=False,  # it has been, above
                cleanup_tmp_directories=True,
                multiprocessing_options=FIRST_PROCESS,
            ),
        )

    def __enter__(self) -> "Checkpointer":
        self._hook_before = sys.unraisablehook
        sys.unraisablehook = self._hook
        return self

    def _hook(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Leave out what TensorStore's threads tell of all the writes after one that failed."""
        if str(unraisable.exc_value) != LOOP_CLOSED:
            self._hook_before(unraisable)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with self._writing():
                self._manager.wait_until_finished()
            self._manager.close()
        finally:
            sys.unraisablehook = self._hook_before

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what Orbax's threads met while they wrote into an InputError."""
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.folder}: a checkpoint could not be written ({_last_reason(error)}): free "
                "space or mend the disk; the same words go on from the newest whole one"
            ) from error

    def save(self, checkpoint: Checkpoint, bits: float = UNSCORED) -> None:
        """Save in the background; the arrays are copied before this returns.

        `bits` are those per held-out sample. Raises InputError when this checkpoint, or the one
        before, cannot be written.
        """
        meta = {
            "config": self.config.to_json(),
            "data": self.data,
            "crc": crc_by_leaf(checkpoint),
        }
        with self._writing():
            self._manager.save(
                int(checkpoint.state.step),
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(checkpoint.state._asdict()),
                    carry=ocp.args.StandardSave(checkpoint.carry._asdict()),
                    meta=ocp.args.JsonSave(meta),
                ),
                metrics={BITS: bits},
            )

    def best_bits(self) -> float:
        """Return the fewest held-out bits of the checkpoints that are there."""
        metrics = (self._manager.metrics(step) for step in self._manager.all_steps())
        return min((_bits(kept) for kept in metrics if kept), default=UNSCORED)

    def restore_latest(self, like: Checkpoint) -> Checkpoint | None:
        """Return the newest whole checkpoint, or None in a new folder. `like` gives the structure.

        Newer ones that are damaged are named in the log and set aside. Raises InputError when the
        run in the folder has another config or data, or no checkpoint of it is whole.
        """
        damaged: list[CorruptCheckpointError] = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                found = self._restore(step, like)
            except CorruptCheckpointError as error:
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

    def _set_aside(self, error: CorruptCheckpointError, going_on_from: int) -> None:
        """Move a damaged checkpoint away, where no later one of the same step is in its way."""
        aside = self.folder.parent / CORRUPT_SUFFIX
        aside.mkdir(exist_ok=True)
        names = (f"{error.path.name}.{number}" for number in itertools.count())
        target = next(aside / name for name in names if not (aside / name).exists())
        error.path.rename(target)
        self._manager.reload()
        logger.warning(
            "warning: %s: damaged checkpoint (%s): set aside as %s, going on from step %d",
            error.path,
            error.reason,
            target,
            going_on_from,
        )

    def _restore(self, step: int, like: Checkpoint) -> Checkpoint:
        """Return one checkpoint.

        Raises DamagedCheckpointError, and InputError when it is of another config or other data.
        """
        meta = read_meta(self._manager, self.folder, step)
        differing = differing_fields(
            self.config, parse_config(self.folder / str(step), meta["config"])
        )
        if differing:
            raise InputError(
                f"{self.folder}: the run there has another config ({'; '.join(differing)}): "
                "use its config, or another --workdir"
            )
        if meta["data"] != self.data:
            raise InputError(
                f"{self.folder}: the run there was trained on other data ({meta['data']}; these "
                f"are {self.data}): give its data, or another --workdir"
            )
        like = jax.tree.map(np.asarray, like)
        args = ocp.args.Composite(
            state=ocp.args.StandardRestore(like.state._asdict()),
            carry=ocp.args.StandardRestore(like.carry._asdict()),
        )
        read = restore_items(self._manager, self.folder, step, args)
        found = Checkpoint(TrainState(**read["state"]), Carry(**read["carry"]))
        check_crc(found, meta["crc"], self.folder / str(step))
        return found


def _last_reason(error: Exception) -> str:
    """Return what lies at the bottom of an error that names every layer it came through."""
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first_line.rsplit(": ", 1)[-1][:200]
