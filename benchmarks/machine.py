"""The machine that figures were measured on, and the most memory that a process held."""

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import jax

BYTES_PER_MB = 10**6
PROC_STATUS = Path("/proc/self/status")
PROC_CPUINFO = Path("/proc/cpuinfo")
ROOT = Path(__file__).parents[1]
"""The checkout."""


@dataclass(frozen=True)
class Machine:
    """What figures depend on besides the case and its device."""

    cpu: str
    cores: int
    """Logical cores available to the process."""
    memory_mb: int
    load_average: float
    """Runnable processes in the minute before: well above 0, others slow the figures."""
    system: str
    python: str
    jax: str
    jaxlib: str
    flax: str
    numpy: str
    xla_flags: str
    """The environment variable XLA_FLAGS."""
    commit: str | None
    """Of the checkout, with "-dirty" when it has changes; None outside git."""

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} cores, load average {self.load_average}"


def describe_machine() -> Machine:
    """Describe this machine without starting JAX's backend, which would take device memory."""
    return Machine(
        cpu=_field(PROC_CPUINFO, "model name") or platform.machine(),
        cores=usable_cores(),
        memory_mb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // BYTES_PER_MB,
        load_average=round(os.getloadavg()[0], 2),
        system=platform.platform(),
        python=platform.python_version(),
        jax=version("jax"),
        jaxlib=version("jaxlib"),
        flax=version("flax"),
        numpy=version("numpy"),
        xla_flags=os.environ.get("XLA_FLAGS", "").strip(),
        commit=_commit(),
    )


def usable_cores() -> int:
    """Return how many logical cores this process may run on."""
    return len(os.sched_getaffinity(0))


def host_peak_mb() -> float:
    """Return the peak resident memory of this process, in MB (10^6 bytes)."""
    # Of the process alone: getrusage's ru_maxrss starts at the parent's peak.
    peak = _field(PROC_STATUS, "VmHWM")
    assert peak is not None
    return int(peak.removesuffix("kB")) * 1024 / BYTES_PER_MB


def device_peak_mb(device: jax.Device) -> float | None:
    """Return the peak of JAX's allocator on `device`; None on a CPU, where it keeps no count."""
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
    return None if peak is None else peak / BYTES_PER_MB


def _field(file: Path, name: str) -> str | None:
    """Return the first value of `name` in a file of "name: value" lines."""
    for line in file.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _commit() -> str | None:
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *describe]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
