"""Figures of the sampling benchmark in words, just measured or from a file."""

from collections.abc import Sequence

from benchmarks.ceilings import Ceilings
from benchmarks.samplernn_pytorch import PeerSamplingRow
from benchmarks.sampling import SamplingRow

GIGA = 10**9
MEGA = 10**6


def title(row: SamplingRow) -> str:
    """Return what all rows of one run have in common."""
    return (
        f"sampling, preset {row.preset} ({row.parameters:,} parameters, weights: {row.weights}), "
        f"clips of {row.clip_sec:g} s at {row.sample_rate_hz} Hz, {len(row.run_secs)} runs, "
        f"precision {row.precision}, device {row.device_kind}"
    )


def ceiling_lines(ceilings: Ceilings) -> list[str]:
    """Return what the device can do at most."""
    tiers = ", ".join(
        f"{speed.bytes_per_sec / GIGA:.0f} GB/s from {speed.working_set_bytes / MEGA:.3g} MB"
        for speed in ceilings.tiers
    )
    products = ", ".join(
        f"{speed.flop_per_sec / GIGA:,.0f} GFLOP/s with {speed.weights} weights (precision "
        f"{speed.precision})"
        for speed in ceilings.products
    )
    reading = f"at most here: reads {ceilings.memory.bytes_per_sec / GIGA:.1f} GB/s from memory"
    return [reading + (f"; of weights, {tiers}" if tiers else ""), f"multiplies {products}"]


def peer_lines(rows: Sequence[SamplingRow], peer_rows: Sequence[PeerSamplingRow]) -> list[str]:
    """Return samplernn-pytorch's figures, and how many times as fast each row is."""
    if not peer_rows:
        return []
    first = peer_rows[0]
    lines = [
        f"samplernn-pytorch, the same sizes without video ({first.parameters:,} parameters), "
        f"PyTorch {first.torch} on {first.device}, {first.threads} threads, {first.samples} "
        "samples a clip, after the rows"
    ]
    for peer_row in peer_rows:
        lines.append(f"batch {peer_row.batch}: {peer_row.samples_per_sec:,.0f} samples/s in total")
        for row in (row for row in rows if row.batch == peer_row.batch):
            times = row.samples_per_sec_total / peer_row.samples_per_sec
            lines.append(
                f"  {row.engine}, {row.weight_format}, tile {row.batch_size}: {times:.1f} times that"
            )
    return lines
