"""Build the library of the cpu engine: `v2s build`, or by itself at the first use.

It is one C++ file, compiled for this processor against the headers that JAX ships. The name of the
library in the user's cache is a hash of its source, flags, JAX version and processor, so that no
other version or machine loads it. One process builds at a time, and the library appears complete
or not at all. Why a build failed is kept beside it, so that only `v2s build` tries again.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import jax

from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write, cache_dir, check_writable, directory_lock

HERE = Path(__file__).parent
SOURCE = HERE / "sampler.cc"
FLAGS = ("-O3", "-std=c++17", "-march=native", "-fPIC", "-shared", "-pthread", "-fno-math-errno")
COMPILERS = ("g++", "clang++", "c++")
COMMAND = "v2s build"
PROC_CPUINFO = Path("/proc/cpuinfo")
FAILED_SUFFIX = ".failed"
"""Of the file that says why the library could not be built."""
INSTALL_COMPILER = "install g++ (Debian, Ubuntu: apt install g++)"
NICENESS = 10
"""Of a build in the background: what the user waits for comes first."""


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


def find_compiler() -> str | None:
    """Return the C++ compiler: that of CXX, or the first known one; None if there is none."""
    return os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)


def build(wait: bool = True) -> Path:
    """Build the library unless it exists, and return its path.

    Raises InputError without a working compiler, and, unless it is to wait, while another process
    builds.
    """
    path = library_path()
    if path.exists():
        return path
    compiler = find_compiler()
    if compiler is None:
        raise InputError(f"no C++ compiler: {INSTALL_COMPILER}, then {COMMAND}")
    with directory_lock(path.parent, wait=wait):
        if not path.exists():  # another process may have built it meanwhile
            _compile(compiler, path)
    return path


def why_not_built() -> str | None:
    """Return why the library is not built by itself, and the fix; None if it exists or can be."""
    path = library_path()
    failed = path.with_suffix(FAILED_SUFFIX)
    if path.exists():
        return None
    if find_compiler() is None:
        return f"there is no C++ compiler: {INSTALL_COMPILER}"
    with suppress(OSError):
        return f"building it failed: {failed.read_text()}, then {COMMAND}"
    try:
        check_writable(path.parent)
    except InputError as error:
        return f"{error}, with XDG_CACHE_HOME"
    return None


def start_build() -> None:
    """Build the library in a process of its own, which may outlive this one."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is not meant for it
    )
    threading.Thread(target=process.wait, daemon=True).start()


def _compile(compiler: str, path: Path) -> None:
    """Compile the library; a failure is also kept in a file."""
    include = f"-I{jax.ffi.include_dir()}"
    failed = path.with_suffix(FAILED_SUFFIX)
    with atomic_write(path) as temporary:
        command = [compiler, *FLAGS, include, str(SOURCE), "-o", str(temporary)]
        try:
            result = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            problem = f"{compiler}: cannot be run ({error.strerror}): set CXX"
            failed.write_text(problem)
            raise InputError(problem) from error
        if result.returncode:
            first = next((line for line in result.stderr.splitlines() if "error" in line), "")
            problem = f"{compiler} failed ({first.strip()}): set CXX to another compiler"
            if result.returncode > 0:  # else it was killed, which says nothing about the next time
                failed.write_text(problem)
            raise InputError(problem)
    failed.unlink(missing_ok=True)


def _processor() -> str:
    """Return the processor's instruction sets, which -march=native compiles for."""
    if not PROC_CPUINFO.exists():
        return platform.processor()
    lines = PROC_CPUINFO.read_text().splitlines()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")


def main() -> None:
    """Run `v2s build`."""
    print(f"{build()}: the cpu engine")


if __name__ == "__main__":  # in the background, where nobody reads errors
    os.nice(NICENESS)
    with suppress(InputError):
        build(wait=False)
