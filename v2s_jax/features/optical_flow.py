"""Dense optical flow between two pictures, and its 8-bit form of the two-stream literature.

Flow (u, v) is in px of the pictures, u to the right and v down: what is at (x, y) in the first is
at (x + u, y + v) in the second.
"""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from v2s_jax.config import FlowMethod
from v2s_jax.errors import InputError

DIS_PRESET = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM  # "fast" is off by 0.1 px on a shift of 3 px
BOUND_PX = 20.0
"""Flow is clipped there before it is mapped to a byte (Wang et al. 2015; TSN)."""
STILL_BYTE = 128
"""The byte of no motion: 127.5, rounded to even as the literature's programs do."""

CONTRIB = "optflow"  # the part of OpenCV that TV-L1 is in; stubs and builds may lack it
Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""The flow [height width 2] from one gray picture to the next."""


def open_flow(method: FlowMethod) -> Flow:
    """Return what computes flow; it keeps buffers, so it is for one thread.

    Raises InputError when OpenCV lacks the method.
    """
    match method:
        case "dis":
            calculate = cv2.DISOpticalFlow.create(DIS_PRESET).calc
        case "farneback":
            calculate = cv2.FarnebackOpticalFlow.create(
                # The values of OpenCV's own example.
                pyrScale=0.5,
                numLevels=3,
                winSize=15,
                numIters=3,
                polyN=5,
                polySigma=1.2,
                flags=0,
            ).calc
        case "tvl1":
            check_flow(method)
            calculate = getattr(cv2, CONTRIB).DualTVL1OpticalFlow_create().calc

    def flow(
        before: UInt8[np.ndarray, "height width"], after: UInt8[np.ndarray, "height width"]
    ) -> Float32[np.ndarray, "height width 2"]:
        return calculate(before, after, np.zeros((*before.shape, 2), np.float32))

    return flow


def check_flow(method: FlowMethod) -> None:
    """Raise InputError when OpenCV lacks the method."""
    if method == "tvl1" and not hasattr(cv2, CONTRIB):
        raise InputError(
            "--flow tvl1: this OpenCV lacks it: pip uninstall opencv-python-headless, then "
            "pip install opencv-contrib-python-headless; or use dis or farneback"
        )


def luminance(
    picture: UInt8[np.ndarray, "height width 3"],
) -> UInt8[np.ndarray, "height width"]:
    """Return 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, as OpenCV defines gray), rounded."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def flow_bytes(
    flow: Float32[np.ndarray, "height width 2"],
) -> UInt8[np.ndarray, "height width 2"]:
    """Clip flow to +/-20 px and map that range to 0 to 255, rounded: -20 -> 0, 0 -> 128, 20 -> 255.

    So do the programs that the two-stream literature computed its flow with.
    """
    within = np.clip(flow, -BOUND_PX, BOUND_PX)
    return np.rint((within + BOUND_PX) * (255 / (2 * BOUND_PX))).astype(np.uint8)
