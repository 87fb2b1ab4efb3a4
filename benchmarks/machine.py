"""The machine that figures were measured on, and the most memory that a process held."""

import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import jax

from v2s_jax.errors import InputError

BYTES_PER_MB = 10**6
PROC_STATUS = Path("/proc/self/status")
PROC_CPUINFO = Path("/proc/cpuinfo")


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


def describe_machine() -> Machine:
    """Describe this machine without starting JAX's backend, which would take device memory."""
    return Machine(
        cpu=_field(PROC_CPUINFO, "model name") or platform.processor() or platform.machine(),
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


def host_peak_mb() -> float:
    """Return the peak resident memory of this process, in MB (10^6 bytes)."""
    # On Linux ru_maxrss starts at the parent's peak; VmHWM does not.
    peak = _field(PROC_STATUS, "VmHWM")
    if peak is not None:
        return int(peak.removesuffix("kB")) * 1024 / BYTES_PER_MB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / BYTES_PER_MB


def device_peak_mb(device: jax.Device) -> float | None:
    """Return the peak of JAX's allocator on `device`; None where it keeps no count."""
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
    return None if peak is None else peak / BYTES_PER_MB


@contextmanager
def wrap_memory_errors(case: str, fix: str) -> Iterator[None]:
    """Turn exhausted host or device memory into an InputError."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise InputError(f"{case}: memory ran out: {fix}") from error


def usable_cores() -> int:
    """Return how many logical cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _field(file: Path, name: str) -> str | None:
    """Return the first value of `name` in a file of "name: value" lines."""
    if not file.exists():
        return None
    for line in file.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


ROOT = Path(__file__).parents[1]
"""The checkout."""


def _commit() -> str | None:
    if not (ROOT / ".git").exists():
        return None
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(ROOT), *describe],
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return None
    return result.stdout.strip() or None
