"""A full disk, one that cannot be written, Ctrl-C: finished clips stay, and the run goes on."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.training.test_faults import ROOT, error_line, on_disk, run, skip_unless_mountable
from v2s_jax.cli.run import run_cli
from v2s_jax.config import Clock
from v2s_jax.datasets import open_dataset
from v2s_jax.datasets.synthetic.clip_files import read_clip
from v2s_jax.datasets.synthetic.generate_dataset import generate_dataset
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.datasets.synthetic.spec import DatasetSpec
from v2s_jax.features.pixels import PixelsExtractor

pytestmark = pytest.mark.slow

MINI = Preset("mini", train_clips=10, test_clips=1, video_frames=8, categories=("drum", "printer"))
CLIPS = 22
DISK = "600k"  # room for some of the clips, 24 kB each, and of the records
PATIENCE_SEC = 120


def make(out: Path, workers: int = 1) -> Path:
    return generate_dataset(out, DatasetSpec(MINI, 3), workers)


def child(out: str) -> None:
    """What the processes run that are to fail."""
    run_cli(lambda: print(make(Path(out), workers=2)))


def child_command(out: Path) -> list[str]:
    code = f"import sys; from {__name__} import child; child(sys.argv[1])"
    return [sys.executable, "-c", code, str(out)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """What a run makes that nothing happens to."""
    out = tmp_path_factory.mktemp("whole")
    make(out)
    return out


def check_parts(out: Path) -> dict[Path, int]:
    """Every clip with a label can be read in full; nothing else has a name, but its video.

    Return when the labelled files were last changed.
    """
    labels = sorted(out.glob("clips/*/*.json"))
    assert 0 < len(labels) < CLIPS
    for label in labels:
        assert json.loads(label.read_text())["clip_id"] == label.stem
        video = label.with_suffix(".mp4")
        record = read_clip(video, "any", Clock(), PixelsExtractor())
        assert record.waveform.size == 8 * 1_024
    assert not list((out / "synthetic_mini").glob("*"))  # no half of a data set, hidden or not
    assert not list(out.glob("clips/*/.*"))
    parts = [path for label in labels for path in (label, label.with_suffix(".mp4"))]
    return {path: path.stat().st_mtime_ns for path in parts}


def check_goes_on(out: Path, whole: Path, finished: dict[Path, int]) -> None:
    """The run, started again, leaves the finished clips alone and ends as one without a fault."""
    make(out)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    for folder, pattern in (("clips", "*/*"), ("synthetic_mini", "2.0.0/*.tfrecord*")):
        made, wanted = (
            {
                path.relative_to(there): path.read_bytes()
                for path in (there / folder).glob(pattern)
                if "index" not in path.name
            }
            for there in (out, whole)
        )
        assert made == wanted
    for split, count in (("train", 20), ("test", 2)):
        pairs = zip(open_dataset(out, split), open_dataset(whole, split), strict=True)
        assert sum(np.array_equal(a.waveform, b.waveform) for a, b in pairs) == count


def test_a_full_disk_ends_the_run_and_finished_clips_stay(tmp_path, whole):
    """The small disk's files are copied away before it goes, and the run goes on there."""
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    skip_unless_mountable(disk)
    script = f'"$@"; code=$?; cp -a {disk} {copy}; exit $code'
    ended = run(on_disk(disk, f"size={DISK}", ["sh", "-c", script, "sh", *child_command(disk)]))
    line = error_line(ended)
    assert "No space left on device" in line and "free space" in line
    check_goes_on(copy, whole, check_parts(copy))


def test_a_disk_that_cannot_be_written_is_one_line(tmp_path):
    skip_unless_mountable(tmp_path)
    line = error_line(run(on_disk(tmp_path, "ro", child_command(tmp_path))))
    assert "Read-only file system" in line and str(tmp_path) in line


def test_ctrl_c_leaves_finished_clips_from_which_the_run_goes_on(tmp_path, whole):
    with subprocess.Popen(
        child_command(tmp_path), cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        limit = time.monotonic() + PATIENCE_SEC
        while len(list(tmp_path.glob("clips/*/*.json"))) < 3:
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE_SEC)
    assert process.returncode == 130
    assert told.endswith(
        f"\n{tmp_path / 'clips'}: finished clips are kept; rerun the same command to resume\n"
        "stopped\n"
    )
    assert "Traceback" not in told
    check_goes_on(tmp_path, whole, check_parts(tmp_path))
