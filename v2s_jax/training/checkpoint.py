"""Checkpoints of a run: everything it needs to resume exactly.

Orbax writes them in the background and renames each one when it is complete:

    WORKDIR/checkpoints/STEP/   state (params, optimizer, moving average, step), carry in clip
                                order, meta as JSON, bits per held-out sample if evaluated
    WORKDIR/corrupt/            corrupt checkpoints that were moved away

The newest checkpoints and the best one are kept. Orbax does not notice flipped bytes in a file, so
meta holds a CRC of every leaf. With several processes only process 0 reads and writes; the others
need not see the folder.
"""

import itertools
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from v2s_jax.checkpoints import parse_config
from v2s_jax.config import Config, differing_fields
from v2s_jax.errors import InputError, first_line
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

CORRUPT_FOLDER = "corrupt"
NOT_FINITE_FOLDER = "not_finite"
BITS = "bits_per_sample"
UNSCORED = float("inf")
"""Bits of a checkpoint that was not evaluated: never the best."""

EVENT_LOOP_CLOSED = "Event loop is closed"  # asyncio's message

logger = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """A run between two calls of the training step, as host arrays."""

    state: TrainState
    carry: Carry


def _bits(metrics: dict[str, float]) -> float:
    return metrics[BITS]


class Checkpointer(ExitStack):
    """Reads and writes the checkpoints of one run, in process 0. Use it in a `with` block.

    `data` identifies the training data; a run does not resume on other data. Raises InputError when
    the folder cannot be created.
    """

    def __init__(self, workdir: Path, config: Config, data: str = "") -> None:
        super().__init__()
        quiet_orbax()
        self.config, self.data = config, data
        self.folder = (workdir / CHECKPOINTS).absolute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot be created ({error.strerror}): choose another --workdir"
            ) from error
        newest = policies.LatestN(config.training.keep_checkpoints)
        best = policies.BestN(get_metric_fn=_bits, reverse=True, n=1)  # keeps the last when sorted
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                best_fn=_bits,  # without it Orbax writes no metrics
                best_mode="min",
                preservation_policy=policies.AnyPreservationPolicy([newest, best]),
                create=False,  # already created
                cleanup_tmp_directories=True,
                multiprocessing_options=FIRST_PROCESS,
            ),
        )
        self._quiet_failed_writes()
        self.callback(self._close)

    def _quiet_failed_writes(self) -> None:
        """Drop what TensorStore's threads print about every write that follows a failed one."""
        previous = sys.unraisablehook

        def hook(unraisable: "sys.UnraisableHookArgs") -> None:
            if str(unraisable.exc_value) != EVENT_LOOP_CLOSED:
                previous(unraisable)

        sys.unraisablehook = hook
        self.callback(setattr, sys, "unraisablehook", previous)

    def _close(self) -> None:
        with self._wrap_write_errors():
            self._manager.wait_until_finished()
        self._manager.close()

    @contextmanager
    def _wrap_write_errors(self) -> Iterator[None]:
        """Raise an error from a background write as an InputError."""
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            root_cause = first_line(error).rsplit(": ", 1)[
                -1
            ]  # after the layers that it went through
            raise InputError(
                f"{self.folder}: a checkpoint could not be written ({root_cause}): free space or "
                "fix the disk, then rerun the same command to resume"
            ) from error

    def save(self, checkpoint: Checkpoint, bits: float = UNSCORED) -> None:
        """Save in the background; the arrays are copied before this returns.

        `bits` are the bits per held-out sample. Raises InputError when this checkpoint, or the one
        before, cannot be written.
        """
        meta = {"config": self.config.to_json(), "data": self.data, "crc": crc_by_leaf(checkpoint)}
        with self._wrap_write_errors():
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
        """Return the fewest held-out bits of all checkpoints."""
        metrics = (self._manager.metrics(step) for step in self._manager.all_steps())
        return min((_bits(values) for values in metrics if values), default=UNSCORED)

    def restore_latest(self, like: Checkpoint) -> Checkpoint | None:
        """Return the newest intact checkpoint, or None in a new folder. `like` has its structure.

        Logs newer corrupt checkpoints and moves them away. Raises InputError when the run has
        another config or other data, or when no checkpoint is intact.
        """
        corrupt: list[CorruptCheckpointError] = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                checkpoint = self._restore(step, like)
            except CorruptCheckpointError as error:
                corrupt.append(error)
                continue
            for newer in corrupt:
                self._move_away(newer, step)
            return checkpoint
        if corrupt:
            raise InputError(
                f"{self.folder}: no intact checkpoint; the newest: {corrupt[0].reason}: copy the "
                "folder again, or use another --workdir"
            ) from corrupt[0]
        return None

    def _move_away(self, error: CorruptCheckpointError, resume_step: int) -> None:
        """Move a corrupt checkpoint away, so that its step can be saved again."""
        folder = self.folder.parent / CORRUPT_FOLDER
        folder.mkdir(exist_ok=True)
        names = (f"{error.path.name}.{number}" for number in itertools.count())
        target = next(folder / name for name in names if not (folder / name).exists())
        error.path.rename(target)
        self._manager.reload()
        logger.warning(
            "warning: %s: corrupt checkpoint (%s): moved to %s, resuming from step %d",
            *(error.path, error.reason, target, resume_step),
        )

    def _restore(self, step: int, like: Checkpoint) -> Checkpoint:
        """Return one checkpoint.

        Raises CorruptCheckpointError, and InputError for another config or other data.
        """
        path = self.folder / str(step)
        meta = read_meta(self._manager, self.folder, step)
        differing = differing_fields(self.config, parse_config(path, meta["config"]))
        if differing:
            raise InputError(
                f"{self.folder}: the run there has another config ({'; '.join(differing)}): "
                "use its config, or another --workdir"
            )
        if meta["data"] != self.data:
            raise InputError(
                f"{self.folder}: the run there was trained on other data ({meta['data']}; not "
                f"{self.data}): use its data, or another --workdir"
            )
        like = jax.tree.map(np.asarray, like)
        args = ocp.args.Composite(
            state=ocp.args.StandardRestore(like.state._asdict()),
            carry=ocp.args.StandardRestore(like.carry._asdict()),
        )
        items = restore_items(self._manager, self.folder, step, args)
        checkpoint = Checkpoint(TrainState(**items["state"]), Carry(**items["carry"]))
        check_crc(checkpoint, meta["crc"], path)
        return checkpoint
