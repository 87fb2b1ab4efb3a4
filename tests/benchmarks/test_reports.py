"""Reports of the sampling benchmark: published and invalid ones, and `show`."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from benchmarks.__main__ import main
from benchmarks.ceilings import Ceilings, ProductSpeed, ReadSpeed
from benchmarks.common import write_report
from benchmarks.machine import describe_machine
from benchmarks.report import SamplingReport, SamplingRow, print_sampling, read_report
from benchmarks.samplernn_pytorch import PeerRow
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
    samples_per_sec_total=64_000.0,
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
    machine=describe_machine(),
    ceilings=Ceilings(ReadSpeed(2**29, 1e7), [], [ProductSpeed("float32", "default", 128e6)]),
    rows=[ROW],
    peer_rows=[PeerRow(2, 256, "cpu", "2.13.0", 2, 9, [0.1], 5120.0)],
)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "report.json"
    write_report(path, "sampling", device="cpu", **REPORT._asdict())
    return path


def test_a_report_is_read_as_it_was_written(file):
    assert read_report(file) == REPORT


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.name)
def test_published_reports_are_valid(path):
    report = read_report(path)
    for row in report.rows:
        assert 0 < row.share_of_multiplying < 1
        assert row.share_of_reading is None or 0 < row.share_of_reading < 1
        samples = row.batch * row.samples_per_clip
        assert row.samples_per_sec_total == pytest.approx(samples / np.median(row.run_secs))
    assert not re.search(r"/(work|tmp|home|root)/", path.read_text())


def test_auto_is_compared_with_the_fastest_row_of_as_many_clips(capsys):
    changes = [(2, 64_000.0, False), (2, 48_000.0, True), (1, 12_000.0, True)]
    names = ("batch", "samples_per_sec_total", "is_auto")
    rows = [dataclasses.replace(ROW, **dict(zip(names, one, strict=True))) for one in changes]
    print_sampling(REPORT._replace(rows=rows, peer_rows=[]))
    lines = capsys.readouterr().out.splitlines()
    column = next(line for line in lines if "of best" in line).index("best")
    shown = [line[column : column + 4].strip() for line in lines[-3:]]
    assert shown == ["1", "0.75", "1"]
    assert [line.strip().startswith("auto: scan") for line in lines[-3:]] == [False, True, True]


@pytest.mark.parametrize("text", ["", "[]", '{"rows": NaN', "\udcff", '{"ceilings": {}}'])
def test_file_that_is_no_report_is_one_line(text, tmp_path):
    file = tmp_path / "report.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match="give a file that python -m benchmarks"):
        read_report(file)


def test_show_prints_and_draws(file, tmp_path, run_command):
    image = tmp_path / "roofline.png"
    code, out, err = run_command(main, "show", file, "--plot", image)
    assert code == 0, err
    assert "64,000" in out and "  scan, float32, batch size 4: 12.5 x" in out
    assert "of best" in out and "auto: " not in out
    pixels = imread(image)[..., :3]
    assert pixels.shape[1] > pixels.shape[0] > 500
    is_blue = np.all(np.round(pixels * 255) == (0x2F, 0x66, 0x90), axis=-1)
    assert is_blue.any()  # a point or a line of float32
