"""Benchmarks: figures that fit together, one line about bad input, few libraries needed.

No test asserts a speed.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import input as benchmark_input
from benchmarks.ceilings import (
    Ceilings,
    ProductSpeed,
    ReadSpeed,
    measure_ceilings,
    working_sets,
)
from benchmarks.commands.main import main
from benchmarks.features import FeaturesCase, measure_features
from benchmarks.flow import measure_flow
from benchmarks.fresh_process import defer_sigint, run_isolated
from benchmarks.machine import describe_machine, host_peak_mb
from benchmarks.report import read_report
from benchmarks.samplernn_pytorch import FILES, Peer, measure_peer, peer_work, sampling_work
from benchmarks.sampling import RANDOM_WEIGHTS, SamplingCase, measure_sampling
from benchmarks.table import FEATURES_COLUMNS, SAMPLING_COLUMNS, header_lines, row_line
from benchmarks.training import TrainingCase, measure_training
from tests.conftest import random_params
from tests.vgg_weights import SMALL
from v2s_jax.checkpoints import save_params
from v2s_jax.cli.run import run_cli
from v2s_jax.config import PAPER, TINY
from v2s_jax.errors import InputError
from v2s_jax.kernels.packing import weight_bytes_per_sample, weight_reads
from v2s_jax.sampling import check_seed

ROOT = Path(__file__).parents[2]
TRAINING_CASE = TrainingCase(TINY, batch=8, repeats=2, precision="default")
CASE = SamplingCase(TINY, batch=3, batch_size=2, clip_sec=0.25, repeats=3, precision="default")

CEILINGS = Ceilings(
    device_kind="cpu",
    memory=ReadSpeed(2**29, 2e10),
    tiers=[ReadSpeed(size, 1e11) for size in working_sets(weight_reads(TINY.model, "float32"))],
    products=[ProductSpeed("float32", "default", 1e12)],
)
"""Not measured: what the rows make of them is."""

ABSENT = """
import sys

NAMES = {"tensorflow", "tensorflow_datasets", "tyro", "imageio_ffmpeg", "cv2", "grain", "librosa"}
NAMES |= {"matplotlib"}



class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in NAMES:
            raise ImportError(f"{name} is not installed here")


sys.meta_path.insert(0, Absent())
"""
"""A sitecustomize: every process that finds it on its path lacks these libraries."""


def run_benchmark(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "benchmark.py", *words],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def row():
    return run_isolated(measure_sampling, CASE, CEILINGS)


def test_rates_times_seconds_are_samples(row):
    assert row.samples_per_clip == 4000
    assert row.samples_per_sec_per_stream * row.run_sec_median == pytest.approx(4000)
    assert row.samples_per_sec_total * row.run_sec_median == pytest.approx(3 * 4000)
    assert row.x_real_time_per_stream * row.run_sec_median == pytest.approx(0.25)
    assert row.x_real_time_total == pytest.approx(3 * row.x_real_time_per_stream)


def test_shares_are_rates_over_ceilings(row):
    per_sample = weight_bytes_per_sample(TINY.model, "float32")
    assert row.weight_bytes_per_sec * row.run_sec_median == pytest.approx(2 * 4000 * per_sample)
    assert row.share_of_reading == pytest.approx(row.weight_bytes_per_sec / 1e11)
    assert row.flop_per_sec * row.run_sec_median == pytest.approx(3 * 4000 * row.flop_per_sample)
    assert row.share_of_multiplying == pytest.approx(row.flop_per_sec / 1e12)


def test_flop_of_a_sample(row):
    """Tiny, by hand: big frames of 16, frames of 4, all widths 32, 256 levels."""
    big = 32 * 3 * 32 + 32 * 4 * 32 + 4 * 32 * 3 * 32 + 16 * 3 * 32
    frame = 32 * 3 * 32 + 4 * 3 * 32 + 32 * 4 * 32
    assert row.flop_per_sample == 2 * (big / 16 + frame / 4 + 32 * 32 + 32 * 256)


def test_reading_is_judged_tier_by_tier():
    """Half of the bytes at half of the speed take two thirds of the time."""
    reads = weight_reads(TINY.model, "float32")
    sample, frame, big = working_sets(reads)
    assert (sample, big - frame) == (reads.per_sample, reads.per_big_frame)
    speeds = [ReadSpeed(sample, 4e9), ReadSpeed(frame, 2e9), ReadSpeed(big, 1e9)]
    ceilings = dataclasses.replace(CEILINGS, tiers=speeds)
    per_frame, per_big = reads.per_frame / 4, reads.per_big_frame / 16
    sec = reads.per_sample / 4e9 + per_frame / 2e9 + per_big / 1e9
    expected = (reads.per_sample + per_frame + per_big) / sec
    assert ceilings.read_bytes_per_sec(TINY.model, "float32") == pytest.approx(expected)
    lstm = dataclasses.replace(TINY.model, cell="lstm")
    assert ceilings.read_bytes_per_sec(lstm, "float32") is None


def test_ceilings_are_measured_for_what_is_asked():
    models = [(TINY.model, "float32"), (TINY.model, "int8")]
    ceilings = run_isolated(measure_ceilings, models, "highest")
    assert [speed.weights for speed in ceilings.products] == ["float32", "int8"]
    assert ceilings.memory.bytes_per_sec > 0 and ceilings.flop_per_sec("int8", "highest") > 0
    for model in models:
        assert ceilings.read_bytes_per_sec(*model) > 0


def test_spread_is_that_of_the_runs(row):
    assert len(row.run_secs) == 3
    fastest, median, slowest = sorted(row.run_secs)
    assert (row.run_sec_min, row.run_sec_median, row.run_sec_max) == (fastest, median, slowest)
    assert fastest > 0


def test_row_says_what_was_measured(row):
    assert (row.preset, row.weights, row.precision) == ("tiny", RANDOM_WEIGHTS, "default")
    assert (row.batch, row.batch_size, row.tiles) == (3, 2, 2)
    sizes = [leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda: random_params(TINY)))]
    assert row.parameters == sum(sizes)
    assert (row.engine, row.weight_format) == ("scan", "float32")


def test_weights_that_a_sample_reads():
    """Paper, in M: 10 for each 8 samples, 5 for each 2, 1.25 for each one."""
    values = (7 * 2**20 + 3 * 2**20) / 8 + 5 * 2**20 / 2 + 1.25 * 2**20
    assert weight_bytes_per_sample(PAPER.model, "int8") == values
    assert weight_bytes_per_sample(PAPER.model, "float32") == 4 * values
    lstm = dataclasses.replace(PAPER.model, cell="lstm")
    assert weight_bytes_per_sample(lstm, "int8") is None


def test_compiling_is_not_in_the_runs(row):
    # A block of this size runs in milliseconds; XLA needs longer for any program of this kind.
    assert row.compile_sec > row.run_sec_min


def test_memory_is_that_of_a_process_that_ran_jax(row):
    assert row.device_peak_mb is None  # the CPU backend keeps no count
    bare = run_isolated(host_peak_mb)
    assert 0 < bare < row.host_peak_mb < describe_machine().memory_mb


def test_table_lines_up(row):
    names, units = header_lines(SAMPLING_COLUMNS)
    line = row_line(SAMPLING_COLUMNS, row)
    assert len(names) == len(units) == len(line)
    assert line.split() == [column.text(row) for column in SAMPLING_COLUMNS]


@pytest.mark.slow
def test_checkpoint_is_named_and_read(tmp_path):
    config = dataclasses.replace(TINY, name="other")
    file = tmp_path / "other.safetensors"
    save_params(file, config, jax.tree.map(np.asarray, random_params(config)))
    case = dataclasses.replace(CASE, model=file, batch=1, batch_size=1, repeats=1)
    measured = run_isolated(measure_sampling, case, CEILINGS)
    assert (measured.preset, measured.weights) == ("other", str(file))


@pytest.mark.slow
def test_missing_checkpoint_is_one_line(tmp_path):
    missing = tmp_path / "none.safetensors"
    done = run_benchmark("sampling", "--checkpoint", str(missing), "--batch", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {missing}: no such checkpoint: give a .safetensors file, a --workdir, or "
        "one that ships: frame, seq, flow\n"
    )


@pytest.mark.slow
def test_memory_that_runs_out_is_bad_input():
    # 64 KiB of features for each of 10^10 rows exceed the address space.
    case = dataclasses.replace(CASE, batch=1, batch_size=10**10)
    with pytest.raises(InputError, match="memory ran out: use a smaller --batch or --batch-size"):
        run_isolated(measure_sampling, case, CEILINGS)


def test_fresh_process_returns_and_raises():
    assert run_isolated(divmod, 7, 2) == (3, 1)
    with pytest.raises(InputError, match="seed -1"):
        run_isolated(check_seed, -1)
    with pytest.raises(InputError, match=r"killed \(SIGKILL\)"):
        run_isolated(signal.raise_signal, signal.SIGKILL)


def test_ctrl_c_is_held_back_until_a_start_is_over_or_has_failed():
    held = []
    with pytest.raises(KeyboardInterrupt):
        with defer_sigint():
            signal.raise_signal(signal.SIGINT)
            held.append("whole")
        held.append("beyond")
    assert held == ["whole"]
    with pytest.raises(KeyboardInterrupt), defer_sigint():
        signal.raise_signal(signal.SIGINT)
        raise OSError("no memory to start a process")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_fresh_process_shows_our_own_mistakes(capfd):
    with pytest.raises(RuntimeError, match="code 1"):
        run_isolated(divmod, 1, 0)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_door_works_where_little_is_installed(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(ABSENT)
    file = tmp_path / "results" / "out.json"
    words = (
        "sampling --preset tiny --batch 1 --batch-size batch --seconds 0.1 --repeats 2 --device cpu"
    )
    done = run_benchmark(*words.split(), "--json", str(file), PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "x real time" in done.stdout
    drawn = run_benchmark(*words.split(), "--plot", "out.png", PYTHONPATH=str(tmp_path))
    assert (drawn.returncode, drawn.stdout) == (2, "")
    assert drawn.stderr.startswith("error: --plot out.png: matplotlib is not installed: ")
    assert drawn.stderr.count("\n") == 1
    report = json.loads(file.read_text())
    # Every option that counts, those with defaults too, and no folder of this machine.
    assert report["command"] == (
        "python benchmark.py sampling --preset tiny --batch 1 --batch-size batch --seconds 0.1 "
        "--engine scan --weights float32 --repeats 2 --precision default --device cpu"
    )
    assert read_report(file).rows[0].batch == 1
    assert report["machine"]["cores"] >= 1
    assert report["device"] == "cpu"
    assert [(row["batch"], row["tile"], row["weights"]) for row in report["rows"]] == [
        (1, 1, "random")
    ]
    assert sorted(path.name for path in file.parent.iterdir()) == ["out.json"]


def test_training_s_figures_fit_together():
    row = run_isolated(measure_training, TRAINING_CASE)
    samples = TRAINING_CASE.batch * TINY.training.chunk_samples
    assert row.samples_per_sec * row.step_sec_median == pytest.approx(samples)
    assert row.x_real_time * row.step_sec_median == pytest.approx(samples / 16_000)
    assert len(row.step_secs) == 2 and row.step_sec_min == min(row.step_secs) > 0
    assert row.steps_per_call == TINY.training.steps_per_call
    assert row.share_of_peak == pytest.approx(row.flop_per_sec / row.peak_flop_per_sec)
    assert 0 < row.share_of_peak < 1
    assert row.compile_sec > row.step_sec_max
    sizes = [leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda: random_params(TINY)))]
    assert row.parameters == sum(sizes)


def test_training_runs_where_little_is_installed(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(ABSENT)
    file = tmp_path / "out.json"
    words = "training --preset tiny --variant unconditional --batch 8 --repeats 1 --device cpu"
    done = run_benchmark(*words.split(), "--json", str(file), PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(file.read_text())["rows"]
    assert (row["batch"], row["variant"], row["precision"]) == (8, "unconditional", "default")
    assert f"{row['samples_per_sec']:,.0f}" in done.stdout


def peer_copy(folder: Path) -> Path:
    """A folder with the names of a copy of samplernn-pytorch, and nothing in its files."""
    folder.mkdir()
    for name in FILES:
        (folder / name).touch()
    return folder


def test_a_peer_is_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(InputError, match=r"no model.py there: give a checkout of https://github"):
        Peer(tmp_path)
    lstm = dataclasses.replace(
        TRAINING_CASE,
        config=dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, cell="lstm")),
    )
    with pytest.raises(InputError, match=r"has the cell lstm.*leave --peer out"):
        peer_work(lstm, "cpu")


def test_a_peer_that_cannot_work_is_one_line(tmp_path):
    work = peer_work(TRAINING_CASE, "cpu")
    with pytest.raises(InputError, match=r"--peer-python .*/python: cannot be run \(No such file"):
        measure_peer(Peer(peer_copy(tmp_path / "copy"), str(tmp_path / "python")), work)
    with pytest.raises(InputError, match=r"ended with: ModuleNotFoundError: .*--peer-python"):
        measure_peer(Peer(tmp_path / "copy"), work)


def test_a_peer_that_generates_has_the_preset_s_sizes():
    work = sampling_work(PAPER, batch=3, repeats=2, platform="gpu")
    assert work.device == "cuda"
    assert (work.model.frame_sizes, work.model.dim) == ([2, 4], 1024)
    assert (work.batch, work.samples) == (3, 256)


def test_a_peer_s_sizes_are_the_preset_s():
    """Its frame sizes are ratios, finest first: 2 and 4 are our frames of 2 and 8."""
    work = peer_work(TrainingCase(PAPER, batch=3, repeats=2, precision="default"), "gpu")
    assert (work.model.frame_sizes, work.model.dim) == ([2, 4], 1_024)
    assert (work.model.q_levels, work.model.n_rnn) == (256, 1)
    assert (work.batch, work.chunk_samples, work.device) == (3, 512, "cuda")
    two = dataclasses.replace(PAPER.model, tiers=2, big_frame_size=16, frame_size=16)
    case = TrainingCase(dataclasses.replace(PAPER, model=two), 1, 1, "default")
    assert peer_work(case, "cpu").model.frame_sizes == [16]


def test_sitecustomize_takes_libraries_away(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(ABSENT)
    done = subprocess.run(
        [sys.executable, "-c", "import tyro"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "tyro is not installed here" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--preset dem", "--preset dem: unknown: did you mean demo?"),
        ("--preset tiny --batch 0", "--batch 0: must be at least 1"),
        ("--preset tiny --repeats -1", "--repeats -1: must be at least 1"),
        ("--preset tiny --batch-size 0", "--batch-size 0: must be at least 1"),
        ("--preset tiny --batch-size four", "--batch-size four: use a number or `batch`"),
        ("--preset tiny --seconds nan", "--seconds nan: use a number above 0"),
        ("--preset tiny --json /dev/null/out.json", "/dev/null: cannot write there"),
        ("--preset tiny --json .", "--json .: is a folder: name a file"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_measured(words, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "sampling", *words.split()])
    with pytest.raises(SystemExit) as caught:
        run_cli(main)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["sampling", "--batch", "one"], ["smapling"]])
def test_what_argparse_refuses_ends_with_code_2(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *words])
    with pytest.raises(SystemExit) as caught:
        run_cli(main)
    assert caught.value.code == 2
    assert "benchmark.py" in capsys.readouterr().err


def test_device_that_is_not_there_is_one_line():
    done = run_benchmark("sampling", "--preset", "tiny", "--batch", "1", "--device", "gpux")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --device gpux: use cpu, gpu, tpu\n"


def measuring_process(parent: int) -> int | None:
    """Return the process of a case, once `parent` has started one."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    return None


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("wait_sec", [0.0, 1.0])
def test_ctrl_c_ends_both_processes(wait_sec):
    words = "sampling --preset tiny --batch 1 --seconds 600 --repeats 1000 --device cpu"
    command = [sys.executable, "benchmark.py", *words.split()]
    # A session of its own stands for a terminal, whose Ctrl-C reaches every process in it.
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as door:
        try:
            while (child := measuring_process(door.pid)) is None:
                assert door.poll() is None
                time.sleep(0.01)
            time.sleep(wait_sec)
            os.killpg(door.pid, signal.SIGINT)
            assert door.wait(timeout=20) == 130
            assert door.stderr is not None
            assert door.stderr.read() == "stopped\n"
        finally:  # a failure above is not to be waited for until the benchmark is over
            if door.poll() is None:
                os.killpg(door.pid, signal.SIGKILL)
    # An orphan that has ended stays listed until the system's first process has taken its status.
    for _ in range(2_000):
        if not Path(f"/proc/{child}").exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"process {child} still lives")


CTRL_C_TAKEN_BY_A_THREAD = """
import os, signal, threading, time
from multiprocessing import resource_tracker, util
from benchmarks.fresh_process import in_fresh_process

def press():
    os.kill(os.getpid(), signal.SIGINT)

def start_and_press(*arguments, start=util.spawnv_passfds):
    child = start(*arguments)
    press()
    time.sleep(0.2)  # until the other thread has taken it
    return child

if __name__ == "__main__":
    {thread}.start()  # before the mask, which the thread would inherit
    resource_tracker.ensure_running()  # is not the process that is started below
    util.spawnv_passfds = {start}
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGINT}})
    try:
        in_fresh_process(time.sleep, 600)
    except KeyboardInterrupt:
        print("heard")
"""


@pytest.mark.parametrize(
    "when",
    [
        {"thread": "threading.Timer(2.0, press)", "start": "util.spawnv_passfds"},
        {
            "thread": "threading.Thread(target=time.sleep, args=(600,), daemon=True)",
            "start": "start_and_press",
        },
    ],
    ids=["while it is at work", "while it is started"],
)
def test_ctrl_c_is_heard_when_another_thread_takes_the_signal(tmp_path, when):
    """A system gives it to any thread that lets it through, and no read ends for that."""
    script = tmp_path / "press.py"
    script.write_text(CTRL_C_TAKEN_BY_A_THREAD.format(**when))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("heard\n", "", 0)


@pytest.mark.slow
def test_input_is_measured_on_random_clips(tmp_path):
    report = tmp_path / "input.json"
    words = [
        "--clips=6",
        "--videos=2",
        "--batch=2",
        "--repeats=2",
        "--extractions=1",
        f"--json={report}",
    ]
    command = [sys.executable, "benchmark.py", "input", *words]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert ended.returncode == 0, ended.stderr
    assert "29.6 clips/s; target 20 times that: 592 clips/s" in ended.stdout
    rows = json.loads(report.read_text())["rows"]
    assert [(row["stage"].split()[0], row["workers"]) for row in rows] == [
        ("shards", 1),
        ("shards", 2),
        ("videos", 1),
        ("videos", 2),
    ]
    # What the videos took is a difference of two runs, which on a busy machine may be anything.
    assert all(row["clips_per_sec"] > 0 and row["mb_per_sec"] > 0 for row in rows[:2])
    assert rows[0]["needed_clips_per_sec"] == pytest.approx(29.57, abs=0.01)


def test_extraction_is_the_median_of_what_first_runs_take_longer(tmp_path, monkeypatch):
    """Each repeat starts with nothing in its cache; one that others slowed down does not count."""
    (tmp_path / "a.mp4").write_bytes(bytes(3_000_000))
    seconds, folders = iter([9.0, 5.0, 30.0, 6.0, 11.0, 5.0]), []

    def prepare_seconds(videos: Path, out: Path, workers: int) -> float:
        folders.append(out)
        return next(seconds)

    monkeypatch.setattr(benchmark_input, "prepare_seconds", prepare_seconds)
    row = benchmark_input.measure_extraction(tmp_path, 12, 2, 3, tmp_path / "out")
    assert row.run_secs == [4.0, 24.0, 6.0]
    assert (row.clips_per_sec, row.mb_per_sec) == (2.0, 0.5)
    assert folders[::2] == folders[1::2] and len(set(folders)) == 3


def test_input_with_bad_words():
    ended = subprocess.run(
        [sys.executable, "benchmark.py", "input", "--batch", "0"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert (ended.returncode, ended.stderr) == (2, "error: --batch 0: must be at least 1\n")


FEATURES_CASE = FeaturesCase(repeats=2, precision="float32", batch=3, network=SMALL)


def test_features_figures_fit_together():
    row = run_isolated(measure_features, FEATURES_CASE)
    assert (row.network, row.devices, row.batch, len(row.run_secs)) == ("small", 1, 3, 2)
    median = sum(row.run_secs) / 2
    assert row.frames_per_sec == pytest.approx(3 / median)
    assert row.flop_per_frame == SMALL.flops(3)
    reached = row.frames_per_sec * row.flop_per_frame
    assert row.share_of_peak == pytest.approx(reached / row.peak_flop_per_sec)
    assert 0 < row.share_of_peak < 1
    assert "small" not in row_line(FEATURES_COLUMNS, row) and row.host_peak_mb > 0


def test_flow_s_figures():
    row = measure_flow("dis", 3)
    assert len(row.run_secs) == 3
    assert row.pairs_per_sec == pytest.approx(1 / sorted(row.run_secs)[1])


@pytest.mark.slow
def test_features_run_where_little_is_installed(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(ABSENT)
    file = tmp_path / "out.json"
    words = "features --batch 1 --repeats 1 --device cpu"
    done = run_benchmark(*words.split(), "--json", str(file), PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "cv2 is not installed here" in done.stdout
    report = json.loads(file.read_text())
    (row,) = report["rows"]
    assert (row["network"], row["batch"], report["flow_rows"]) == ("VGG19", 1, [])
    assert f"{row['frames_per_sec']:.2f}" in done.stdout


def test_words_of_features_that_cannot_be():
    for words, message in (
        (("features", "--precision", "high"), "--precision high: use one of default"),
        (("features", "--batch", "0"), "--batch 0: must be at least 1"),
        (("features", "--repeats", "0"), "--repeats 0: must be at least 1"),
    ):
        done = run_benchmark(*words)
        assert done.returncode == 2 and message in done.stderr
        assert done.stderr.count("\n") == 1
