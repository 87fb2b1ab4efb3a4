"""`python -m benchmarks features`: how fast VGG19 turns video frames into fc6, and optical flow.

Frames start in host memory and vectors end there, as when a dataset is prepared. Weights are
random; they cost the same as others. Optical flow runs on the CPU.
"""

import statistics
import time
from dataclasses import dataclass, replace
from typing import get_args

import jax
import numpy as np
import tyro

from benchmarks.ceilings import peak_flop_per_sec
from benchmarks.common import (
    BenchmarkArgs,
    Column,
    check_at_least_one,
    describe_load,
    format_mb,
    format_share,
    measure_cases,
    output_file,
    print_table,
    write_report,
)
from benchmarks.machine import describe_machine, device_peak_mb, host_peak_mb
from v2s_jax.config import FlowMethod, Precision, VggPrecision
from v2s_jax.errors import InputError
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
VGG_PRECISIONS: dict[Precision, VggPrecision] = {
    "default": "float32",
    "highest": "float32",
    "bfloat16": "bfloat16",
}
"""What --precision means here."""
FLOW_SHIFT_PX = 3
FLOW_BLOCK_PX = 8  # of the texture that moves

COLUMNS = (
    Column("batch", "frames", lambda row: str(row.batch)),
    Column("compile", "s", lambda row: f"{row.compile_sec:.1f}"),
    Column("VGG19", "frames/s", lambda row: f"{row.frames_per_sec:,.2f}"),
    Column(
        "products", "TFLOP/s", lambda row: f"{row.frames_per_sec * row.flop_per_frame / 1e12:.4g}"
    ),
    Column("peak", "TFLOP/s", lambda row: f"{row.peak_flop_per_sec / 1e12:.4g}"),
    Column("share", "of peak", lambda row: format_share(row.share_of_peak)),
    Column("host", "peak MB", lambda row: format_mb(row.host_peak_mb)),
    Column("device", "peak MB", lambda row: format_mb(row.device_peak_mb)),
)
FLOW_COLUMNS = (
    Column("method", "of flow", lambda row: row.method),
    Column("size", "px", lambda row: str(row.input_px)),
    Column("flow", "pairs/s", lambda row: f"{row.pairs_per_sec:,.1f}"),
)
NOTES = """\
VGG19: frames in host memory to vectors in host memory, without compilation; medians.
peak: the fastest square product in the same precision, measured just before."""


@dataclass(frozen=True, kw_only=True)
class FeaturesArgs(BenchmarkArgs):
    """Measure VGG19 up to fc6 on this device, and optical flow on this CPU."""

    batch: tyro.conf.UseAppendAction[tuple[int, ...]] = ()
    """Frames on each device; by default as in extraction. Repeat the option for more rows."""

    def run(self) -> None:
        """Measure every batch and flow method, and print and write the figures."""
        if self.precision not in VGG_PRECISIONS:
            raise InputError(f"--precision {self.precision}: use {', '.join(VGG_PRECISIONS)}")
        precision = VGG_PRECISIONS[self.precision]
        cases = [FeaturesCase(self.repeats, precision, batch) for batch in self.batch or (None,)]
        machine = describe_machine()
        with output_file(self.json) as file:
            rows = list(measure_cases(measure_features, cases, self.device))
            first = rows[0]
            print(
                f"{first.network} up to fc6, {first.flop_per_frame / 1e9:.1f} GFLOP a frame, "
                f"{first.precision}, {len(first.run_secs)} runs, {first.devices} x "
                f"{first.device_kind}\n"
            )
            print_table(COLUMNS, rows)
            flow_rows = [measure_flow(method, self.repeats) for method in get_args(FlowMethod)]
            print(f"\noptical flow, {self.repeats} pairs\n")
            print_table(FLOW_COLUMNS, flow_rows)
            print(f"\n{NOTES}\n{describe_load(machine)}")
            if file is not None:
                args = replace(self, batch=tuple(row.batch // row.devices for row in rows))
                parts = {"rows": rows, "flow_rows": flow_rows}
                write_report(file, "features", args, machine, first.device_kind, **parts)


@dataclass(frozen=True)
class FeaturesCase:
    """One case to measure."""

    repeats: int
    """Timed batches."""
    precision: VggPrecision
    batch: int | None = None
    """Frames on each device; None for as many as in extraction."""
    network: Architecture = VGG19

    def __post_init__(self) -> None:
        check_at_least_one(repeats=self.repeats, batch=self.batch)


@dataclass(frozen=True)
class FeaturesRow:
    """Figures of one case."""

    network: str
    precision: VggPrecision
    device_kind: str
    devices: int
    batch: int
    """Frames at once, over all devices."""
    compile_sec: float
    run_secs: list[float]
    """Each batch."""
    frames_per_sec: float
    """Of the median."""
    flop_per_frame: int
    peak_flop_per_sec: float
    """The fastest square product, measured just before, times the devices."""
    share_of_peak: float
    host_peak_mb: float
    device_peak_mb: float | None


def measure_features(case: FeaturesCase) -> FeaturesRow:
    """Measure one case in this process, which should be a new one."""
    jax.config.update("jax_enable_compilation_cache", False)
    peak = peak_flop_per_sec(PEAK_PRECISION[case.precision])
    net, random = case.network, np.random.default_rng(SEED)
    arrays: dict[str, np.ndarray] = {}
    for layer, shape in net.shapes(RGB).items():
        kernel = random.standard_normal(shape, np.float32)
        arrays[f"{layer}.kernel"] = np.float32(SCALE) * kernel
        arrays[f"{layer}.bias"] = np.zeros(shape[-1], np.float32)
    mesh = device_mesh()
    params = on_devices(arrays, case.precision, mesh)
    network = Fc6Network(net, "caffe", params, "after_relu", case.precision, mesh, case.batch)
    shape = (network.batch, net.input_px, net.input_px, RGB)
    frames = random.integers(0, 256, shape, np.uint8)

    def seconds() -> float:
        start = time.perf_counter()
        np.asarray(network(frames))
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


@dataclass(frozen=True)
class FlowRow:
    """Figures of one method of optical flow."""

    method: FlowMethod
    input_px: int
    run_secs: list[float]
    """Each pair of frames."""
    pairs_per_sec: float
    """Of the median."""


def measure_flow(method: FlowMethod, repeats: int) -> FlowRow:
    """Measure one method on a texture that moves."""
    flow = open_flow(method)
    side = INPUT_PX // FLOW_BLOCK_PX + 1
    coarse = np.random.default_rng(SEED).integers(0, 256, (side, side), np.uint8)
    scene = np.kron(coarse, np.ones((FLOW_BLOCK_PX, FLOW_BLOCK_PX), np.uint8))
    before = np.ascontiguousarray(scene[:INPUT_PX, :INPUT_PX])
    after = np.ascontiguousarray(scene[:INPUT_PX, FLOW_SHIFT_PX : INPUT_PX + FLOW_SHIFT_PX])
    flow(before, after)
    secs = []
    for _ in range(repeats):
        start = time.perf_counter()
        flow(before, after)
        secs.append(time.perf_counter() - start)
    return FlowRow(method, INPUT_PX, secs, 1 / statistics.median(secs))
