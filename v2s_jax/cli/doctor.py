"""What this machine lacks, and how to mend it: `python -m v2s_jax.cli.doctor`.

Nothing but the standard library is imported before it is known to be there.
"""

import importlib.metadata
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from v2s_jax.errors import InputError
from v2s_jax.pretrained import PRETRAINED

PYTHON_NEEDED = (3, 11)
DISK_NEEDED_GB = 2.0
"""A demo data set, a run and what it sounds take about 1 GB (ours)."""
BYTES_PER_GB = 10**9
TPU_NODES = ("/dev/accel0", "/dev/vfio/0")
LACKING_CODE = 1

State = Literal["ok", "lacking", "optional"]


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    what: str
    found: str
    mend: str | None = None
    """What to do; None where nothing is wrong."""
    optional: bool = False
    """Only a part of the program wants it."""

    @property
    def state(self) -> State:
        """Whether it is there; what is optional may lack."""
        if self.mend is None:
            return "ok"
        return "optional" if self.optional else "lacking"


def _pip(what: str) -> str:
    return f"{sys.executable} -m pip install {what}"


def python() -> Iterator[Finding]:
    """Check the version of Python."""
    found = ".".join(map(str, sys.version_info[:3]))
    needed = ".".join(map(str, PYTHON_NEEDED))
    is_old = sys.version_info[:2] < PYTHON_NEEDED
    yield Finding("Python", found, f"install Python {needed} or newer" if is_old else None)


def packages(requirements: Path | None = None) -> Iterator[Finding]:
    """Check that what the program needs is installed, in versions that it is tested with."""
    from packaging.requirements import Requirement

    if requirements is None:
        lines = importlib.metadata.requires("v2s_jax") or []
    else:
        lines = [line.partition("#")[0].strip() for line in requirements.read_text().splitlines()]
    wanted = [Requirement(line) for line in lines if line]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong, mends = [], []
    for one in wanted:
        try:
            version = importlib.metadata.version(one.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{one.name} is missing")
        else:
            if one.specifier.contains(version, prereleases=True):
                continue
            wrong.append(f"{one.name} {version} is not {one.specifier}")
        mends.append(shlex.quote(f"{one.name}{one.specifier}"))
    if wrong:
        mend = _pip(" ".join(mends) if requirements is None else f"-r {requirements}")
        yield Finding("packages", "; ".join(wrong), mend)
    else:
        yield Finding("packages", f"all {len(wanted)}, in tested versions")


def devices() -> Iterator[Finding]:
    """Check what JAX runs on, and that it sees the accelerators that are there."""
    import jax

    try:
        found = jax.devices()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        yield Finding("devices", reason, "unset JAX_PLATFORMS, or install jax for this machine")
        return
    platform = found[0].platform
    yield Finding("devices", f"{len(found)} x {found[0].device_kind} ({platform})")
    if platform == "cpu":
        if shutil.which("nvidia-smi"):
            mend = _pip("'jax[cuda12]'")
            yield Finding("GPU", "there is one that JAX does not see", mend, optional=True)
        if any(map(os.path.exists, TPU_NODES)):
            mend = _pip("'jax[tpu]'")
            yield Finding("TPU", "there is one that JAX does not see", mend, optional=True)


def ffmpeg() -> Iterator[Finding]:
    """Write a clip and read it back."""
    import numpy as np

    from v2s_jax import media
    from v2s_jax.config import Clock

    clock = Clock()
    frames = np.zeros((16, 32, 32, 3), np.uint8)
    waveform = np.zeros(clock.sample_rate_hz, np.float32)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            media.write_clip(path, frames, Fraction(16), waveform, clock.sample_rate_hz)
            read = len(list(media.read_video_frames(media.probe(path), clock, 32, 32)))
    except (InputError, OSError, RuntimeError) as error:
        mend = "unset IMAGEIO_FFMPEG_EXE, and install imageio-ffmpeg again"
        yield Finding("ffmpeg", str(error).splitlines()[0], mend)
    else:
        yield Finding("ffmpeg", f"writes H.264 and FLAC, and reads back {read} video frames")


def weights() -> Iterator[Finding]:
    """Read the checkpoints that ship; look for the weights of VGG19."""
    from v2s_jax.checkpoints import load_params_file
    from v2s_jax.features.weights import KERAS_URL, original_path

    for path in PRETRAINED.values():
        try:
            config, _ = load_params_file(path)
        except InputError as error:
            wrong = "damaged" if path.exists() else "missing"
            yield Finding("checkpoint", str(error), f"install again: {path} is {wrong}")
        else:
            yield Finding("checkpoint", f"{path.name}: {config.model.variant}, {config.extractor}")
    original = original_path()
    mend = f"downloaded at the first use; offline: put {KERAS_URL} as {original}"
    is_there = original.exists()
    found = str(original) if is_there else "not here (wanted by --extractor vgg19 alone)"
    yield Finding("VGG19", found, None if is_there else mend, optional=True)


def cpu_engine() -> Iterator[Finding]:
    """Look for the C++ engine."""
    from v2s_jax.kernels.build import COMMAND, COMPILERS, library_path

    if library_path().exists():
        yield Finding("cpu engine", str(library_path()))
        return
    has_compiler = any(map(shutil.which, COMPILERS))
    mend = COMMAND if has_compiler else f"install g++, then {COMMAND}"
    yield Finding("cpu engine", "not built (wanted by --engine cpu alone)", mend, optional=True)


def disk() -> Iterator[Finding]:
    """Check that there is room, here and where things are kept, and that it can be written."""
    from v2s_jax.io import cache_dir, check_writable

    for what, folder in (
        ("this folder", Path.cwd()),
        ("cache", cache_dir()),
        ("temporary files", Path(tempfile.gettempdir())),
    ):
        try:
            check_writable(folder)
            free_gb = shutil.disk_usage(folder).free / BYTES_PER_GB
        except (InputError, OSError) as error:
            yield Finding(what, str(error), "make it writable, or work elsewhere")
            continue
        mend = f"free {DISK_NEEDED_GB:g} GB" if free_gb < DISK_NEEDED_GB else None
        yield Finding(what, f"{folder}: {free_gb:,.1f} GB free", mend)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    python,
    packages,
    devices,
    ffmpeg,
    weights,
    cpu_engine,
    disk,
)


def examine() -> Iterator[Finding]:
    """Make every check; one that cannot run for want of a package says so."""
    for check in CHECKS:
        try:
            yield from check()
        except ImportError as error:
            again = "install v2s_jax again, with what it depends on"
            mend = again
            yield Finding(check.__name__.replace("_", " "), f"cannot be checked: {error}", mend)


def main() -> None:
    """Print what is found, and the mends; exit with 1 if something is lacking."""
    lacking = 0
    for finding in examine():
        print(f"{finding.state:9} {finding.what}: {finding.found}", flush=True)
        if finding.mend:
            print(f"{'':9} mend: {finding.mend}")
        lacking += finding.state == "lacking"
    print(f"{lacking} lacking" if lacking else "ready")
    sys.exit(LACKING_CODE if lacking else 0)


if __name__ == "__main__":
    main()
