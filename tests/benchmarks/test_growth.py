"""Growth of cost: the page of given figures, and every part at tiny size; no speed is asserted."""

import json

import pytest
from matplotlib.image import imread

from benchmarks.__main__ import main
from benchmarks.common import write_report
from benchmarks.growth import GrowthArgs, measure_growth
from benchmarks.growth_page import write_page
from benchmarks.machine import describe_machine
from v2s_jax.errors import InputError


def write_part(folder, part, rows) -> None:
    write_report(folder / f"{part}.json", f"growth: {part}", describe_machine(), "cpu", rows=rows)


def test_the_page_shows_the_parts_that_are_there(tmp_path):
    memory = {"host_peak_mb": 500.0, "device_peak_mb": None}
    write_part(tmp_path, "length", [{"length": x, "sec": 2.0 * x, **memory} for x in (1.0, 10.0)])
    prepared = [
        {"prepare": videos, "workers": workers, "sec": videos**2 / workers, **memory}
        for workers in (1, 2)
        for videos in (2, 4, 8)
    ]
    write_part(tmp_path, "prepare", prepared)
    write_page(tmp_path)
    page = (tmp_path / "growth.md").read_text()
    assert page.index("## Length of one clip (s)") < page.index("## Videos of 10 s prepared")
    assert "## Clips sampled" not in page
    assert "| 10 | 20 | 500 | - |" in page and "| 8 | 2 | 32 | 500 | - |" in page
    assert "time: exponent 1.00.\n" in page
    assert "time, 1 worker: exponent 2.00.\n" in page
    assert "time, 2 workers: exponent 2.00.\n" in page
    pixels = imread(tmp_path / "growth.png")
    assert pixels.shape[1] > 1.5 * pixels.shape[0]  # two panels


@pytest.mark.parametrize("text", ["", "{}", '{"rows": []}'])
def test_a_file_that_is_no_report_is_one_line(tmp_path, text):
    (tmp_path / "batch.json").write_text(text)
    with pytest.raises(InputError, match=r"batch\.json: is no report .*: remove it$"):
        write_page(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "amount", "columns"),
    [
        ("clips", 3, {"clips", "engine", "weights", "batch_size"}),
        ("length", 0.1, {"length", "engine", "weights", "batch_size"}),
        ("batch", 8, {"batch", "samples_per_sec"}),
        ("gallery", 2, {"gallery", "pairs"}),
        ("prepare", 2, {"prepare", "workers", "videos_per_sec"}),
    ],
)
def test_every_part_has_time_and_memory(tmp_path, part, amount, columns):
    args = GrowthArgs(out=tmp_path, preset="tiny", clip_sec=0.1, repeats=1)
    row = measure_growth((part, amount, 1), args)
    assert columns | {"sec", "host_peak_mb", "device_peak_mb", "device_kind"} <= set(row)
    assert row[part] == amount and row["sec"] > 0 and row["host_peak_mb"] > 0


@pytest.mark.slow
def test_command(run_command, tmp_path):
    options = "--preset tiny --part gallery --gallery 2 3 --clip-sec 0.1 --repeats 1 --device cpu"
    code, out, err = run_command(main, "growth", "--out", tmp_path, *options.split())
    assert code == 0, err
    assert "case 2 of 2" in err and "host peak mb" in out
    rows = json.loads((tmp_path / "gallery.json").read_text())["rows"]
    assert [(row["gallery"], row["pairs"]) for row in rows] == [(2, 4), (3, 9)]
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        *("gallery.json", "growth.md", "growth.png")
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--clips 0", "--clips 0: must be at least 1"),
        ("--length-sec 1 -1", "--clip-sec, --length-sec -1.0: use numbers above 0"),
        ("--part prepare --videos 1", "--videos 1: use at least 2; one is held out"),
        ("--preset dem", "--preset dem: unknown"),
    ],
)
def test_bad_input_is_one_line(run_command, tmp_path, options, message):
    code, out, err = run_command(main, "growth", "--out", tmp_path, *options.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}") and err.count("\n") == 1
