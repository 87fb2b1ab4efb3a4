"""Dense optical flow, its 8-bit form, and the stacks of it that the temporal ConvNet reads.

Flow (u, v) is in px, u to the right and v down: what is at (x, y) in the first frame is at
(x + u, y + v) in the second.

With f_j the flow from video frame j-1 to j, the stack of video frame i is

    f_{i-4}, f_{i-3}, ..., f_{i+5}        each u, then v: 20 channels

It depends on the eleven video frames i-5 to i+5, with i in the middle; the two-stream paper's stack
starts at i. Flow is zero before the first video frame and after the last. Example of a clip of 3
video frames, each flow named by its j, "." for zero:

    frame 0    . . . . . 1 2 . . .
    frame 1    . . . . 1 2 . . . .
    frame 2    . . . 1 2 . . . . .
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise, repeat, starmap

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from v2s_jax.config import FlowMethod
from v2s_jax.errors import InputError

DIS_PRESET = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM  # "fast" is off by 0.1 px on a shift of 3 px
BOUND_PX = 20.0
"""Flow is clipped to this before it is mapped to a byte (Wang et al. 2015; TSN)."""
STILL_BYTE = 128
"""The byte of no motion: 127.5, rounded to even as in the programs of the two-stream papers."""
STACK_FLOWS = 10
"""Flows in a stack (Simonyan and Zisserman 2014, table 1: L = 10)."""
LOOKAHEAD = STACK_FLOWS // 2
"""Flows of a stack that lead away from its video frame."""
STACK_CHANNELS = 2 * STACK_FLOWS

CONTRIB = "optflow"  # OpenCV's module with TV-L1; stubs and builds may lack it
FlowFn = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Returns the flow [height width 2] from one gray frame to the next."""


def open_flow(method: FlowMethod) -> FlowFn:
    """Return the function that computes flow; it has buffers, so use it in one thread.

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
    """Raise InputError when this OpenCV lacks the method."""
    if method == "tvl1" and not hasattr(cv2, CONTRIB):
        raise InputError(
            "--flow tvl1: this OpenCV lacks it: pip uninstall opencv-python-headless, then "
            "pip install opencv-contrib-python-headless; or use dis or farneback"
        )


def luminance(
    frame: UInt8[np.ndarray, "height width 3"],
) -> UInt8[np.ndarray, "height width"]:
    """Return 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, OpenCV's gray), rounded."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def flow_bytes(
    flow: Float32[np.ndarray, "height width 2"],
) -> UInt8[np.ndarray, "height width 2"]:
    """Clip flow to +/-20 px and map that range to 0 to 255, rounded: -20 -> 0, 0 -> 128, 20 -> 255.

    The programs of the two-stream papers do the same.
    """
    clipped = np.clip(flow, -BOUND_PX, BOUND_PX)
    return np.rint((clipped + BOUND_PX) * (255 / (2 * BOUND_PX))).astype(np.uint8)


def flow_stacks(
    frames: Iterable[UInt8[np.ndarray, "height width 3"]], flow: FlowFn
) -> Iterator[UInt8[np.ndarray, "height width channels"]]:
    """Yield the stack of each video frame, as bytes; it reads `LOOKAHEAD` video frames ahead."""
    grays = (luminance(frame) for frame in frames)
    first = next(grays, None)
    if first is None:
        return
    still = np.full((*first.shape, 2), STILL_BYTE, np.uint8)
    flows = starmap(flow, pairwise(chain([first], grays)))
    before = repeat(still, STACK_FLOWS - LOOKAHEAD)  # f_{-4} to f_0
    window: deque[np.ndarray] = deque(maxlen=STACK_FLOWS)
    for step in chain(before, map(flow_bytes, flows), repeat(still, LOOKAHEAD)):
        window.append(step)
        if len(window) == STACK_FLOWS:
            yield np.concatenate(window, axis=-1)
