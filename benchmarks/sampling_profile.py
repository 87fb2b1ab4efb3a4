"""`python -m benchmarks profile`: where the device spends its time while it samples."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jax
from jax.profiler import ProfileData
from matplotlib.figure import Figure

from benchmarks.common import (
    Row,
    check_at_least_one,
    get_preset,
    output_file,
    print_table,
    report_file,
    write_report,
)
from benchmarks.machine import describe_machine
from benchmarks.sampling import SEED, load_model, random_features
from v2s_jax.cli.device import use_device
from v2s_jax.errors import InputError
from v2s_jax.kernels.interface import EngineName
from v2s_jax.sampling import Request, Sampler, clip_key, content_hash, generate

NOTES = "Operations that hold others, such as loops, count these as well, in time and total."
TOP = 15
"""Operations that are shown."""
OPERATIONS = "XLA Ops"
"""The line of a TPU's trace that has operations; the others repeat them as programs and steps."""
NANOSECONDS_PER_MS = 10**6
INCHES = 9.0, 4.5
DOTS_PER_INCH = 130
COLOR = "#2f6690"


@dataclass(frozen=True, kw_only=True)
class ProfileArgs:
    """Trace the sampler, and print the operations that take most of the device's time."""

    preset: str = "demo"
    """Config to profile, with random weights."""
    batch: int = 32
    """Clips generated at once."""
    video_frames: int = 8
    """Length of each clip."""
    engine: EngineName = "scan"
    """What runs the model."""
    device: str | None = None
    """cpu, gpu or tpu; by default the best one available."""
    json: Path | None = None
    """File to write the figures to, as JSON."""
    plot: Path | None = None
    """File for a plot of them (PNG)."""

    def run(self) -> None:
        """Trace one call, and print, write and draw the figures."""
        check_at_least_one(batch=self.batch, video_frames=self.video_frames)
        preset = get_preset(self.preset)
        use_device(self.device)
        machine = describe_machine()
        with report_file(self.json) as file, output_file(self.plot, "--plot") as image:
            config, params = load_model(preset)
            sampler = Sampler(config, params, batch_size=self.batch, engine=self.engine)
            samples = self.video_frames * config.clock.samples_per_video_frame
            features = random_features(config, self.video_frames)
            keys = [clip_key(SEED, content_hash(str(clip).encode())) for clip in range(self.batch)]
            requests = [Request(key, samples, features) for key in keys]
            generate(sampler, requests)  # compiles
            with tempfile.TemporaryDirectory() as folder:
                options = jax.profiler.ProfileOptions()
                options.python_tracer_level = 0  # calls of Python, each with all below it
                with jax.profiler.trace(folder, profiler_options=options):
                    generate(sampler, requests)
                (trace,) = Path(folder).rglob("*.xplane.pb")
                rows = busiest_operations(ProfileData.from_file(str(trace)))
            print(f"profile, {config.name}, {self.engine} engine, {self.batch} clips\n")
            print_table(rows)
            print(f"\n{NOTES}\n{machine}")
            device = jax.devices()[0].device_kind
            write_report(file, "profile", machine, device, rows=rows)
            if image is not None:
                _draw(image, rows)


def busiest_operations(profile: ProfileData) -> list[Row]:
    """Return the operations with most time on the first device, on a CPU on all its threads."""
    planes = {plane.name: plane for plane in profile.planes}
    name = min((name for name in planes if name.startswith("/device:")), default="/host:CPU")
    if name not in planes:
        raise InputError("the trace has no device: JAX's profiler does not support this one")
    lines = list(planes[name].lines)
    lines = [line for line in lines if line.name == OPERATIONS] or lines
    ns, calls = Counter[str](), Counter[str]()
    for line in lines:
        for event in line.events:
            ns[event.name] += event.duration_ns
            calls[event.name] += 1
    total = sum(ns.values())
    return [
        {
            "operation": operation[:60],
            "calls": calls[operation],
            "ms": duration / NANOSECONDS_PER_MS,
            "share": duration / total,
        }
        for operation, duration in ns.most_common(TOP)
    ]


def _draw(path: Path, rows: list[Row]) -> None:
    figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    names = [row["operation"].replace("$", r"\$") for row in rows[::-1]]
    axes.barh(range(len(rows)), [row["ms"] for row in rows[::-1]], color=COLOR)
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.set_xlabel("time (ms)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
