"""The report of a device: steps that work, fail and hang, and one line for bad input."""

import json

import pytest

from benchmarks.__main__ import main
from benchmarks.device import Device, DeviceArgs, Step, page, run_step

GPU = Device("gpu", "NVIDIA H200", 1)


def test_steps_that_work_fail_and_hang(tmp_path):
    def state_of(name, code, max_sec):
        result = run_step(Step(name, 10, ["-c", code]), tmp_path, max_sec, "cpu")
        return result, (result["state"], result["output"])

    worked, found = state_of("worked", "import os; print(os.environ['JAX_PLATFORMS'])", 60.0)
    assert found == ("ok", ["cpu"])
    failed, found = state_of("failed", "print('began'); exit(3)", 60.0)
    assert found == ("failed", ["began"])
    hung, (state, _) = state_of("hung", "import time; time.sleep(600)", 1.0)
    assert state == "too long" and hung["sec"] < 600
    late, found = state_of("late", "print('began')", 0.0)
    assert found == ("not started", [])
    text = page(GPU, "a machine", [worked, failed, hung, late])
    assert text.startswith("# NVIDIA H200\n\n1 x gpu; a machine.\n")
    assert "| failed | failed | " in text and "| hung | too long | " in text
    assert "## failed: failed\n" in text and "```\nbegan\n```" in text


def test_a_page_has_tables_and_plots():
    result = {"name": "training", "state": "ok", "sec": 3.0, "command": "python -m it"}
    text = page(GPU, "m", [{**result, "output": ["batch  sec", "   16    2"], "plot": "it.png"}])
    assert "| training | ok | 3 |" in text
    assert "`python -m it`\n\n```\nbatch  sec\n   16    2\n```\n\n![training](it.png)\n" in text


def test_steps_of_a_device_and_of_a_cpu(tmp_path):
    def steps(device):
        return {step.name: step.command for step in DeviceArgs(out=tmp_path).steps(device)}

    gpu, cpu = steps(GPU), steps(Device("cpu", "cpu", 1))
    names = ["engine-tests", "sampling-scan", "sampling-fused", "training", "vgg19", "profile"]
    assert [*gpu] == names and [*cpu] == [name.replace("fused", "cpu") for name in names]
    assert " 1 32 1024 " in " ".join(gpu["sampling-fused"])
    assert "fused_device" in " ".join(gpu["engine-tests"])
    assert sum(step.percent for step in DeviceArgs(out=tmp_path).steps(GPU)) == 100


@pytest.mark.slow
def test_command(run_command, tmp_path):
    """There is time for the beginning only, and the report is whole nevertheless."""
    options = "--preset tiny --batch 1 --seconds 0.1 --training-batch 8 --images 1"
    code, out, err = run_command(
        main, "device", "--out", tmp_path, *options.split(), "--max-minutes", "0.2"
    )
    assert code == 0, err
    assert "step 6 of 6: profile" in err and "engine-tests: " in out
    report = json.loads((tmp_path / "device.json").read_text())
    assert len(report["steps"]) == 6 and report["platform"] == "cpu"
    assert (tmp_path / "device.md").read_text().count("\n## ") == 6


@pytest.mark.slow
def test_profile(run_command, tmp_path):
    file, image = tmp_path / "p.json", tmp_path / "p.png"
    options = "--preset tiny --batch 1 --video-frames 1 --device cpu"
    code, out, err = run_command(main, "profile", *options.split(), "--json", file, "--plot", image)
    assert code == 0, err
    rows = json.loads(file.read_text())["rows"]
    assert "operation" in out and image.exists()
    assert 0 < sum(row["share"] for row in rows) <= 1.0001
    assert [row["ms"] for row in rows] == sorted((row["ms"] for row in rows), reverse=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--batch 0", "--batch 0: must be at least 1"),
        ("--max-minutes 0", "--max-minutes 0.0: use a number above 0"),
        ("--preset dem", "--preset dem: unknown"),
    ],
)
def test_bad_input_is_one_line(run_command, tmp_path, options, message):
    code, out, err = run_command(main, "device", "--out", tmp_path, *options.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}") and err.count("\n") == 1
