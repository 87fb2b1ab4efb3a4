"""Disks that are full or cannot be written, data that disappear: one line, and nothing is lost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.training_clips import Clips, data_of, logged, small
from v2s_jax.checkpoints import load_params
from v2s_jax.cli.run import run_cli
from v2s_jax.config import TINY, Config
from v2s_jax.datasets.synthetic.command import make_synthetic
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.run_folder import CHECKPOINTS
from v2s_jax.training.loop import train

ROOT = Path(__file__).parents[2]
PATIENCE_SEC = 180
DISK = "2m"  # room for a few checkpoints of the tiny preset, 0.35 MB each


def config_of(steps: int) -> Config:
    return small(TINY, steps=steps, checkpoint_every_steps=20, keep_checkpoints=100)


def child(workdir: str, steps: str) -> None:
    config = config_of(int(steps))
    clips = Clips(config)
    run_cli(lambda: train(config, data_of(clips), Path(workdir), jax.devices()[:1]))


def child_words(workdir: Path, steps: int) -> list[str]:
    code = "import sys; from tests.training.test_faults import child; child(*sys.argv[1:])"
    return [sys.executable, "-c", code, str(workdir), str(steps)]


def run(words: list[str], **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SEC, **options
    )


def on_disk(folder: Path, options: str, words: list[str]) -> list[str]:
    """Run with a disk of its own mounted at `folder`, seen by this process alone."""
    mount = f'mount -t tmpfs -o {options} none "$1" && shift && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh", str(folder), *words]


def skip_unless_mountable(folder: Path) -> None:
    if not shutil.which("unshare") or run(on_disk(folder, "ro", ["true"])).returncode:
        pytest.skip("this system lets nobody mount a disk of his own")


def one_line_of(ended: subprocess.CompletedProcess[str]) -> str:
    """What a run that was refused said, without its progress."""
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_its_checkpoints_stay(tmp_path):
    """The run on the small disk is copied away before the disk goes, and goes on elsewhere."""
    disk, copy, whole = (tmp_path / name for name in ("disk", "copy", "whole"))
    for folder in (disk, whole):
        folder.mkdir()
    skip_unless_mountable(disk)
    script = f'"$@"; code=$?; cp -r {disk} {copy}; exit $code'
    ended = run(on_disk(disk, f"size={DISK}", ["sh", "-c", script, "sh", *child_words(disk, 400)]))
    line = one_line_of(ended)
    assert "No space left on device" in line and "free space" in line
    steps = [int(p.name) for p in (copy / CHECKPOINTS).iterdir() if p.name.isdigit()]
    assert steps and max(steps) < 400
    again = run(child_words(copy, 400))
    assert again.returncode == 0, again.stderr
    assert f"going on from step {max(steps)}" in again.stdout
    assert run(child_words(whole, 400)).returncode == 0
    for a, b in zip(
        *(jax.tree.leaves(load_params(folder)[1]) for folder in (copy, whole)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert [line["step"] for line in logged(copy)] == [line["step"] for line in logged(whole)]


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_is_told(tmp_path):
    """What a quota does: writing fails, though the disk has room."""
    limited = ["sh", "-c", 'ulimit -f 16; exec "$@"', "sh", *child_words(tmp_path, 400)]
    assert "File too large" in one_line_of(run(limited))


def test_a_folder_that_cannot_be_written_is_told_first(tmp_path):
    skip_unless_mountable(tmp_path)
    line = one_line_of(run(on_disk(tmp_path, "ro", child_words(tmp_path, 4))))
    assert "Read-only file system" in line and "choose another --workdir" in line


def test_a_shard_that_disappears_ends_the_run_with_its_name(tmp_path, monkeypatch, capsys):
    """Before the run, and in the middle of it; the run goes on when the shard is back."""
    from v2s_jax.cli import train as command

    made = tmp_path / "made"
    preset = Preset("mini", train_clips=4, test_clips=1, video_frames=4, categories=("drum",))
    make_synthetic(made, preset, seed=0, workers=1, overwrite=False)
    (shard,) = made.rglob("*train.tfrecord*")
    hidden = tmp_path / shard.name
    words = ["train.py", "tiny", "--data", str(made), "--workdir", str(tmp_path / "run")]
    words += ["--training.batch-clips", "8", "--training.steps", "40"]
    words += ["--training.eval-every-steps", "0", "--training.checkpoint-every-steps", "4"]

    def ended() -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as exit_:
            run_cli(command.main)
        return exit_.value.code, "".join(capsys.readouterr())

    shard.rename(hidden)
    code, told = ended()
    assert code == 2 and str(shard.name) in told and "Traceback" not in told

    shutil.copy(hidden, shard)
    os.utime(shard, ns=(hidden.stat().st_atime_ns, hidden.stat().st_mtime_ns))
    reading = command.batches

    def disappearing(data, config, first, rows):
        for number, batch in enumerate(reading(data, config, first, rows)):
            if number == 2:
                shard.unlink()
            yield batch

    monkeypatch.setattr(command, "batches", disappearing)
    code, told = ended()
    assert code == 2 and str(shard.name) in told and "Traceback" not in told
    monkeypatch.setattr(command, "batches", reading)

    shutil.copy(hidden, shard)
    os.utime(shard, ns=(hidden.stat().st_atime_ns, hidden.stat().st_mtime_ns))
    code, told = ended()
    assert code == 0, told
    assert "going on from step" in told
