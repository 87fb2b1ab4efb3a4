"""Random numbers that do not depend on NumPy's distributions.

NumPy keeps the raw bits of Philox stable, but not the streams of its distributions, so the step
from bits to numbers is here. A stream has a name; its key is the SHA-256 of the name. So a category
that draws one more number for its colours does not change its sound. Uniform numbers are the same
on every machine; Gaussian numbers and waiting times use logarithm and cosine, whose last bits
depend on the machine.
"""

import hashlib
import json
import math

import numpy as np
from jaxtyping import Float64

_KEY_BYTES = 16  # Philox-4x64 takes a key of 128 bits
_MANTISSA_BITS = 53  # of a float64: the most that keeps every step of [0, 1) equally likely

OUTER_MARGIN = 0.2
"""Width of the extrapolation region beyond each end of a range, in widths of the range."""


class Rng:
    """One named stream of random numbers."""

    def __init__(self, *name: str | int, extrapolate: bool = False) -> None:
        """Open a stream; with `extrapolate`, `leading` draws from outside its range."""
        self._name = name
        self._beyond = extrapolate
        digest = hashlib.sha256(json.dumps(name).encode()).digest()
        self._bits = np.random.Philox(key=int.from_bytes(digest[:_KEY_BYTES], "little"))

    def stream(self, purpose: str) -> "Rng":
        """Return the substream of that name, from its start."""
        return Rng(*self._name, purpose, extrapolate=self._beyond)

    def uniforms(self, count: int) -> Float64[np.ndarray, " count"]:
        """Draw numbers in [0, 1)."""
        bits = self._bits.random_raw(count) >> np.uint64(64 - _MANTISSA_BITS)
        return bits.astype(np.float64) * 2.0**-_MANTISSA_BITS

    def normals(self, count: int) -> Float64[np.ndarray, " count"]:
        """Draw Gaussian numbers of mean 0 and variance 1 (Box-Muller)."""
        pairs = -(-count // 2)
        radius = np.sqrt(-2.0 * np.log1p(-self.uniforms(pairs)))  # 1 - u is never 0
        angle = 2.0 * np.pi * self.uniforms(pairs)
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]

    def between(self, low: float, high: float) -> float:
        """Draw one number, uniform over [low, high)."""
        return low + (high - low) * float(self.uniforms(1)[0])

    def leading(self, low: float, high: float) -> float:
        """Draw a category's leading size from [low, high), or from just outside.

        Outside are [low - margin, low) and [high, high + margin), equally likely.
        """
        part = float(self.uniforms(1)[0])
        if self._beyond:
            aside = (2.0 * part - 1.0) * OUTER_MARGIN
            part = aside if aside < 0.0 else 1.0 + aside
        return low + (high - low) * part

    def waiting_time(self, shortest: float, mean_excess: float, longest: float) -> float:
        """Draw one gap: `shortest` plus an exponential excess, cut at `longest`.

        Beyond the shortest gap the excess is memoryless up to the cut, so the time since the last
        event says almost nothing about the next one.
        """
        covered = -math.expm1(-(longest - shortest) / mean_excess)
        return shortest - mean_excess * math.log1p(-covered * self.between(0.0, 1.0))
