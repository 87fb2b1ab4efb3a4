"""What a run says while it goes: JSON lines and TensorBoard, in bits and nats."""

import json
from pathlib import Path
from types import TracebackType

from tensorboardX import SummaryWriter

from v2s_jax.files import whole_file

METRICS_FILE = "metrics.jsonl"


class MetricsLog:
    """Append scalars to WORKDIR/metrics.jsonl and to TensorBoard events in WORKDIR.

    A run that goes on from `step` forgets what it had logged beyond it, so that no update is
    logged twice.
    """

    def __init__(self, workdir: Path, step: int) -> None:
        path = workdir / METRICS_FILE
        if path.exists():
            _keep_lines(path, step)
        self._lines = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(workdir), purge_step=step + 1)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._board.close()

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Log scalars under `step`."""
        self._lines.write(json.dumps({"step": step, **scalars}) + "\n")
        self._lines.flush()
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)


def _keep_lines(path: Path, last_step: int) -> None:
    """Drop the lines of later steps, and one that a kill cut off."""
    with path.open(encoding="utf-8") as lines:
        kept = [line for line in lines if line.endswith("\n") and _step(line) <= last_step]
    with whole_file(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")


def _step(line: str) -> int:
    return int(json.loads(line)["step"])
