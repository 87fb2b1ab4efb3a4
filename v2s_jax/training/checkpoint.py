"""Checkpoints of a run: everything it needs to resume exactly.

Orbax writes them in the background and renames each one when it is complete:

    WORKDIR/checkpoints/STEP/   state (params, optimizer, moving average, step), carry in clip
                                order, meta as JSON
    WORKDIR/corrupt/            corrupt checkpoints that were moved away
    WORKDIR/shorter_run/        those of a shorter run that was prolonged, from its decay on

The newest checkpoints are kept, the best one, and the last one before the learning rate falls, from
which a longer run can go on. Orbax does not notice flipped bytes in a file, so
meta holds a CRC of every leaf, and one of itself. With several processes only process 0 reads and
writes; the others need not see the folder.
"""

import itertools
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from v2s_jax.checkpoints import BEST_PARAMS_FILE, PARAMS_FILE, find_non_finite
from v2s_jax.config import Config, TrainingConfig
from v2s_jax.errors import InputError, first_line, write_error
from v2s_jax.model import Carry
from v2s_jax.run_folder import (
    CHECKPOINTS,
    FIRST_PROCESS,
    UNSCORED,
    CorruptCheckpointError,
    Meta,
    check_crc,
    crc_by_leaf,
    list_checkpoints,
    quiet_orbax,
    read_meta,
    restore_item,
)
from v2s_jax.training.resume import (
    OtherLearningRatesError,
    check_config,
    check_held_out,
    check_resumable,
)
from v2s_jax.training.state import TrainState, decay_start

CORRUPT_FOLDER = "corrupt"
SHORTER_RUN_FOLDER = "shorter_run"
NOT_FINITE_FOLDER = "not_finite"
EVENT_LOOP_CLOSED = "Event loop is closed"  # asyncio's message

logger = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """A run between two calls of the training step, as host arrays."""

    state: TrainState
    carry: Carry


class _BestOne:
    """Preserves the checkpoint with the fewest bits, the newest one of equals."""

    def __init__(self, bits: dict[int, float]) -> None:
        self._bits = bits

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        """Say for each checkpoint whether this policy keeps it."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        best = min(steps, key=lambda step: (self._bits.get(step, UNSCORED), -step))
        return [step == best for step in steps]


class _BeforeDecay:
    """Preserves the last checkpoint whose updates all had the full learning rate."""

    def __init__(self, training: TrainingConfig) -> None:
        self._decay_start = decay_start(training)

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        """Say for each checkpoint whether this policy keeps it."""
        before = [point.step for point in checkpoints if point.step <= self._decay_start]
        return [point.step == max(before, default=None) for point in checkpoints]


def check_run(workdir: Path, config: Config) -> None:
    """Raise InputError if a folder holds a run of another config, before anything is computed."""
    folder = (workdir / CHECKPOINTS).absolute()
    for path in list_checkpoints(folder):
        with suppress(CorruptCheckpointError):
            stored = read_meta(path).config
            check_config(str(folder), stored, config)
            check_held_out(str(folder), stored.training, config.training)
            return


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
        self.changes: list[str] = []
        """A line about each field that differs from the restored checkpoint's config."""
        self._bits: dict[int, float] = {}
        """Bits per held-out sample of the checkpoints whose meta is intact."""
        for path in list_checkpoints(self.folder):
            with suppress(CorruptCheckpointError):
                self._bits[int(path.name)] = read_meta(path).bits
        self._quiet_failed_writes()

    @cached_property
    def _manager(self) -> ocp.CheckpointManager:
        """Orbax's manager, which only saves; made after corrupt checkpoints were moved away."""
        training = self.config.training
        kept = [
            policies.LatestN(training.keep_checkpoints),
            _BestOne(self._bits),
            _BeforeDecay(training),
        ]
        manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(kept),
                create=False,  # already created
                cleanup_tmp_directories=True,
                lightweight_initialize=True,  # reads no file, as any of them may be corrupt
                multiprocessing_options=FIRST_PROCESS,
            ),
        )
        self.callback(self._close)
        return manager

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
        step = int(checkpoint.state.step)
        self._bits[step] = bits
        meta = Meta(self.config, self.data, crc_by_leaf(checkpoint), float(bits))
        with self._wrap_write_errors():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(checkpoint.state._asdict()),
                    carry=ocp.args.StandardSave(checkpoint.carry._asdict()),
                    meta=ocp.args.JsonSave(meta.to_json()),
                ),
            )

    def best_bits(self) -> float:
        """Return the fewest held-out bits of all checkpoints."""
        return min(self._bits.values(), default=UNSCORED)

    def restore_latest(self, like: Checkpoint) -> Checkpoint | None:
        """Return the newest intact checkpoint, or None in a new folder. `like` has its structure.

        Logs newer corrupt checkpoints and moves them away, as well as those of a shorter run whose
        learning rates were others. Raises InputError when the run has another config or other data,
        or when no checkpoint is intact.
        """
        corrupt: list[CorruptCheckpointError] = []
        of_shorter_run: list[Path] = []
        shorter_run_error: OtherLearningRatesError | None = None
        for path in list_checkpoints(self.folder):
            try:
                checkpoint = self._restore(path, like)
            except CorruptCheckpointError as error:
                corrupt.append(error)
                continue
            except OtherLearningRatesError as error:
                of_shorter_run.append(path)
                shorter_run_error = shorter_run_error or error
                continue
            for newer in corrupt:
                self._set_corrupt_aside(newer, int(path.name))
            self._set_shorter_run_aside(of_shorter_run, int(path.name))
            return checkpoint
        if shorter_run_error:
            raise shorter_run_error
        if corrupt:
            raise InputError(
                f"{self.folder}: no intact checkpoint; the newest: {corrupt[0].reason}: copy the "
                "folder again, or use another --workdir"
            ) from corrupt[0]
        return None

    def _set_shorter_run_aside(self, paths: list[Path], resume_step: int) -> None:
        """Move the results of a shorter run away that a longer one does not go through."""
        if not paths:
            return
        workdir = self.folder.parent
        for name in (BEST_PARAMS_FILE, PARAMS_FILE):
            if (workdir / name).exists():
                self._move_away(workdir / name, SHORTER_RUN_FOLDER)
        for path in paths:
            target = self._move_away(path, SHORTER_RUN_FOLDER)
            self._bits.pop(int(path.name), None)
        self.changes.append(
            f"the run goes on from step {resume_step}, before its learning rate fell; its later "
            f"checkpoints and parameters are in {target.parent}"
        )

    def _set_corrupt_aside(self, error: CorruptCheckpointError, resume_step: int) -> None:
        target = self._move_away(error.path, CORRUPT_FOLDER)
        self._bits.pop(int(error.path.name), None)
        logger.warning(
            "warning: %s: corrupt checkpoint (%s): moved to %s, resuming from step %d",
            *(error.path, error.reason, target, resume_step),
        )

    def _move_away(self, path: Path, folder_name: str) -> Path:
        """Move a file or checkpoint to a folder of the run, so that it can be saved again."""
        folder = self.folder.parent / folder_name
        names = (f"{path.name}.{number}" for number in itertools.count())
        target = next(folder / name for name in names if not (folder / name).exists())
        try:
            folder.mkdir(exist_ok=True)
            path.rename(target)
        except OSError as problem:
            raise write_error(target, problem.strerror) from problem
        return target

    def _restore(self, path: Path, like: Checkpoint) -> Checkpoint:
        """Return one checkpoint.

        Raises CorruptCheckpointError, and InputError for another config or other data.
        """
        meta = read_meta(path)
        self.changes = check_resumable(str(self.folder), meta.config, self.config, int(path.name))
        if meta.data != self.data:
            raise InputError(
                f"{self.folder}: the run there was trained on other data ({meta.data}; not "
                f"{self.data}): use its data, or another --workdir"
            )
        like = jax.tree.map(np.asarray, like)
        checkpoint = Checkpoint(
            TrainState(**restore_item(path, "state", like.state._asdict())),
            Carry(**restore_item(path, "carry", like.carry._asdict())),
        )
        check_crc(checkpoint, meta.crc, path)
        if problem := find_non_finite(checkpoint.state.params):
            raise CorruptCheckpointError(path, problem)
        return checkpoint
