"""Benchmarks: figures are consistent, every benchmark runs, bad input is one line.

No test asserts a speed.
"""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import input as input_benchmark
from benchmarks import sampling
from benchmarks.__main__ import main
from benchmarks.ceilings import (
    Ceilings,
    ProductSpeed,
    ReadSpeed,
    measure_ceilings,
    weight_reads,
)
from benchmarks.features import measure_features, measure_flow
from benchmarks.live import live_sources, measure_live
from benchmarks.machine import describe_machine, host_peak_mb
from benchmarks.report import SamplingCase, read_report
from benchmarks.samplernn_pytorch import (
    FILES,
    check_peer,
    measure_peer,
    peer_model,
    sampling_work,
    training_work,
)
from benchmarks.sampling import RANDOM_WEIGHTS, measure_sampling
from benchmarks.training import TrainingArgs, measure_training
from tests.conftest import random_params
from tests.vgg_weights import SMALL
from v2s_jax.checkpoints import save_params
from v2s_jax.config import PAPER, TINY
from v2s_jax.errors import InputError
from v2s_jax.pretrained import PRETRAINED
from v2s_jax.processes import run_isolated

CASE = SamplingCase(
    batch=3,
    batch_size=2,
    clip_sec=0.25,
    precision="default",
    engine="scan",
    weight_format="float32",
)
READS = weight_reads(TINY.model, "float32")
CEILINGS = Ceilings(
    memory=ReadSpeed(2**29, 2e10),
    tiers=[ReadSpeed(size, 1e11) for size in READS.working_sets],
    products=[ProductSpeed("float32", "default", 1e12)],
)
"""Not measured: the tests check what rows derive from them."""


def count_parameters(config) -> int:
    leaves = jax.tree.leaves(jax.eval_shape(lambda: random_params(config)))
    return sum(leaf.size for leaf in leaves)


@pytest.mark.slow
def test_sampling_row_is_consistent():
    row = measure_sampling(CASE, TINY, 3, CEILINGS)
    per_sample = sum(READS.by_tier(TINY.model))
    assert row.samples_per_clip == 4000
    assert row.samples_per_sec_total * row.run_sec_median == pytest.approx(3 * 4000)
    assert row.x_real_time_total * row.run_sec_median == pytest.approx(3 * 0.25)
    # Three clips in a batch size of 2 take two passes, each of which reads the weights.
    assert row.weight_bytes_per_sec * row.run_sec_median == pytest.approx(2 * 4000 * per_sample)
    assert row.share_of_reading == pytest.approx(row.weight_bytes_per_sec / 1e11)
    assert row.flop_per_sec * row.run_sec_median == pytest.approx(3 * 4000 * row.flop_per_sample)
    assert row.share_of_multiplying == pytest.approx(row.flop_per_sec / 1e12)
    assert row.run_sec_median == sorted(row.run_secs)[1]
    assert (row.preset, row.weights, row.engine) == ("tiny", RANDOM_WEIGHTS, "scan")
    assert row.parameters == count_parameters(TINY)
    # By hand: big frames of 16, frames of 4, all widths 32, 256 levels.
    big = 32 * 3 * 32 + 32 * 4 * 32 + 4 * 32 * 3 * 32 + 16 * 3 * 32
    frame = 32 * 3 * 32 + 4 * 3 * 32 + 32 * 4 * 32
    assert row.flop_per_sample == 2 * (big / 16 + frame / 4 + 32 * 32 + 32 * 256)


def test_read_ceiling_adds_the_times_of_the_tiers():
    sample, frame, big = READS.working_sets
    speeds = [ReadSpeed(sample, 4e9), ReadSpeed(frame, 2e9), ReadSpeed(big, 1e9)]
    ceilings = dataclasses.replace(CEILINGS, tiers=speeds)
    per_frame, per_big = READS.per_frame / 4, READS.per_big_frame / 16
    sec = READS.per_sample / 4e9 + per_frame / 2e9 + per_big / 1e9
    expected = (READS.per_sample + per_frame + per_big) / sec
    assert ceilings.read_bytes_per_sec(TINY.model, READS) == pytest.approx(expected)
    assert weight_reads(dataclasses.replace(TINY.model, cell="lstm"), "float32") is None


def test_weight_bytes_of_the_paper_preset():
    """In M weights: 10 every 8 samples, 5 every 2, 1.25 every one."""
    weights = (7 * 2**20 + 3 * 2**20) / 8 + 5 * 2**20 / 2 + 1.25 * 2**20
    assert sum(weight_reads(PAPER.model, "int8").by_tier(PAPER.model)) == weights
    assert sum(weight_reads(PAPER.model, "float32").by_tier(PAPER.model)) == 4 * weights


@pytest.mark.slow
def test_ceilings_of_each_weight_format():
    formats = ("float32", "int8")
    ceilings = measure_ceilings(TINY.model, formats, "highest")
    assert [speed.weights for speed in ceilings.products] == ["float32", "int8"]
    assert ceilings.memory.bytes_per_sec > 0 and ceilings.flop_per_sec("int8") > 0
    for weights in formats:
        assert ceilings.read_bytes_per_sec(TINY.model, weight_reads(TINY.model, weights)) > 0


@pytest.mark.slow
def test_memory_peak_is_that_of_the_case_process():
    row = run_isolated(measure_sampling, CASE, TINY, 3, CEILINGS)
    assert row.compile_sec > min(row.run_secs)
    assert row.device_peak_mb is None  # the CPU backend keeps no count
    assert 0 < run_isolated(host_peak_mb) < row.host_peak_mb < describe_machine().memory_mb


@pytest.mark.slow
def test_checkpoint_is_measured(tmp_path):
    config = dataclasses.replace(TINY, name="other")
    file = tmp_path / "other.safetensors"
    save_params(file, config, jax.tree.map(np.asarray, random_params(config)))
    row = measure_sampling(dataclasses.replace(CASE, batch=1), file, 1, CEILINGS)
    assert (row.preset, row.weights) == ("other", str(file))


@pytest.mark.slow
def test_sampling_command(run_command, tmp_path):
    file, image = tmp_path / "results" / "out.json", tmp_path / "out.png"
    options = "--preset tiny --batch 1 --batch-size batch --seconds 0.1 --repeats 2 --device cpu"
    code, out, err = run_command(
        main, "sampling", *options.split(), "--json", file, "--plot", image
    )
    assert code == 0, err
    assert "x real time" in out and image.exists()
    command = json.loads(file.read_text())["command"]
    assert command.startswith(f"python -m benchmarks sampling {options}")
    assert [(row.batch, row.batch_size) for row in read_report(file).rows] == [(1, 1)]
    assert [path.name for path in file.parent.iterdir()] == ["out.json"]


def test_auto_makes_one_row_for_each_number_of_clips():
    """It ignores the other options: engine, weights and batch size are its own choice."""
    engines, sizes = ("auto", "scan"), (1, 4, "batch")
    weights = ("float32", "int8")
    args = sampling.SamplingArgs(batch=(1, 4), batch_size=sizes, engine=engines, weights=weights)
    cases = args.cases()
    assert [case.batch for case in cases if case.is_auto] == [1, 4]
    others = {(c.batch, c.batch_size, c.weight_format) for c in cases if not c.is_auto}
    assert others == {(b, s, w) for b in (1, 4) for s in (1, 4) for w in weights}
    assert len(cases) == 2 + len(others)


@pytest.mark.slow
def test_auto_beside_another_engine(run_command, tmp_path, engine_of_auto):
    file = tmp_path / "out.json"
    options = "--preset tiny --batch 1 --engine auto scan --seconds 0.1 --repeats 1 --device cpu"
    code, out, err = run_command(main, "sampling", *options.split(), "--json", file)
    assert code == 0, err
    assert f"auto: {engine_of_auto}" in out and "of best" in out
    scan, auto = read_report(file).rows
    assert (scan.engine, scan.batch_size, scan.is_auto) == ("scan", 4, False)
    assert (auto.engine, auto.batch_size, auto.is_auto) == (engine_of_auto, 1, True)


def test_rows_before_one_that_fails_are_kept(tmp_path, monkeypatch):
    def measure(measure, cases, device):
        yield measure_sampling(CASE, TINY, 1, CEILINGS)
        raise InputError("memory ran out")

    monkeypatch.setattr(sampling, "measure_cases", measure)
    file = tmp_path / "out.json"
    args = sampling.SamplingArgs(preset="tiny", batch=(1, 2), json=file, device="cpu")
    with pytest.raises(InputError, match="memory ran out"):
        args.run()
    assert [row.batch for row in read_report(file).rows] == [CASE.batch]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "rows"),
    [
        ("training --preset tiny --variant unconditional --batch 8 --repeats 1", 1),
        ("streaming --preset tiny --batch-size 1 --video-frames 3 --clips 1 --live-sec 0", 1),
        ("features --batch 1 --repeats 1", 1),
        ("input --clips 6 --videos 2 --batch 2 --repeats 2 --extractions 1", 4),
        ("first-sound --repeats 1", 2),
    ],
)
def test_commands(run_command, tmp_path, command, rows):
    file = tmp_path / "out.json"
    code, out, err = run_command(main, *command.split(), "--json", file)
    assert code == 0, err
    assert "load average" in out
    report = json.loads(file.read_text())
    assert report["benchmark"] == command.split()[0] and len(report["rows"]) == rows


@pytest.mark.slow
def test_training_row_is_consistent():
    row = measure_training(TrainingArgs().case(TINY, batch=8), repeats=2)
    samples = 8 * TINY.training.chunk_samples
    assert row["samples_per_sec"] * row["step_sec"] == pytest.approx(samples)
    assert len(row["step_secs"]) == 2 and row["step_sec"] > 0
    assert row["steps_per_call"] == TINY.training.steps_per_call
    assert row["share_of_peak"] == pytest.approx(row["product_tflops"] / row["peak_tflops"])
    assert row["parameters"] == count_parameters(TINY)


@pytest.mark.slow
def test_features_row_is_consistent():
    row = measure_features(3, "float32", 2, SMALL)
    assert (row["batch"], len(row["run_secs"])) == (3 * row["devices"], 2)
    assert row["frames_per_sec"] == pytest.approx(row["batch"] / (sum(row["run_secs"]) / 2))
    tflops = row["frames_per_sec"] * SMALL.flops(3) / 1e12
    assert row["share_of_peak"] == pytest.approx(tflops / row["peak_tflops"])


@pytest.mark.slow
def test_live_rows_are_consistent(tmp_path):
    """One of pixels on a camera, and one of controls on a file."""
    camera, file = live_sources(tmp_path / "videos").values()
    cases = (("aligned", camera, "pixels"), ("real", file, "controls"))
    for name, source, extractor in cases:
        row = measure_live(PRETRAINED[name], "it", source.shortened(1.0))
        assert (row["blocks"], row["lookahead_frames"]) == (16 - 8, 8)
        stages = row["capture_ms"], row["features_ms"], row["sampling_ms"]
        assert min(stages) > 0 and row["beyond_block_ms_p99"] >= row["beyond_block_ms_median"]
        assert row["first_sound_ms"] > 8 * 64
        assert row["extractor"] == extractor
        assert row["aim_ms"] == {"pixels": 100, "controls": 150}[extractor]


def test_flow_row_is_consistent():
    row = measure_flow("dis", 3)
    assert row["pairs_per_sec"] == pytest.approx(1 / sorted(row["run_secs"])[1])


def test_extraction_is_the_median_of_uncached_minus_cached_runs(tmp_path, monkeypatch):
    """Each repeat starts with an empty cache; one outlier does not count."""
    (tmp_path / "a.mp4").write_bytes(bytes(3_000_000))
    seconds, folders = iter([9.0, 5.0, 30.0, 6.0, 11.0, 5.0]), []

    def prepare_seconds(videos: Path, out: Path, workers: int) -> float:
        folders.append(out)
        return next(seconds)

    monkeypatch.setattr(input_benchmark, "prepare_seconds", prepare_seconds)
    row = input_benchmark.measure_extraction(tmp_path, 2, 3, tmp_path / "out")
    assert row["run_secs"] == [4.0, 24.0, 6.0]
    assert (row["clips_per_sec"], row["mb_per_sec"]) == (1 / 6, 0.5)
    assert folders[::2] == folders[1::2] and len(set(folders)) == 3


def test_peer_is_checked_before_anything_is_measured(tmp_path):
    args = TrainingArgs(peer=tmp_path)
    with pytest.raises(InputError, match=r"no model.py there: give a checkout of https://github"):
        check_peer(args, TINY)
    lstm = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, cell="lstm"))
    with pytest.raises(InputError, match=r"has the cell lstm.*leave out --peer"):
        check_peer(args, lstm)


def test_peer_that_fails_is_one_line(tmp_path):
    for name in FILES:
        (tmp_path / name).touch()
    args, work = TrainingArgs(peer=tmp_path), training_work(TINY, "default")
    broken = dataclasses.replace(args, peer_python=str(tmp_path / "python"))
    with pytest.raises(InputError, match=r"--peer-python .*/python: cannot be run \(No such file"):
        measure_peer(broken, TINY, work, [8], "cpu")
    with pytest.raises(InputError, match=r"ended with: .*Error: .*--peer-python"):
        measure_peer(args, TINY, work, [8], "cpu")


def test_peer_has_the_sizes_of_the_preset():
    """Its frame sizes are ratios, finest first: 2 and 4 are our frames of 2 and 8."""
    assert sampling_work(PAPER)["samples"] == 256
    assert training_work(PAPER, "default")["samples"] == 512
    model = peer_model(PAPER)
    assert (model["frame_sizes"], model["dim"]) == ([2, 4], 1_024)
    assert (model["q_levels"], model["n_rnn"]) == (256, 1)
    two = dataclasses.replace(PAPER.model, tiers=2, big_frame_size=16, frame_size=16)
    assert peer_model(dataclasses.replace(PAPER, model=two))["frame_sizes"] == [16]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sampling --preset dem", "--preset dem: unknown: did you mean demo?"),
        ("sampling --preset tiny --batch-size 0", "--batch-size 0: must be at least 1"),
        ("sampling --preset tiny --seconds nan", "--seconds nan: use a number above 0"),
        ("sampling --preset tiny --json /dev/null/out.json", "/dev/null: cannot be written"),
        ("sampling --preset tiny --json .", "--json .: is a folder: name a file"),
        ("sampling --preset tiny --engine scan fused --device cpu", "--engine fused on cpu: "),
        ("training --preset tiny --batch 0", "--batch 0: must be at least 1"),
        ("streaming --preset tiny --clips 0", "--clips 0: must be at least 1"),
        ("streaming --preset tiny --live-sec nan", "--live-sec nan: use 0 or more"),
        ("input --videos 1", "--videos 1: use 0 or at least 2"),
        ("first-sound --repeats 0", "--repeats 0: must be at least 1"),
        ("show none.json", "none.json: "),
    ],
)
def test_bad_input_is_one_line_before_anything_is_measured(run_command, command, message):
    code, out, err = run_command(main, *command.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}") and err.count("\n") == 1
