"""The cpu engine as compiled for older processors, which this one can run as well."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import random_params
from v2s_jax.config import TINY
from v2s_jax.kernels import build as building
from v2s_jax.sampling import Sampler

PROCESSORS = {
    "x86-64": "sse2",
    "haswell": "avx2",
    "alderlake": "avx_vnni",
    "skylake-avx512": "avx512bw",
}
"""Names for the compiler's -march, and instructions that each has and the one before has not."""
TOLERANCES = {"float32": 2e-4, "bfloat16": 5e-2, "int8": 2e-2}
"""Of logits. Sums in another order move an activation now and then to the next rounded value."""
BATCH_SIZES = (1, 5)
"""The MLP without tiles, and with them where there are any."""
VIDEO_FRAMES = 1

pytestmark = pytest.mark.slow


def logits() -> dict[str, np.ndarray]:
    """Return the logits of given levels in each format, [samples batch q_levels]."""
    params, found = random_params(TINY), {}
    samples = VIDEO_FRAMES * TINY.clock.samples_per_video_frame
    for weights in TOLERANCES:
        for batch_size in BATCH_SIZES:
            sampler = Sampler(TINY, params, batch_size=batch_size, engine="cpu", weights=weights)
            state = sampler.init_state(np.zeros((batch_size, 2), np.uint32))
            features = sampler.empty_features()[:, :VIDEO_FRAMES]
            random = np.random.default_rng(0)
            levels = random.integers(0, TINY.model.q_levels, (batch_size, samples))
            _, outputs = sampler.generate_block(state, features, 1.0, forced=levels, keep="logits")
            found[f"{weights} {batch_size}"] = outputs.logits
    return found


def logits_of(folder: Path, flags: str) -> dict[str, np.ndarray]:
    """Return `logits` of a library that is compiled with more flags."""
    compiler, program, out = building.find_compiler(), folder / "compiler", folder / "logits.npz"
    folder.mkdir()
    check = [compiler, "-fsyntax-only", "-x", "c++", *flags.split(), os.devnull]
    if subprocess.run(check, capture_output=True).returncode:
        pytest.skip(f"{compiler} does not know {flags}")
    program.write_text(f'#!/bin/sh\nexec {compiler} "$@" {flags}\n')
    program.chmod(0o755)
    environment = os.environ | {"CXX": str(program), "XDG_CACHE_HOME": str(folder)}
    command = [sys.executable, "-m", __name__, str(out)]
    subprocess.run(command, env=environment, cwd=building.HERE.parents[1], check=True)
    with np.load(out) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> dict[str, np.ndarray]:
    if building.find_compiler() is None or not building.PROC_CPUINFO.exists():
        pytest.skip("no C++ compiler, or not Linux")
    return logits_of(tmp_path_factory.mktemp("here") / "native", "-march=native")


def skip_without(instructions: str) -> None:
    if instructions not in building.PROC_CPUINFO.read_text().split():
        pytest.skip(f"this processor has no {instructions}")


@pytest.fixture(params=PROCESSORS)
def processor(request) -> str:
    skip_without(PROCESSORS[request.param])
    return request.param


def test_older_processors_give_the_same_logits(processor, here, tmp_path):
    older = logits_of(tmp_path / processor, f"-march={processor}")
    for case, expected in here.items():
        np.testing.assert_allclose(older[case], expected, atol=TOLERANCES[case.split()[0]])


def test_tiles_give_the_same_bits(here, tmp_path):
    skip_without("amx_int8")
    without = logits_of(tmp_path / "without", "-march=native -mno-amx-int8")
    for case, expected in here.items():
        np.testing.assert_array_equal(without[case], expected)


if __name__ == "__main__":
    building.build()
    np.savez(sys.argv[1], **logits())
