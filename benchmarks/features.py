"""`python -m benchmarks features`: how fast VGG19 turns video frames into fc6, and optical flow.

Frames start in host memory and vectors end there, as when a dataset is prepared. Weights are
random; they cost the same as others. Optical flow runs on the CPU.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import jax
import numpy as np

from benchmarks.ceilings import peak_flop_per_sec
from benchmarks.common import (
    BenchmarkArgs,
    Row,
    check_at_least_one,
    measure_cases,
    print_table,
    report_file,
    write_report,
)
from benchmarks.machine import describe_machine, device_peak_mb, host_peak_mb
from v2s_jax.config import FlowMethod, VggPrecision
from v2s_jax.features.optical_flow import open_flow
from v2s_jax.features.vgg import (
    INPUT_PX,
    RGB,
    VGG19,
    Architecture,
    Fc6Network,
    device_mesh,
    on_devices,
)

SEED = 0  # of weights and frames; the speed does not depend on it
SCALE = 0.01  # of the weights: small enough that no value overflows
PEAK_PRECISION = {"float32": "highest", "bfloat16": "bfloat16"}
"""Precision of the square product that the network is compared with."""
FLOW_SHIFT_PX = 3
FLOW_BLOCK_PX = 8  # of the texture that moves

NOTES = """\
batch: frames at once, over all devices.
frames per sec: from host memory to vectors in host memory, without compilation; median.
peak tflops: of the fastest square product in the same precision, measured just before."""


@dataclass(frozen=True, kw_only=True)
class FeaturesArgs(BenchmarkArgs):
    """Measure VGG19 up to fc6 on this device, and optical flow on this CPU."""

    batch: tuple[int, ...] = ()
    """Frames on each device; by default as in extraction. More values make more rows."""
    precision: VggPrecision = "float32"
    """Of VGG19's products."""

    def run(self) -> None:
        """Measure every batch and flow method, and print and write the figures."""
        check_at_least_one(repeats=self.repeats, batch=self.batch)
        machine = describe_machine()
        with report_file(self.json) as file:
            measure = partial(measure_features, precision=self.precision, repeats=self.repeats)
            rows = []
            for row in measure_cases(measure, self.batch or (None,), self.device):
                rows.append(row)
                write_report(file, "features", machine, row["device_kind"], rows=rows, flow_rows=[])
            flow = [measure_flow(method, self.repeats) for method in get_args(FlowMethod)]
            print(f"VGG19 up to fc6, {self.precision}, {self.repeats} runs\n")
            print_table(rows)
            print(f"\noptical flow, {INPUT_PX} px, {self.repeats} pairs\n")
            print_table(flow)
            print(f"\n{NOTES}\n{machine}")
            device = rows[0]["device_kind"]
            write_report(file, "features", machine, device, rows=rows, flow_rows=flow)


def measure_features(
    batch: int | None, precision: VggPrecision, repeats: int, net: Architecture = VGG19
) -> Row:
    """Measure a batch on each device, in this process, which should be a new one."""
    jax.config.update("jax_enable_compilation_cache", False)
    peak = peak_flop_per_sec(PEAK_PRECISION[precision])
    random = np.random.default_rng(SEED)
    arrays: dict[str, np.ndarray] = {}
    for layer, shape in net.shapes(RGB).items():
        kernel = random.standard_normal(shape, np.float32)
        arrays[f"{layer}.kernel"] = np.float32(SCALE) * kernel
        arrays[f"{layer}.bias"] = np.zeros(shape[-1], np.float32)
    mesh = device_mesh()
    params = on_devices(arrays, precision, mesh)
    network = Fc6Network(net, "caffe", params, "after_relu", precision, mesh, batch)
    shape = (network.batch, net.input_px, net.input_px, RGB)
    frames = random.integers(0, 256, shape, np.uint8)
    first, *secs = _seconds(lambda: np.asarray(network(frames)), 1 + repeats)
    median = statistics.median(secs)
    device = mesh.devices.flat[0]
    frames_per_sec = network.batch / median
    flop_per_sec = frames_per_sec * net.flops(RGB)
    return {
        "device_kind": device.device_kind,
        "devices": mesh.size,
        "batch": network.batch,
        "compile_sec": max(0.0, first - median),
        "run_secs": secs,
        "frames_per_sec": frames_per_sec,
        "gflop_per_frame": net.flops(RGB) / 1e9,
        "product_tflops": flop_per_sec / 1e12,
        "peak_tflops": peak * mesh.size / 1e12,
        "share_of_peak": flop_per_sec / (peak * mesh.size),
        "host_peak_mb": host_peak_mb(),
        "device_peak_mb": device_peak_mb(device),
    }


def _seconds(run: Callable[[], Any], repeats: int) -> list[float]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds


def measure_flow(method: FlowMethod, repeats: int) -> Row:
    """Measure one method on a texture that moves."""
    flow = open_flow(method)
    side = INPUT_PX // FLOW_BLOCK_PX + 1
    coarse = np.random.default_rng(SEED).integers(0, 256, (side, side), np.uint8)
    scene = np.kron(coarse, np.ones((FLOW_BLOCK_PX, FLOW_BLOCK_PX), np.uint8))
    before = np.ascontiguousarray(scene[:INPUT_PX, :INPUT_PX])
    after = np.ascontiguousarray(scene[:INPUT_PX, FLOW_SHIFT_PX : INPUT_PX + FLOW_SHIFT_PX])
    _, *secs = _seconds(lambda: flow(before, after), 1 + repeats)
    return {"method": method, "run_secs": secs, "pairs_per_sec": 1 / statistics.median(secs)}
