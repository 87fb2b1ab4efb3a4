"""`python -m benchmarks device`: everything about this device in one run and on one page.

Each step is a command in its own process. One that fails or takes too long is reported, with what
it printed, and the rest goes on.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax

from benchmarks.common import check_at_least_one, get_preset, markdown_table, write_report
from benchmarks.machine import ROOT, describe_machine
from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write, check_writable
from v2s_jax.processes import run_isolated

PLATFORMS = {"gpu": "cuda,cpu", "tpu": "tpu,cpu"}
"""What JAX_PLATFORMS must be for the tests to run on a device."""
SEC_PER_MINUTE = 60
LAST_LINES = 60
"""Of the output of a step, on the page."""
State = Literal["ok", "failed", "too long", "not started"]


class Step(NamedTuple):
    """A command to run."""

    name: str
    percent: int
    """Of the time; what one step does not use is for those after it."""
    command: list[str]
    """Arguments of Python."""
    plots: bool = False
    """Whether it draws NAME.png."""


class Device(NamedTuple):
    """What JAX runs on."""

    platform: str
    kind: str
    devices: int


@dataclass(frozen=True, kw_only=True)
class DeviceArgs:
    """Test the engines on this device, measure sampling, training and VGG19, and profile."""

    out: Path
    """Folder for device.md, device.json, and the reports, plots and logs of the steps."""
    max_minutes: float = 8.0
    """All steps together stop after so long."""
    preset: str = "demo"
    """Sizes of the model; tiny for a try."""
    batch: tuple[int, ...] = (1, 32, 1024)
    """Clips that are sampled at once."""
    seconds: float = 1.0
    """Length of each clip."""
    training_batch: tuple[int, ...] = (16, 128)
    """Clips per step of training."""
    images: int = 32
    """Images at once for VGG19."""

    def run(self) -> None:
        """Run all steps, and write the page after each."""
        check_at_least_one(batch=self.batch, training_batch=self.training_batch, images=self.images)
        if not 0 < self.max_minutes < float("inf"):
            raise InputError(f"--max-minutes {self.max_minutes}: use a number above 0, such as 8")
        get_preset(self.preset)
        check_writable(self.out)
        end = time.monotonic() + SEC_PER_MINUTE * self.max_minutes
        device, machine = run_isolated(describe_device), describe_machine()
        steps, results = list(self.steps(device)), list[dict[str, Any]]()
        for number, step in enumerate(steps, start=1):
            print(f"step {number} of {len(steps)}: {step.name}", file=sys.stderr)
            left = end - time.monotonic()
            percent = sum(other.percent for other in steps[number - 1 :])
            max_sec = left * step.percent / percent
            results.append(run_step(step, self.out, max_sec, device.platform))
            report = {"platform": device.platform, "devices": device.devices, "steps": results}
            write_report(self.out / "device.json", "device", machine, device.kind, **report)
            with atomic_write(self.out / "device.md") as temporary:
                temporary.write_text(page(device, str(machine), results))
        for result in results:
            print(f"{result['name']}: {result['state']}, {result['sec']:.0f} s")
        print(f"wrote {self.out / 'device.md'}")

    def steps(self, device: Device) -> Iterator[Step]:
        """Yield the steps for a device."""
        clips = [*map(str, self.batch)]
        is_cpu = device.platform == "cpu"
        chosen = "not fused_tpu and not fused_gpu"  # interpreted kernels tell nothing of a device
        if not is_cpu:
            chosen = f"(scan or fused_device) and not cpu and {chosen}"
        tests = ["-m", "not soak", "-k", chosen]
        tests += ["tests/kernels/test_engines.py", "-q", "-n", "0"]
        yield Step("engine-tests", 25, ["-m", "pytest", *tests])
        model = ["--preset", self.preset]
        for engine in ("scan", "cpu" if is_cpu else "fused"):
            options = ["--engine", engine, "--batch", *clips, "--batch-size", "batch"]
            options += ["--seconds", str(self.seconds), "--repeats", "2"]
            yield _benchmark(f"sampling-{engine}", 20, "sampling", *model, *options, plots=True)
        options = ["--batch", *map(str, self.training_batch), "--repeats", "2"]
        yield _benchmark("training", 15, "training", *model, *options)
        options = ["--batch", str(self.images), "--repeats", "2"]
        yield _benchmark("vgg19", 10, "features", *options)
        options = ["--batch", clips[min(1, len(clips) - 1)]]
        yield _benchmark("profile", 10, "profile", *model, *options, plots=True)


def _benchmark(name: str, percent: int, *arguments: str, plots: bool = False) -> Step:
    return Step(name, percent, ["-m", "benchmarks", *arguments], plots)


def describe_device() -> Device:
    """Return what JAX runs on; in a process of its own, for it takes the device's memory."""
    devices = jax.devices()
    return Device(devices[0].platform, devices[0].device_kind, len(devices))


def run_step(step: Step, out: Path, max_sec: float, platform: str) -> dict[str, Any]:
    """Run a step for at most `max_sec`; return its state, time and report."""
    files = {"--json": out / f"{step.name}.json", "--plot": out / f"{step.name}.png"}
    for file in files.values():
        file.unlink(missing_ok=True)
    command = [sys.executable, *step.command]
    if step.command[1] == "benchmarks":
        wanted = ("--json", "--plot") if step.plots else ("--json",)
        command += [word for option in wanted for word in (option, str(files[option].resolve()))]
    environment = dict(os.environ, JAX_PLATFORMS=PLATFORMS.get(platform, platform))
    start, state = time.monotonic(), "not started"
    log = out / f"{step.name}.log"
    with log.open("wb") as output:
        if max_sec > 0:
            state = _run(command, output, environment, max_sec)
    report = files["--json"]
    return {
        "name": step.name,
        "state": state,
        "sec": time.monotonic() - start,
        "command": shlex.join(["python", *step.command]),
        "output": log.read_text(errors="replace").splitlines()[-LAST_LINES:],
        "plot": files["--plot"].name if files["--plot"].exists() else None,
        "report": json.loads(report.read_text()) if report.exists() else None,
    }


def _run(command: list[str], output: Any, environment: dict[str, str], max_sec: float) -> State:
    """Run a command and what it starts, in a session that can be ended as a whole."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            return "failed" if process.wait(max_sec) else "ok"
        except subprocess.TimeoutExpired:
            return "too long"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def page(device: Device, machine: str, results: list[dict[str, Any]]) -> str:
    """Return the page: a table of the steps, then what each printed, tables too, and its plot."""
    states = [{"step": one["name"], "state": one["state"], "sec": one["sec"]} for one in results]
    lines = [f"# {device.kind}", "", f"{device.devices} x {device.platform}; {machine}.", ""]
    lines += [*markdown_table(states), ""]
    for one in results:
        lines += [f"## {one['name']}: {one['state']}", "", f"`{one['command']}`", ""]
        lines += ["```", *one["output"], "```", ""]
        if one["plot"] is not None:
            lines += [f"![{one['name']}]({one['plot']})", ""]
    return "\n".join(lines).rstrip() + "\n"
