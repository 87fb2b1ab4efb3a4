"""`python -m benchmarks first-sound`: how long a user waits for the first sound, by phase.

Each run is a new process. Warm runs share a compilation cache that an untimed run has filled; a
cold run has an empty one. The C++ engine is built before. Phases end where the command's progress
bars say so.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import Row, check_at_least_one, print_table, report_file, write_report
from benchmarks.machine import describe_machine
from v2s_jax.errors import InputError
from v2s_jax.examples import EXAMPLE_VIDEO
from v2s_jax.kernels.build import build

PHASE_ENDS = {"start": b"compiling", "compile": b"generating:", "generate": b"100%"}
"""What the progress bars show at the end of each phase; the last phase ends with the process."""
NOTES = """\
start: Python, imports, the model; the video is measured meanwhile.
compile: tracing, and XLA or its cache. generate: decoding, features and the sound.
write: wav, video and figure. cpu: of all processes, user and system."""
COMMANDS = {"import v2s_jax": ("-c", "import v2s_jax"), "v2s --help": ("-m", "v2s_jax", "--help")}


@dataclass(frozen=True)
class FirstSoundArgs:
    """Time `v2s sample` on one video in new processes, and what should be at once."""

    checkpoint: str = "aligned"
    """As of `v2s sample`."""
    video: Path = EXAMPLE_VIDEO
    """The video; by default the example of 2 s."""
    repeats: int = 7
    """Timed runs, cold and warm ones in turn."""
    json: Path | None = None
    """File to write the figures to, as JSON."""

    def run(self) -> None:
        """Measure, and print and write the figures."""
        check_at_least_one(repeats=self.repeats)
        machine = describe_machine()
        with suppress(InputError):  # no compiler: `scan` runs
            build()
        with report_file(self.json) as file, tempfile.TemporaryDirectory() as folder:
            runs: dict[str, list[Row]] = {"cold": [], "warm": []}
            self._sample(Path(folder), "warm")
            for number in range(self.repeats):
                print(f"run {number + 1} of {self.repeats}", file=sys.stderr)
                runs["cold"].append(self._sample(Path(folder), f"cold-{number}"))
                runs["warm"].append(self._sample(Path(folder), "warm"))
            rows = [{"cache": name, **_medians(timed)} for name, timed in runs.items()]
            commands = [
                {"command": name, **_medians([_run(command) for _ in range(self.repeats)])}
                for name, command in COMMANDS.items()
            ]
            print_table(rows)
            print()
            print_table(commands)
            print(f"\n{NOTES}\n{machine}")
            write_report(file, "first-sound", machine, "host", rows=rows, commands=commands)

    def _sample(self, folder: Path, cache: str) -> Row:
        """Run `v2s sample` once with a compilation cache of this name."""
        files = ("--video", str(self.video), "--out", str(folder / "out"), "--overwrite")
        command = ("-m", "v2s_jax", "sample", *files, "--checkpoint", self.checkpoint)
        caching = {
            "JAX_ENABLE_COMPILATION_CACHE": "1",
            "JAX_COMPILATION_CACHE_DIR": str(folder / cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        return _run(command, caching, PHASE_ENDS)


def _run(
    command: Sequence[str], variables: Mapping[str, str] = {}, ends: Mapping[str, bytes] = {}
) -> Row:
    """Run Python; return seconds of each phase, of the whole run, and of all its processors.

    Raises InputError with the last line of a run that fails.
    """
    cpu_before, start = _children_cpu_sec(), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "TQDM_MININTERVAL": "0", **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    shown, stamps = b"", [start]
    with process:
        while piece := os.read(process.stderr.fileno(), 2**16):
            shown += piece
            passed = [end in shown for end in ends.values()]
            stamps += [time.perf_counter()] * (sum(passed) + 1 - len(stamps))
    whole = time.perf_counter()
    if process.returncode:
        raise InputError(shown.decode(errors="replace").strip().rpartition("\n")[2])
    phases: Row = {}
    if ends:
        names = (*ends, "write")
        stamps += [whole] * (len(names) + 1 - len(stamps))
        times = zip(names, stamps[:-1], stamps[1:], strict=True)
        phases = {f"{name}_sec": after - before for name, before, after in times}
    return phases | {"whole_sec": whole - start, "cpu_sec": _children_cpu_sec() - cpu_before}


def _children_cpu_sec() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _medians(runs: Sequence[Row]) -> Row:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}
