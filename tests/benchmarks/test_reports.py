"""Reports of the sampling benchmark: those that ship, damaged ones, the tables made of them."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread

from benchmarks.ceilings import Ceilings, ProductSpeed, ReadSpeed
from benchmarks.commands.main import main
from benchmarks.machine import describe_machine
from benchmarks.report import SamplingReport, read_report
from benchmarks.samplernn_pytorch import PeerSamplingRow
from benchmarks.sampling import SamplingRow
from v2s_jax.cli.run import run_cli
from v2s_jax.errors import InputError

ROOT = Path(__file__).parents[2]
REPORTS = sorted((ROOT / "docs" / "benchmarks").glob("*.json"))
PAGES = "".join((ROOT / page).read_text("utf-8") for page in ("README.md", "docs/speed.md"))
TABLE = re.compile(r"<!-- figures: (\S+) -->\n((?:\|.*\n)+)")

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
    tiles=1,
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
    command="python benchmark.py sampling --preset tiny",
    date="2026-01-01T00:00:00+00:00",
    device="cpu",
    machine=describe_machine(),
    ceilings=Ceilings(
        "cpu", ReadSpeed(2**29, 1e7), [], [ProductSpeed("float32", "default", 128e6)]
    ),
    rows=[ROW],
    peer_rows=[PeerSamplingRow(2, 256, "cpu", "2.13.0", 2, 9, [0.1], 5120.0)],
)


def written(folder: Path, report: dict) -> Path:
    file = folder / "report.json"
    file.write_text(json.dumps(report))
    return file


def test_a_report_is_read_as_it_was_written(tmp_path):
    assert read_report(written(tmp_path, dataclasses.asdict(REPORT))) == REPORT


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.name)
def test_reports_that_ship_are_whole(path):
    report = read_report(path)
    for row in report.rows:
        assert 0 < row.share_of_multiplying < 1
        assert row.share_of_reading is None or 0 < row.share_of_reading < 1
    assert not re.search(r"/(work|tmp|home|root)/", path.read_text())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda report: report.pop("ceilings"), "ceilings is missing"),
        (lambda report: report["rows"][0].pop("tile"), r"rows\[0\].tile is missing"),
        (lambda report: report["rows"][0].update(colour="red"), r"rows\[0\].colour is unknown"),
        (lambda report: report["rows"][0].update(batch="2"), r"rows\[0\].batch is '2', not a int"),
        (lambda report: report["rows"][0].update(engine="gpu"), r"rows\[0\].engine is 'gpu', not"),
        (lambda report: report["rows"].clear(), "holds no row"),
        (lambda report: report.update(rows={}), "rows is not a list"),
        (lambda report: report.update(benchmark="training"), "benchmark is 'training', not one of"),
        (
            lambda report: report["rows"][0].update(samples_per_sec_total=1e9),
            "row 0: samples_per_sec_total is 1e.09, but the other figures make 64000",
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
def test_a_report_that_does_not_fit_is_named(change, message, tmp_path):
    report = dataclasses.asdict(REPORT)
    change(report)
    file = written(tmp_path, report)
    with pytest.raises(InputError, match=f"{re.escape(str(file))}: {message}"):
        read_report(file)


@pytest.mark.parametrize("text", ["", "[]", '{"rows": NaN', "\udcff"])
def test_what_is_no_report_is_one_line(text, tmp_path):
    file = tmp_path / "report.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"give a file that benchmark\.py sampling --json wrote"):
        read_report(file)


def test_show_prints_and_draws(tmp_path, monkeypatch, capsys):
    file, picture = written(tmp_path, dataclasses.asdict(REPORT)), tmp_path / "roofline.png"
    words = ["benchmark.py", "show", str(file), "--plot", str(picture)]
    monkeypatch.setattr(sys, "argv", words)
    main()
    out = capsys.readouterr().out
    assert "64,000" in out and "  scan, float32, tile 4: 12.5 times that" in out
    pixels = imread(picture)[..., :3]
    assert pixels.shape[1] > pixels.shape[0] > 500
    colours = {tuple(int(value) for value in colour) for colour in (pixels * 255).reshape(-1, 3)}
    assert (0x2F, 0x66, 0x90) in colours  # a point or a line of float32


def test_show_draws_one_report(tmp_path, monkeypatch, capsys):
    file = str(written(tmp_path, dataclasses.asdict(REPORT)))
    words = ["benchmark.py", "show", file, file, "--plot", str(tmp_path / "picture.png")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as caught:
        run_cli(main)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: --plot: draws one report, these are 2: name one\n"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def figures(report: SamplingReport, row: SamplingRow) -> dict[str, str]:
    """A row as the pages write it, by the head of the column."""
    peers = {peer.batch: peer.samples_per_sec for peer in report.peer_rows}
    reading = row.share_of_reading
    return {
        "engine": row.engine,
        "weights": row.weight_format,
        "clips": str(row.batch),
        "tile": str(row.batch_size),
        "samples/s": f"{row.samples_per_sec_total:,.0f}",
        "x real time": f"{row.x_real_time_total:.2f}",
        "x samplernn-pytorch": f"{row.samples_per_sec_total / peers.get(row.batch, 1):.1f}",
        "of reading": "-" if reading is None else f"{reading:.0%}".replace("%", " %"),
        "of multiplying": f"{row.share_of_multiplying:.0%}".replace("%", " %"),
        "compile": f"{row.compile_sec:.1f} s",
        "peak memory": f"{row.host_peak_mb:.0f} MB",
    }


@pytest.mark.parametrize(("file", "table"), TABLE.findall(PAGES))
def test_tables_of_the_pages_are_those_of_a_report(file, table):
    report = read_report(ROOT / file)
    head, _, *lines = map(cells, table.splitlines())
    known = [figures(report, row) for row in report.rows]
    for line in lines:
        written_figures = dict(zip(head, line, strict=True))
        assert any(written_figures.items() <= row.items() for row in known), line


def test_the_pages_have_such_tables():
    assert TABLE.findall(PAGES)
