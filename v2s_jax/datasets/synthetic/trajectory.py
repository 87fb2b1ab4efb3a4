"""Trajectories: a quantity that moves smoothly from one level to the next.

    level --turn (smoothstep of given length)--> level --hold--> ...

Value and integral have closed forms, so a phase driven by a trajectory (rotor angle, engine phase,
carriage position) is exact at any time, also between samples.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.datasets.synthetic.randomness import Rng

PAST_SEC = 1.0  # trajectories start this long before the clip, so a clip may start anywhere in one


class Trajectory(NamedTuple):
    """From `turn_sec[k]` on, `level[k]` turns into `level[k + 1]`, within `length_sec[k]`."""

    turn_sec: Float64[np.ndarray, " turns"]
    length_sec: Float64[np.ndarray, " turns"]
    level: Float64[np.ndarray, " levels"]

    def value(self, time_sec: Float64[np.ndarray, "*times"]) -> Float64[np.ndarray, "*times"]:
        """Return the quantity at the given times."""
        total = np.full_like(time_sec, self.level[0])
        for start, length, change in self._turns():
            total += change * smoothstep((time_sec - start) / length)
        return total

    def integral(self, time_sec: Float64[np.ndarray, "*times"]) -> Float64[np.ndarray, "*times"]:
        """Return the quantity's integral from time 0 on, in its unit times seconds."""
        return self._primitive(time_sec) - self._primitive(np.zeros(1))[0]

    def _primitive(self, time_sec: np.ndarray) -> np.ndarray:
        total = self.level[0] * time_sec
        for start, length, change in self._turns():
            since = time_sec - start
            part = np.clip(since / length, 0.0, 1.0)
            # The integral of 3 s^2 - 2 s^3 is s^3 - s^4 / 2; once turned, the change stays.
            turning = length * part**3 * (1.0 - 0.5 * part)
            total = total + change * (turning + np.maximum(since - length, 0.0))
        return total

    def _turns(self) -> zip:
        return zip(self.turn_sec, self.length_sec, np.diff(self.level), strict=True)


def smoothstep(part: Float64[np.ndarray, "*times"]) -> Float64[np.ndarray, "*times"]:
    """Return 0 before 0, 1 after 1 and 3 s^2 - 2 s^3 between."""
    part = np.clip(part, 0.0, 1.0)
    return part * part * (3.0 - 2.0 * part)


def bump(
    since_sec: Float64[np.ndarray, "*times"],
    rise_sec: float,
    fall_sec: float,
    hold_sec: Float64[np.ndarray, "*#times"] | float = 0.0,
) -> Float64[np.ndarray, "*times"]:
    """Return a smooth rise from 0 to 1 that starts at 0, a hold, and a smooth fall."""
    down = smoothstep((since_sec - rise_sec - hold_sec) / fall_sec)
    return smoothstep(since_sec / rise_sec) - down


def sample_trajectory(
    rng: Rng,
    end_sec: float,
    level: Callable[[Rng], float],
    turn_sec: float,
    hold_sec: tuple[float, float, float],
) -> Trajectory:
    """Draw levels until `end_sec`; `hold_sec` is the shortest gap, its mean excess, the longest."""
    turns: list[float] = []
    levels = [level(rng)]
    time_sec = -PAST_SEC
    while time_sec < end_sec:
        time_sec += rng.waiting_time(*hold_sec)
        turns.append(time_sec)
        levels.append(level(rng))
    return Trajectory(np.array(turns), np.full(len(turns), turn_sec), np.array(levels))
