"""Build the library of the cpu engine: `v2s build`.

It is one C++ file, compiled for this processor against the headers that JAX ships. The name of the
library in the user's cache is a hash of its source, flags, JAX version and processor, so that no
other version or machine loads it.
"""

import hashlib
import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import jax

from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write, cache_dir

HERE = Path(__file__).parent
SOURCE = HERE / "sampler.cc"
FLAGS = ("-O3", "-std=c++17", "-march=native", "-fPIC", "-shared", "-pthread", "-fno-math-errno")
COMPILERS = ("g++", "clang++", "c++")
COMMAND = "v2s build"
PROC_CPUINFO = Path("/proc/cpuinfo")


def library_path() -> Path:
    """Return the path of the library for this source, JAX and processor, built or not."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for source in [*sorted(HERE.glob("*.h")), SOURCE]:
        digest.update(source.read_bytes())
    digest.update(f"{version('jaxlib')} {platform.machine()} {_processor()}".encode())
    return cache_dir() / f"sampler-{digest.hexdigest()[:16]}.so"


def processor_digest() -> str:
    """Return a hash of the instruction sets that programs compiled on this machine may use."""
    return hashlib.sha256(f"{platform.machine()} {_processor()}".encode()).hexdigest()[:16]


def build() -> Path:
    """Build the library unless it exists; raise InputError without a working compiler."""
    path = library_path()
    if path.exists():
        return path
    compiler = os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)
    if compiler is None:
        raise InputError(
            f"no C++ compiler: install g++ (Debian, Ubuntu: apt install g++), then {COMMAND}"
        )
    with atomic_write(path) as temporary:
        include = f"-I{jax.ffi.include_dir()}"
        command = [compiler, *FLAGS, include, str(SOURCE), "-o", str(temporary)]
        try:
            result = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise InputError(f"{compiler}: cannot be run ({error.strerror}): set CXX") from error
        if result.returncode:
            first = next((line for line in result.stderr.splitlines() if "error" in line), "")
            raise InputError(f"{compiler} failed ({first.strip()}): set CXX to another compiler")
    return path


def _processor() -> str:
    """Return the processor's instruction sets, which -march=native compiles for."""
    if not PROC_CPUINFO.exists():
        return platform.processor()
    lines = PROC_CPUINFO.read_text().splitlines()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")


def main() -> None:
    """Run `v2s build`."""
    print(f"{build()}: the cpu engine")
