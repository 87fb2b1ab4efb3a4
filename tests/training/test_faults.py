"""Full or read-only disks and missing data: one line, and nothing is lost."""

import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.training_clips import Clips, read_log, small, training_data
from v2s_jax.checkpoints import load_params
from v2s_jax.cli import train as train_command
from v2s_jax.cli.run import run_cli
from v2s_jax.config import TINY, Config
from v2s_jax.run_folder import CHECKPOINTS
from v2s_jax.training.loop import train

ROOT = Path(__file__).parents[2]
PATIENCE_SEC = 180
DISK = "2m"  # room for a few checkpoints of the tiny preset, 0.35 MB each


def make_config(steps: int) -> Config:
    return small(TINY, steps=steps, checkpoint_every_steps=20, keep_checkpoints=100)


def child(workdir: str, steps: str) -> None:
    config = make_config(int(steps))
    clips = Clips(config)
    run_cli(lambda: train(config, training_data(clips), Path(workdir), jax.devices()[:1]))


def child_command(workdir: Path, steps: int) -> list[str]:
    code = "import sys; from tests.training.test_faults import child; child(*sys.argv[1:])"
    return [sys.executable, "-c", code, str(workdir), str(steps)]


def run(command: list[str], **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SEC, **options
    )


def on_disk(folder: Path, options: str, command: list[str]) -> list[str]:
    """Run with a disk mounted at `folder` that only this process sees."""
    mount = f'mount -t tmpfs -o {options} none "$1" && shift && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh", str(folder), *command]


def skip_unless_mountable(folder: Path) -> None:
    if not shutil.which("unshare") or run(on_disk(folder, "ro", ["true"])).returncode:
        pytest.skip("this system does not allow mounting a disk")


def error_line(ended: subprocess.CompletedProcess[str]) -> str:
    """Return the error line of a run that exited with code 2."""
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.slow
def test_full_disk_ends_the_run_and_keeps_its_checkpoints(tmp_path):
    """The run is copied from the small disk before that is unmounted, and resumes elsewhere."""
    disk, copy, whole = (tmp_path / name for name in ("disk", "copy", "whole"))
    for folder in (disk, whole):
        folder.mkdir()
    skip_unless_mountable(disk)
    script = f'"$@"; code=$?; cp -r {disk} {copy}; exit $code'
    ended = run(
        on_disk(disk, f"size={DISK}", ["sh", "-c", script, "sh", *child_command(disk, 400)])
    )
    line = error_line(ended)
    assert "No space left on device" in line and "free space" in line
    steps = [int(p.name) for p in (copy / CHECKPOINTS).iterdir() if p.name.isdigit()]
    assert steps and max(steps) < 400
    again = run(child_command(copy, 400))
    assert again.returncode == 0, again.stderr
    assert f"resuming from step {max(steps)}" in again.stdout
    assert run(child_command(whole, 400)).returncode == 0
    for a, b in zip(
        *(jax.tree.leaves(load_params(folder)[1]) for folder in (copy, whole)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert [line["step"] for line in read_log(copy)] == [line["step"] for line in read_log(whole)]


@pytest.mark.slow
def test_file_size_limit_is_reported(tmp_path):
    """Like a quota: writing fails, although the disk has free space."""
    limited = ["sh", "-c", 'ulimit -f 16; exec "$@"', "sh", *child_command(tmp_path, 400)]
    assert "File too large" in error_line(run(limited))


@pytest.mark.slow
def test_read_only_folder_is_reported_first(tmp_path):
    skip_unless_mountable(tmp_path)
    line = error_line(run(on_disk(tmp_path, "ro", child_command(tmp_path, 4))))
    assert "Read-only file system" in line and "choose another --workdir" in line


@pytest.mark.slow
def test_missing_shard_ends_the_run(tmp_path, monkeypatch, run_command, fixture_dataset):
    """At the start and later; the run resumes when the shard is restored."""
    data = shutil.copytree(fixture_dataset, tmp_path / "data")
    (shard,) = data.rglob("*train.tfrecord*")
    hidden = tmp_path / shard.name
    args = ["tiny", "--data", data, "--workdir", tmp_path / "run"]
    args += ["--training.batch-clips", 8, "--training.steps", 40]
    args += ["--training.eval-every-steps", 0, "--training.checkpoint-every-steps", 4]
    read_batches = train_command.batches

    def restore_shard() -> None:
        shutil.copy2(hidden, shard)

    def remove_shard_after_two_batches(data, config, first, rows):
        for number, batch in enumerate(read_batches(data, config, first, rows)):
            if number == 2:
                shard.unlink()
            yield batch

    shard.rename(hidden)
    code, _, err = run_command(train_command.main, *args)
    assert code == 2 and shard.name in err and "Traceback" not in err

    restore_shard()
    with monkeypatch.context() as patch:
        patch.setattr(train_command, "batches", remove_shard_after_two_batches)
        code, _, err = run_command(train_command.main, *args)
    assert code == 2 and shard.name in err and "Traceback" not in err

    restore_shard()
    code, out, err = run_command(train_command.main, *args)
    assert code == 0, err
    assert "resuming from step" in out
