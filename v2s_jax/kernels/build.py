"""Build the cpu engine's library: `python -m v2s_jax.kernels.build`.

One C++ file against the headers that JAX ships, for the processor at hand. The library lies in the
user's cache under a name that holds what it was built from and for, so another version, JAX or
machine does not find it.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
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
    """Return where the library for this source, JAX and processor lies once it is built."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for source in [*sorted(HERE.glob("*.h")), SOURCE]:
        digest.update(source.read_bytes())
    digest.update(f"{version('jaxlib')} {platform.machine()} {_processor()}".encode())
    return cache_dir() / f"sampler-{digest.hexdigest()[:16]}.so"


def processor_digest() -> str:
    """Return a name for what a program compiled on this machine can run on."""
    told = f"{platform.machine()} {_processor()}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def build() -> Path:
    """Build the library unless it is there; raise InputError without a compiler, or if it fails."""
    path = library_path()
    if path.exists():
        return path
    compiler = os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)
    if compiler is None:
        raise InputError(
            f"no C++ compiler: install g++ (Debian, Ubuntu: apt install g++), then {COMMAND}"
        )
    with atomic_write(path) as temporary:
        command = [
            compiler,
            *FLAGS,
            f"-I{jax.ffi.include_dir()}",
            str(SOURCE),
            "-o",
            str(temporary),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise InputError(f"{compiler}: cannot be run ({error.strerror}): set CXX") from error
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), "")
            raise InputError(f"{compiler} failed ({first.strip()}): try another one with CXX=...")
    return path


def _processor() -> str:
    """Return the processor's abilities, which -march=native builds for."""
    if not PROC_CPUINFO.exists():
        return platform.processor()
    lines = PROC_CPUINFO.read_text().splitlines()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")


def main() -> None:
    """Build, and say where."""
    try:
        print(f"{build()}: the cpu engine")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
