"""docs/tpu.md is true where that can be told without a TPU: its options exist, its sums add up."""

import ast
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from benchmarks.arithmetic import product_flop
from v2s_jax.cli import train
from v2s_jax.cli.run import BAD_INPUT_CODE
from v2s_jax.config import PAPER
from v2s_jax.datasets import open_dataset
from v2s_jax.datasets.statistics import MAX_CLIPS
from v2s_jax.datasets.synthetic.command import make_synthetic
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.datasets.tfrecord import NO_LABEL
from v2s_jax.model import VideoToSound, forward, initial_carry
from v2s_jax.training.profile import CALLS, FIRST_CALL
from v2s_jax.training.state import init_state
from v2s_jax.training.step import DeviceBatch, train_step

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "tpu.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)
PEAKS = {"v5e": 197e12, "v6e": 918e12, "v4": 275e12}
"""FLOP/s in bf16, from Google's pages of the chips."""

ON_TPUS = "compute tpus "
GCLOUD = {
    "compute tpus accelerator-types list": {"zone"},
    "compute tpus tpu-vm versions list": {"zone"},
    "compute tpus tpu-vm create": {"zone", "accelerator-type", "version", "spot", "data-disk"},
    "compute tpus tpu-vm delete": {"zone"},
    "compute tpus tpu-vm ssh": {"zone", "worker", "command"},
    "compute tpus tpu-vm scp": {"zone", "worker"},
    "compute tpus queued-resources create": {
        "zone",
        "node-id",
        "accelerator-type",
        "runtime-version",
        "spot",
    },
    "compute tpus queued-resources describe": {"zone"},
    "compute tpus queued-resources delete": {"zone", "force"},
    "storage buckets create": {
        "location",
        "uniform-bucket-level-access",
        "enable-hierarchical-namespace",
    },
    "storage cp": {"r"},
}
"""Commands and options of gcloud 528, as far as the page needs them."""


def commands(text: str) -> list[list[str]]:
    """The words of every simple command, those inside --command="..." too."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("();<>|&"):
            found.append([])
            continue
        found[-1].append(word)
        if word.startswith("--command="):
            found[-1:-1] = commands(word.removeprefix("--command="))
    return [words for words in found if words]


def all_commands() -> list[list[str]]:
    return [words for block in BLOCKS for line in block.splitlines() for words in commands(line)]


def after(words: list[str], name: str) -> list[str]:
    return words[words.index(name) + 1 :]


TRAININGS = [after(words, "train.py") for words in all_commands() if "train.py" in words]
GCLOUDS = [words for words in all_commands() if words[0] == "gcloud"]


def gcloud_form(words: list[str]) -> str:
    told = " ".join(words[1:])
    return next(form for form in (*GCLOUD, "") if told.startswith(f"{form} " * bool(form)))


def rows(header: str) -> list[list[str]]:
    """The cells of the table whose first line begins with `header`."""
    table = GUIDE[GUIDE.index(f"\n{header}") + 1 :].split("\n\n")[0]
    lines = table.splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def number(cell: str) -> float:
    return float(cell.replace(",", ""))


def test_no_command_is_overlooked():
    written = "\n".join(BLOCKS)
    assert len(TRAININGS) == written.count("python train.py") == 5
    assert len(GCLOUDS) == len(re.findall(r"\bgcloud (?:compute|storage)", written)) == 24


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_blocks_are_bash(block):
    checked = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True)
    assert checked.returncode == 0 and not checked.stderr, checked.stderr


@pytest.mark.parametrize("words", TRAININGS, ids=" ".join)
def test_the_program_takes_its_options(words, monkeypatch):
    words = [re.sub(r"\$\{?\w+\}?", "x", word) for word in words]
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    args = train.parse()
    assert args.config == replace(PAPER, extractor="pixels")  # the demo set's
    assert args.run.distributed != bool(args.run.coordinator)  # all are for several processes
    assert args.device == ("tpu" if args.run.distributed else None)
    assert str(args.workdir) in " ".join(words) and "://" not in str(args.workdir)


def test_options_in_the_text_exist(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "paper", "--help"])
    with pytest.raises(SystemExit):
        train.parse()
    known = set(re.findall(r"--[\w.-]+", capsys.readouterr().out))
    named = set(re.findall(r"`(--(?:run|training|model)\.[\w-]+)", GUIDE))
    assert len(named) > 10 and named <= known


@pytest.mark.parametrize("words", GCLOUDS, ids=lambda words: " ".join(words)[:80])
def test_gcloud_commands_have_a_known_form(words):
    form = gcloud_form(words)
    assert form, words
    own = words[: words.index("--")] if "--" in words else words
    options = {word.lstrip("-").split("=")[0] for word in own if word.startswith("-")}
    assert options <= GCLOUD[form]
    assert form.startswith(ON_TPUS) == ("--zone=$ZONE" in own)
    if "ssh" in form:
        assert "--worker=all" in own or "--worker=0" in own


def test_no_known_form_is_left_over():
    assert {gcloud_form(words) for words in GCLOUDS} == set(GCLOUD)


def test_variables_are_given():
    given = set(re.findall(r"^(\w+)=", BLOCKS[0], re.MULTILINE))
    used = set(re.findall(r"\$\{?([A-Z]\w*)", "\n".join(BLOCKS)))
    assert used == given


def test_what_runs_in_the_background_lets_the_connection_go():
    """A chain of `&&` in the background is a shell that holds the connection's output."""
    started = [
        word
        for words in GCLOUDS
        for word in words
        if word.startswith("--command=") and word.endswith("&")
    ]
    assert len(started) == 2
    for command in started:
        last = command.split(";")[-1]
        assert "nohup " in last and "&&" not in last
        assert last.endswith(" 2>&1 < /dev/null &") and " > " in last


@pytest.mark.parametrize(
    ("code", "times", "loop_ends_with"),
    [(0, 1, 0), (2, 1, 2), (143, 1, 143), (134, 3, 0), (137, 3, 0)],
)
def test_the_loop_restarts_after_a_lost_process_only(code, times, loop_ends_with, tmp_path):
    """With a `python` that ends with `code` twice, then well."""
    (script,) = (block for block in BLOCKS if block.startswith("#!"))
    activate = tmp_path / "v2s_jax" / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text("", encoding="utf-8")
    for name, told in {
        "python": f'echo "$@" >> ~/called\n[ $(wc -l < ~/called) -gt 2 ] || exit {code}',
        "sleep": 'echo "$@" >> ~/slept',
    }.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/bash\n{told}\n", encoding="utf-8")
        program.chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-c", script],
        env=os.environ | {"HOME": str(tmp_path), "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == loop_ends_with, ended.stderr
    called = (tmp_path / "called").read_text().splitlines()
    assert len(called) == times and called[0].startswith("train.py paper --data gs://")


def test_exit_codes_and_defaults_are_the_program_s():
    codes = [int(code) for code, _ in rows("| exit code")]
    assert codes == [0, BAD_INPUT_CODE, train.TERMINATED_CODE, 128 + 6, 128 + 9]
    training, run = PAPER.training, train.RunOptions()
    text = " ".join(GUIDE.split())
    for told in (
        f"`--run.heartbeat-sec` ({run.heartbeat_sec})",
        f"at most {training.checkpoint_every_steps:,} updates",
        f"a line for every {training.log_every_steps} updates",
        f"(each {training.eval_every_steps:,} updates)",
        f"up to {MAX_CLIPS} clips",
    ):
        assert told in text, told
    assert (training.log_audio_clips, CALLS, FIRST_CALL) == (2, 5, 3)


def test_clips_divide_over_the_devices():
    clips = PAPER.training.batch_clips
    table = rows("| devices |")
    assert len(table) == 6
    for devices, on_each in table:
        assert int(devices) * int(on_each) == clips
    clip_samples = 159_744
    assert f"{clip_samples:,} samples" in GUIDE
    assert f"serves for {clip_samples // PAPER.training.chunk_samples} updates" in GUIDE


@pytest.mark.slow
def test_the_line_that_labels_the_index_does(tmp_path):
    preset = Preset("demo", train_clips=2, test_clips=1, video_frames=4, categories=("drum",))
    folder = tmp_path / "datasets" / "demo"
    make_synthetic(folder, preset, seed=0, workers=1, overwrite=False)
    assert (open_dataset(folder, "train").index.label == NO_LABEL).all()
    (line,) = (words for words in all_commands() if words[:2] == ["python", "-c"])
    subprocess.run(
        [sys.executable, *line[1:]],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        timeout=120,
    )
    for split in ("train", "test"):
        data = open_dataset(folder, split)
        assert (data.index.label != NO_LABEL).all()
        assert data.index_file.match(f"*/demo/*/*/*-{split}.index.npy")


def test_python_on_the_command_line_is_python():
    lines = [
        words[words.index("-c") + 1]
        for words in all_commands()
        if "-c" in words and Path(words[words.index("-c") - 1]).name == "python"
    ]
    assert len(lines) == 2
    for line in lines:
        ast.parse(line)


def kernels() -> list[tuple[int, int, int]]:
    """Inputs, outputs and samples of one use of each matrix product of `paper`, from its config."""
    model, chunk = PAPER.model, PAPER.training.chunk_samples
    assert (model.variant, model.cell, model.rnn_layers, model.tiers) == ("frame", "gru", 1, 3)
    assert model.visual_proj_dim is None
    gates = 3 * model.dim
    big, small = model.big_frame_size, model.frame_size
    return [
        (model.appearance_dim, gates, min(chunk, PAPER.clock.samples_per_video_frame)),
        (big, gates, big),
        (model.dim, gates, big),
        (model.dim, big // small * model.dim, big),
        (small, gates, small),
        (model.dim, gates, small),
        (model.dim, gates, small),
        (model.dim, small * model.mlp_dim, small),
        (small * model.embedding_dim, model.mlp_dim, 1),
        (model.mlp_dim, model.mlp_dim, 1),
        (model.mlp_dim, model.q_levels, 1),
    ]


MULTIPLY_ADDS = sum(inputs * outputs // samples for inputs, outputs, samples in kernels())
RUN_SAMPLES = PAPER.training.steps * PAPER.training.batch_clips * PAPER.training.chunk_samples
RUN_FLOP = 2 * 3 * MULTIPLY_ADDS * RUN_SAMPLES


def test_multiply_adds_are_those_of_the_config():
    *products, (name, *_, told) = rows("| product |")
    assert name == "sum" and number(told) == MULTIPLY_ADDS
    for (_, kernel, once_per, told), (inputs, outputs, samples) in zip(
        products, kernels(), strict=True
    ):
        assert kernel == f"{inputs:,} x {outputs:,}"
        assert int(once_per) == samples
        assert number(told) == inputs * outputs / samples


def test_a_run_s_flop_are_those_of_the_config():
    training = PAPER.training
    (_, forward_), (_, both), (samples_of, samples), (_, run) = rows("| what | figure |")
    assert number(forward_) == 2 * MULTIPLY_ADDS
    assert number(both) == 6 * MULTIPLY_ADDS
    assert number(samples) == RUN_SAMPLES
    assert samples_of.endswith(
        f"{training.steps:,} updates x {training.batch_clips} clips x {training.chunk_samples}"
    )
    assert run == f"{RUN_FLOP:.3e}".replace("e+", "e")
    assert f"samples_per_sec x {6 * MULTIPLY_ADDS:,} /" in GUIDE


def test_hours_follow_from_the_flop():
    table = rows("| chip | peak")
    assert [cells[0] for cells in table] == list(PEAKS)
    for chip, peak, at_20, at_5, hours, ms_per_update in table:
        assert peak == f"{PEAKS[chip] / 1e12:.0f} TFLOP/s"
        sec = RUN_FLOP / (PEAKS[chip] * 0.2)
        assert at_20 == f"{sec / 3600:.2f}"
        assert at_5 == f"{4 * sec / 3600:.2f}"
        assert hours == f"{sec / 4 / 3600:.2f}"
        assert ms_per_update == f"{sec / 4 / PAPER.training.steps * 1e3:.1f}"
    sec = RUN_FLOP / (4 * PEAKS["v5e"] * 0.2)
    assert f"2.744e17 / (4 x 197e12 x 0.2) = {sec:,.0f} s = {sec / 3600:.2f} h" in GUIDE


def test_ticks_follow_from_the_config():
    model, chunk = PAPER.model, PAPER.training.chunk_samples
    big, small = chunk // model.big_frame_size, chunk // model.frame_size
    ticks = 2 * (big + small)
    text = " ".join(GUIDE.split())
    assert f"{big} ticks of big frames and {small} of frames" in text
    assert f"{ticks} in all" in text
    update_sec = RUN_FLOP / (4 * PEAKS["v6e"] * 0.2) / PAPER.training.steps
    assert f"The {update_sec * 1e3:.1f} ms above would" in text
    assert f"leave {update_sec / ticks * 1e6:.1f} µs to a tick" in text


def test_the_program_multiplies_as_much_as_the_page_says():
    """Counted in the traced program, at the sizes of `paper`; nothing is computed."""
    clips, chunk = PAPER.training.batch_clips, PAPER.training.chunk_samples
    frame_samples = PAPER.clock.samples_per_video_frame
    model = VideoToSound(PAPER)
    state = jax.eval_shape(lambda: init_state(model, None))
    carry = jax.eval_shape(lambda params: initial_carry(model, params, clips), state.params)
    features = jax.ShapeDtypeStruct((clips, 1, PAPER.model.appearance_dim), jnp.float32)
    levels = jax.ShapeDtypeStruct((clips, chunk), jnp.int32)
    counted = product_flop(partial(forward, model), state.params, carry, levels, features)
    # Once per chunk, whatever the clips: the frame tier's two input maps as one. The page leaves
    # it out.
    folded = 2 * PAPER.model.frame_size * PAPER.model.dim * 3 * PAPER.model.dim
    assert counted == 2 * MULTIPLY_ADDS * clips * chunk + folded

    batch = DeviceBatch(
        jax.ShapeDtypeStruct((clips, frame_samples), jnp.uint8),
        jax.ShapeDtypeStruct((clips, 1, PAPER.model.appearance_dim), jnp.float16),
        jax.ShapeDtypeStruct((clips, frame_samples), bool),
    )
    step = partial(train_step, model, 1, total=lambda tree: tree)
    updated = product_flop(step, state, carry, batch)
    assert updated == pytest.approx(6 * MULTIPLY_ADDS * clips * chunk, rel=0.01)
