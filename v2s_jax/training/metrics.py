"""What a run says while it goes: JSON lines and TensorBoard, in bits and nats."""

import json
from pathlib import Path
from types import TracebackType

from tensorboardX import SummaryWriter

METRICS_FILE = "metrics.jsonl"


class MetricsLog:
    """Append scalars to WORKDIR/metrics.jsonl and to TensorBoard events in WORKDIR."""

    def __init__(self, workdir: Path) -> None:
        self._lines = (workdir / METRICS_FILE).open("a", encoding="utf-8")
        self._board = SummaryWriter(str(workdir))

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
