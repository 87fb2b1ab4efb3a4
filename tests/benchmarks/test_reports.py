"""Reports of the sampling benchmark: published and invalid ones, and `show`."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from benchmarks.__main__ import main
from benchmarks.ceilings import Ceilings, ProductSpeed, ReadSpeed
from benchmarks.machine import describe_machine
from benchmarks.report import SamplingReport, SamplingRow, read_report
from benchmarks.samplernn_pytorch import PeerSamplingRow
from v2s_jax.errors import InputError

ROOT = Path(__file__).parents[2]
REPORTS = sorted((ROOT / "docs" / "benchmarks").glob("*.json"))

ROW = SamplingRow(
    preset="tiny",
    weights="random",
    parameters=10,
    precision="default",
    engine="scan",
    weight_format="float32",
    device_kind="cpu",
    batch=2,
    batch_size=4,
    clip_sec=1.0,
    samples_per_clip=16_000,
    sample_rate_hz=16_000,
    compile_sec=1.0,
    run_secs=[0.5, 0.25, 1.0],
    run_sec_median=0.5,
    run_sec_min=0.25,
    run_sec_max=1.0,
    samples_per_sec_per_stream=32_000.0,
    samples_per_sec_total=64_000.0,
    x_real_time_per_stream=2.0,
    x_real_time_total=4.0,
    weight_bytes_per_sample=1000.0,
    flop_per_sample=500.0,
    weight_bytes_per_sec=32e6,
    flop_per_sec=32e6,
    read_bytes_per_sec=64e6,
    peak_flop_per_sec=128e6,
    share_of_reading=0.5,
    share_of_multiplying=0.25,
    host_peak_mb=300.0,
    device_peak_mb=None,
)
REPORT = SamplingReport(
    benchmark="sampling",
    command="python -m benchmarks sampling --preset tiny",
    date="2026-01-01T00:00:00+00:00",
    device="cpu",
    machine=describe_machine(),
    ceilings=Ceilings(
        "cpu", ReadSpeed(2**29, 1e7), [], [ProductSpeed("float32", "default", 128e6)]
    ),
    rows=[ROW],
    peer_rows=[PeerSamplingRow(2, 256, "cpu", "2.13.0", 2, 9, [0.1], 5120.0)],
)


def write_json(folder: Path, report: dict) -> Path:
    file = folder / "report.json"
    file.write_text(json.dumps(report))
    return file


def test_a_report_is_read_as_it_was_write_json(tmp_path):
    assert read_report(write_json(tmp_path, dataclasses.asdict(REPORT))) == REPORT


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.name)
def test_published_reports_are_valid(path):
    report = read_report(path)
    for row in report.rows:
        assert 0 < row.share_of_multiplying < 1
        assert row.share_of_reading is None or 0 < row.share_of_reading < 1
    assert not re.search(r"/(work|tmp|home|root)/", path.read_text())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda report: report.pop("ceilings"), "ceilings is missing"),
        (lambda report: report["rows"][0].pop("batch_size"), r"rows\[0\].batch_size is missing"),
        (lambda report: report["rows"][0].update(colour="red"), r"rows\[0\].colour is unknown"),
        (lambda report: report["rows"][0].update(batch="2"), r"rows\[0\].batch is '2', not a int"),
        (lambda report: report["rows"][0].update(engine="gpu"), r"rows\[0\].engine is 'gpu', not"),
        (lambda report: report["rows"].clear(), "has no rows"),
        (lambda report: report.update(rows={}), "rows is not a list"),
        (lambda report: report.update(benchmark="training"), "benchmark is 'training', not one of"),
        (
            lambda report: report["rows"][0].update(samples_per_sec_total=1e9),
            "row 0: samples_per_sec_total is 1e.09, but follows from the other figures as 64000",
        ),
        (
            lambda report: report["rows"][0].update(run_sec_median=0.0),
            "row 0: run_sec_median is 0, not above 0",
        ),
        (
            lambda report: report["peer_rows"][0].update(samples_per_sec=0),
            "peer row 0: samples_per_sec is 0, not above 0",
        ),
    ],
)
def test_invalid_report_names_the_field(change, message, tmp_path):
    report = dataclasses.asdict(REPORT)
    change(report)
    file = write_json(tmp_path, report)
    with pytest.raises(InputError, match=f"{re.escape(str(file))}: {message}"):
        read_report(file)


@pytest.mark.parametrize("text", ["", "[]", '{"rows": NaN', "\udcff"])
def test_file_that_is_no_report_is_one_line(text, tmp_path):
    file = tmp_path / "report.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match="give a file that python -m benchmarks"):
        read_report(file)


def test_old_report_is_read(tmp_path):
    old = dataclasses.asdict(REPORT)
    for row in old["rows"]:
        row["tile"] = row.pop("batch_size")
        row["tiles"] = 1
    assert read_report(write_json(tmp_path, old)) == REPORT


def test_show_prints_and_draws(tmp_path, run_command):
    file, image = write_json(tmp_path, dataclasses.asdict(REPORT)), tmp_path / "roofline.png"
    code, out, err = run_command(main, "show", file, "--plot", image)
    assert code == 0, err
    assert "64,000" in out and "  scan, float32, batch size 4: 12.5 x" in out
    pixels = imread(image)[..., :3]
    assert pixels.shape[1] > pixels.shape[0] > 500
    is_blue = np.all(np.round(pixels * 255) == (0x2F, 0x66, 0x90), axis=-1)
    assert is_blue.any()  # a point or a line of float32


def test_show_draws_only_one_report(tmp_path, run_command):
    file = write_json(tmp_path, dataclasses.asdict(REPORT))
    code, _, err = run_command(main, "show", file, file, "--plot", tmp_path / "image.png")
    assert (code, err) == (2, "error: --plot: draws one report, got 2: name one\n")
