"""What the temporal ConvNet sees: for each video frame, the flow of ten steps around it.

With f_j the flow from picture j-1 to picture j, video frame i gets

    f_{i-4}, f_{i-3}, ..., f_{i+5}        each u, then v: 20 channels

which reads the eleven pictures i-5 to i+5, video frame i in their middle. Before the first picture
and after the last one, nothing moves. Ten steps are the two-stream work's, whose stack begins at
the frame. Example of a clip of 3 pictures, with steps named by where they lead and "." for none:
frame 0 sees . . . . . 1 2 . . ., frame 1 sees . . . . 1 2 . . . ., and frame 2 sees
. . . 1 2 . . . . .
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise, repeat

import numpy as np
from jaxtyping import UInt8

from v2s_jax.features.optical_flow import STILL_BYTE, Flow, flow_bytes, luminance

STEPS = 10
"""Flows in a stack (Simonyan and Zisserman 2014, table 1: L = 10)."""
STEPS_AHEAD = STEPS // 2
"""Of them those that lead away from the video frame."""
CHANNELS = 2 * STEPS


def flow_stacks(
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]], flow: Flow
) -> Iterator[UInt8[np.ndarray, "height width channels"]]:
    """Yield the stack of each picture, as bytes; it reads `STEPS_AHEAD` pictures ahead."""
    window: deque[np.ndarray] = deque(maxlen=STEPS)
    for step in _steps(pictures, flow):
        window.append(step)
        if len(window) == STEPS:
            yield np.concatenate(window, axis=-1)


def _steps(
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]], flow: Flow
) -> Iterator[UInt8[np.ndarray, "height width 2"]]:
    """Yield every flow that a stack holds, with the still ones before and after the clip."""
    grays = (luminance(picture) for picture in pictures)
    first = next(grays, None)
    if first is None:
        return
    still = np.full((*first.shape, 2), STILL_BYTE, np.uint8)
    yield from repeat(still, STEPS - STEPS_AHEAD)  # f_{-4} to f_0
    for before, after in pairwise(chain([first], grays)):
        yield flow_bytes(flow(before, after))
    yield from repeat(still, STEPS_AHEAD)
