"""How many pairs of pictures a second each method of optical flow takes, on the CPU."""

import statistics
import time
from dataclasses import dataclass

import numpy as np

from v2s_jax.config import FlowMethod
from v2s_jax.features.optical_flow import open_flow
from v2s_jax.features.vgg import PICTURE_PX

SHIFT_PX = 3
BLOCK_PX = 8  # of the texture that is shifted


@dataclass(frozen=True)
class FlowRow:
    """What was measured."""

    method: FlowMethod
    picture_px: int
    run_secs: list[float]
    """Each pair."""
    pairs_per_sec: float
    """Of the median."""


def measure_flow(method: FlowMethod, repeats: int) -> FlowRow:
    """Measure one method on a texture that moves; raise InputError when OpenCV lacks it."""
    flow = open_flow(method)
    side = PICTURE_PX // BLOCK_PX + 1
    coarse = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    scene = np.kron(coarse, np.ones((BLOCK_PX, BLOCK_PX), np.uint8))
    before = np.ascontiguousarray(scene[:PICTURE_PX, :PICTURE_PX])
    after = np.ascontiguousarray(scene[:PICTURE_PX, SHIFT_PX : PICTURE_PX + SHIFT_PX])
    flow(before, after)
    secs = []
    for _ in range(repeats):
        start = time.perf_counter()
        flow(before, after)
        secs.append(time.perf_counter() - start)
    return FlowRow(method, PICTURE_PX, secs, 1 / statistics.median(secs))
