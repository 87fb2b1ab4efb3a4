"""How fast VGG19 turns pictures into fc6, and what share of the device's products that is.

Pictures go in from host memory and vectors come back to it, as when a data set is prepared.
Weights are random; they cost the same as others.
"""

import statistics
import time
from dataclasses import dataclass

import jax
import numpy as np

from benchmarks.arithmetic import peak_flop_per_sec
from benchmarks.machine import device_peak_mb, host_peak_mb
from v2s_jax.config import VggPrecision
from v2s_jax.errors import InputError
from v2s_jax.features.fc6 import Fc6Network, device_mesh, on_devices
from v2s_jax.features.vgg import RGB, VGG19, Architecture

SEED = 0  # of weights and pictures; the time taken does not depend on it
SCALE = 0.01  # of the weights: small enough that no value overflows
PEAK_PRECISION = {"float32": "highest", "bfloat16": "bfloat16"}
"""What square product the network is held against."""


@dataclass(frozen=True)
class FeaturesCase:
    """What is measured."""

    repeats: int
    """Timed batches."""
    precision: VggPrecision
    batch: int | None = None
    """Pictures on each device; as many as in extraction unless given."""
    network: Architecture = VGG19

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise InputError(f"--repeats {self.repeats}: must be at least 1")
        if self.batch is not None and self.batch < 1:
            raise InputError(f"--batch {self.batch}: must be at least 1")


@dataclass(frozen=True)
class FeaturesRow:
    """What was measured."""

    network: str
    precision: VggPrecision
    device_kind: str
    devices: int
    batch: int
    """Pictures at once, over all devices."""
    compile_sec: float
    run_secs: list[float]
    """Each batch."""
    frames_per_sec: float
    """Of the median."""
    flop_per_frame: int
    peak_flop_per_sec: float
    """Of the fastest square product, measured just before, times the devices."""
    share_of_peak: float
    host_peak_mb: float
    device_peak_mb: float | None


def measure_features(case: FeaturesCase) -> FeaturesRow:
    """Measure one case in this process, which should be a fresh one."""
    jax.config.update("jax_enable_compilation_cache", False)
    peak = peak_flop_per_sec(PEAK_PRECISION[case.precision])
    net, random = case.network, np.random.default_rng(SEED)
    arrays: dict[str, np.ndarray] = {}
    for layer, shape in net.shapes(RGB).items():
        kernel = random.standard_normal(shape, np.float32)
        arrays[f"{layer}.kernel"] = np.float32(SCALE) * kernel
        arrays[f"{layer}.bias"] = np.zeros(shape[-1], np.float32)
    mesh = device_mesh(sum(array.nbytes for array in arrays.values()))
    params = on_devices(arrays, case.precision, mesh)
    network = Fc6Network(net, "caffe", params, "after_relu", case.precision, mesh, case.batch)
    shape = (network.batch, net.picture_px, net.picture_px, RGB)
    pictures = random.integers(0, 256, shape, np.uint8)

    def seconds() -> float:
        start = time.perf_counter()
        np.asarray(network(pictures))
        return time.perf_counter() - start

    first = seconds()
    secs = [seconds() for _ in range(case.repeats)]
    median = statistics.median(secs)
    frames_per_sec, flop = network.batch / median, net.flops(RGB)
    return FeaturesRow(
        network=net.name,
        precision=case.precision,
        device_kind=mesh.devices.flat[0].device_kind,
        devices=mesh.size,
        batch=network.batch,
        compile_sec=max(0.0, first - median),
        run_secs=secs,
        frames_per_sec=frames_per_sec,
        flop_per_frame=flop,
        peak_flop_per_sec=peak * mesh.size,
        share_of_peak=frames_per_sec * flop / (peak * mesh.size),
        host_peak_mb=host_peak_mb(),
        device_peak_mb=device_peak_mb(mesh.devices.flat[0]),
    )
