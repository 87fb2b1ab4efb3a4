"""`v2s doctor`: check this machine and say how to fix what is missing.

Imports only the standard library at the top, so that it runs where packages are missing.
"""

import importlib.metadata
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from v2s_jax.errors import InputError
from v2s_jax.pretrained import PRETRAINED

MIN_PYTHON = (3, 11)
MIN_DISK_GB = 2.0
"""A small dataset, a run and its audio take about 1 GB (measured)."""
BYTES_PER_GB = 10**9
TPU_NODES = ("/dev/accel0", "/dev/vfio/0")
MISSING_CODE = 1
EXTRAS = {
    "data": "v2s prepare",
    "vgg": "--extractor vgg19",
    "eval": "v2s evaluate, v2s study, v2s annotate",
    "demo": "v2s demo",
    "gcp": "gs:// data and runs, Dataflow",
    "s3": "s3:// data and runs",
}
"""Extras of pyproject.toml that commands need, and which commands."""

State = Literal["ok", "missing", "optional"]


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    result: str
    fix: str | None = None
    """What to do; None where nothing is wrong."""
    is_optional: bool = False
    """Only some commands or options need it."""

    @property
    def state(self) -> State:
        """Whether it is there."""
        if self.fix is None:
            return "ok"
        return "optional" if self.is_optional else "missing"


def _pip(arguments: str) -> str:
    return f"{sys.executable} -m pip install {arguments}"


def python() -> Iterator[Finding]:
    """Check the version of Python."""
    version = ".".join(map(str, sys.version_info[:3]))
    required = ".".join(map(str, MIN_PYTHON))
    is_old = sys.version_info[:2] < MIN_PYTHON
    yield Finding("Python", version, f"install Python {required} or newer" if is_old else None)


def packages() -> Iterator[Finding]:
    """Check that the packages of the core are installed, in supported versions."""
    required = _requirements("")
    problems = _problems(required)
    if problems:
        fix = _pip(" ".join(shlex.quote(requirement) for requirement in problems))
        yield Finding("packages", "; ".join(problems.values()), fix)
    else:
        yield Finding("packages", f"all {len(required)} of the core")


def extras() -> Iterator[Finding]:
    """Check which optional packages are installed, and name the commands that need them."""
    core = set(_requirements(""))
    for extra, commands in EXTRAS.items():
        problems = _problems([one for one in _requirements(extra) if one not in core])
        name = f"extra {extra}"
        if problems:
            result = f"{'; '.join(problems.values())} (for {commands})"
            yield Finding(name, result, _pip(f"'v2s_jax[{extra}]'"), is_optional=True)
        else:
            yield Finding(name, f"installed (for {commands})")


def _requirements(extra: str) -> list[str]:
    """Return the requirements of the installed v2s_jax that apply here, with those of `extra`."""
    from packaging.requirements import Requirement

    lines = importlib.metadata.requires("v2s_jax") or []
    requirements = map(Requirement, lines)
    return [
        f"{one.name}{one.specifier}"
        for one in requirements
        if one.marker is None or one.marker.evaluate({"extra": extra})
    ]


def _problems(requirements: Sequence[str]) -> dict[str, str]:
    """Return what is wrong with the requirements that are not met."""
    from packaging.requirements import Requirement

    problems = {}
    for line in requirements:
        requirement = Requirement(line)
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            problems[line] = f"{requirement.name} is missing"
        else:
            if not requirement.specifier.contains(version, prereleases=True):
                problems[line] = f"{requirement.name} {version} is not {requirement.specifier}"
    return problems


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def devices() -> Iterator[Finding]:
    """Check the devices of JAX, and that it sees the accelerators of this machine."""
    import jax

    try:
        available = jax.devices()
    except Exception as error:  # whatever a plugin raises
        wanted = jax.config.values["jax_platforms"] or "any"
        fix = "unset JAX_PLATFORMS, or install jax for this machine"
        yield Finding("devices", f"JAX finds none for {wanted}: {_first_line(error)}", fix)
        return
    platform = available[0].platform
    yield Finding("devices", f"{len(available)} x {available[0].device_kind} ({platform})")
    if platform == "cpu":
        if shutil.which("nvidia-smi"):
            fix = _pip("'jax[cuda12]'")
            yield Finding("GPU", "present, but JAX does not see it", fix, is_optional=True)
        if any(map(os.path.exists, TPU_NODES)):
            fix = _pip("'jax[tpu]'")
            yield Finding("TPU", "present, but JAX does not see it", fix, is_optional=True)


def ffmpeg() -> Iterator[Finding]:
    """Write a clip and read it back."""
    import numpy as np

    from v2s_jax import media
    from v2s_jax.config import Clock

    clock = Clock()
    video_frames = np.zeros((16, 32, 32, 3), np.uint8)
    waveform = np.zeros(clock.sample_rate_hz, np.float32)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            media.write_clip(path, video_frames, Fraction(16), waveform, clock.sample_rate_hz)
            count = len(list(media.read_video_frames(media.probe(path), clock, 32, 32)))
    except (InputError, OSError, RuntimeError) as error:
        fix = "unset IMAGEIO_FFMPEG_EXE, and reinstall imageio-ffmpeg"
        yield Finding("ffmpeg", _first_line(error), fix)
    else:
        yield Finding("ffmpeg", f"writes H.264 and FLAC, reads {count} video frames")


def weights() -> Iterator[Finding]:
    """Read the pretrained checkpoints; look for the weights of VGG19."""
    from v2s_jax.checkpoints import load_params_file
    from v2s_jax.features.weights import KERAS_URL, original_path

    for path in PRETRAINED.values():
        try:
            config, _ = load_params_file(path)
        except InputError as error:
            problem = "corrupt" if path.exists() else "missing"
            yield Finding("checkpoint", str(error), f"reinstall v2s_jax: {path} is {problem}")
        else:
            yield Finding("checkpoint", f"{path.name}: {config.model.variant}, {config.extractor}")
    original = original_path()
    fix = f"downloaded on first use; offline: save {KERAS_URL} as {original}"
    if original.exists():
        yield Finding("VGG19", str(original))
    else:
        yield Finding("VGG19", "not downloaded (for --extractor vgg19)", fix, is_optional=True)


def cpu_engine() -> Iterator[Finding]:
    """Look for the C++ engine, or what prevents its build."""
    from v2s_jax.kernels.build import COMMAND, library_path, why_not_built

    if library_path().exists():
        yield Finding("cpu engine", str(library_path()))
        return
    problem = why_not_built()
    result = f"not built: {problem}" if problem else "not built yet; the first use builds it"
    yield Finding("cpu engine", f"{result} (for faster sampling)", COMMAND, is_optional=True)


def disk() -> Iterator[Finding]:
    """Check that this folder, the cache and the temporary folder are writable and have space."""
    from v2s_jax.io import cache_dir, check_writable

    for name, folder in (
        ("this folder", Path.cwd()),
        ("cache", cache_dir()),
        ("temporary files", Path(tempfile.gettempdir())),
    ):
        try:
            check_writable(folder)
            free_gb = shutil.disk_usage(folder).free / BYTES_PER_GB
        except (InputError, OSError) as error:
            yield Finding(name, str(error), "make it writable, or use another folder")
            continue
        fix = f"free {MIN_DISK_GB:g} GB" if free_gb < MIN_DISK_GB else None
        yield Finding(name, f"{folder}: {free_gb:,.1f} GB free", fix)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    python,
    packages,
    extras,
    devices,
    ffmpeg,
    weights,
    cpu_engine,
    disk,
)


def examine() -> Iterator[Finding]:
    """Run every check; one that fails is a finding itself."""
    for check in CHECKS:
        try:
            yield from check()
        except ImportError as error:
            name = check.__name__.replace("_", " ")
            yield Finding(name, f"cannot be checked: {error}", _pip("v2s_jax"))
        except Exception as error:  # a diagnosis must not end with a traceback
            name = check.__name__.replace("_", " ")
            problem = f"{type(error).__name__}: {_first_line(error)}"
            yield Finding(name, f"check failed: {problem}", "report it as a bug")


def main() -> None:
    """Print all findings and fixes; exit with 1 if something required is missing."""
    missing = 0
    for finding in examine():
        print(f"{finding.state:9} {finding.name}: {finding.result}", flush=True)
        if finding.fix:
            print(f"{'':9} fix: {finding.fix}")
        missing += finding.state == "missing"
    print(f"{missing} missing" if missing else "ready")
    sys.exit(MISSING_CODE if missing else 0)


if __name__ == "__main__":
    main()
