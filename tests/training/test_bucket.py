"""Runs in a bucket: files over HTTP against real servers, the lock, and the copies."""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from etils import epath

from tests.bucket_servers import BUCKET, open_store
from tests.child_processes import wait_for
from v2s_jax.bucket import Bucket, url_of
from v2s_jax.checkpoints import BEST_PARAMS_FILE
from v2s_jax.errors import InputError
from v2s_jax.io import directory_lock
from v2s_jax.run_folder import COMMIT_FILE
from v2s_jax.training import bucket_lock, bucket_workdir
from v2s_jax.training.bucket_lock import LOCK_FILE, BucketLock
from v2s_jax.training.bucket_workdir import open_workdir
from v2s_jax.training.checkpoint import SHORTER_RUN_FOLDER

NUMBERS = itertools.count()


@pytest.fixture(scope="module", params=["s3", "gs"])
def server(request):
    with open_store(request.param) as proxy:
        proxy.scheme = request.param
        yield proxy


@pytest.fixture
def store(server, request):
    """A bucket with an unused URL."""
    server.url = f"{server.scheme}://{BUCKET}/{request.node.originalname}-{next(NUMBERS)}/run"
    server.requests.clear()
    yield server
    server.heal()


@pytest.fixture
def quick(monkeypatch):
    """Locks and copies at the pace of tests."""
    monkeypatch.setattr(bucket_lock, "RENEW_SEC", 0.1)
    monkeypatch.setattr(bucket_lock, "LEASE_SEC", 1.0)
    monkeypatch.setattr(bucket_lock, "SETTLE_SEC", 0.1)
    monkeypatch.setattr(bucket_workdir, "POLL_SEC", 0.05)
    monkeypatch.setattr(bucket_workdir, "MIN_INTERVAL_SEC", 0.1)
    monkeypatch.setattr(bucket_workdir, "FINAL_PAUSE_SEC", 0.1)


def write_checkpoint(folder: Path, step: int, data: bytes = b"weights") -> None:
    """Write the files of a checkpoint as Orbax does: renamed when all are there."""
    unfinished = folder / "checkpoints" / f"{step}.orbax-checkpoint-tmp"
    (unfinished / "state" / "d").mkdir(parents=True)
    (unfinished / "state" / "d" / "data").write_bytes(data)
    (unfinished / "state" / COMMIT_FILE).write_text("done")  # Orbax marks each item, too
    (unfinished / COMMIT_FILE).write_text("done")
    unfinished.rename(folder / "checkpoints" / str(step))


@pytest.mark.parametrize(
    ("path", "url"),
    [
        (Path("gs://bucket/runs/x"), "gs://bucket/runs/x"),
        ("s3://bucket/runs/x/", "s3://bucket/runs/x"),
        (Path("gs://bucket") / "x" / "drum", "gs://bucket/x/drum"),
        (Path("runs/x"), None),
        (Path("/runs/gs:/x"), None),
        (Path("c:/runs"), None),
        (epath.Path("gs://bucket/x"), "gs://bucket/x"),
        (epath.Path("runs/x"), None),
        ("runs/a://b", None),
    ],
)
def test_url_of(path, url):
    assert url_of(path) == url


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # gcsfs
def test_files_are_written_listed_and_read(store, tmp_path):
    bucket = Bucket(store.url)
    assert bucket.names() == [] and bucket.read("none") is None
    bucket.write("log", b"1")
    bucket.write("log", b"2")
    with pytest.raises(FileExistsError):
        bucket.write("log", b"3", is_new=True)
    assert bucket.read("log") == b"2"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "big").write_bytes(os.urandom(7_000_000))  # more than one part
    bucket.upload(tmp_path, ["sub/big"])
    Bucket(f"{store.url}2").write("log", b"a neighbour")
    assert sorted(bucket.names()) == ["log", "sub/big"] and bucket.names("sub") == ["sub/big"]
    bucket.download(["log", "sub/big"], tmp_path / "copy")
    assert (tmp_path / "copy/sub/big").read_bytes() == (tmp_path / "sub/big").read_bytes()
    bucket.remove(["log", "log", "none"])
    assert bucket.names() == ["sub/big"]
    assert Bucket(f"{store.url}/sub/big").is_file() and not bucket.is_file()


def test_listings_are_not_remembered(store):
    ours, theirs = Bucket(store.url), Bucket(store.url)
    assert ours.names() == []
    theirs.write("checkpoints/1/a", b"")
    assert ours.names() == ["checkpoints/1/a"]


@pytest.mark.parametrize("fault", [503, "cut", "answer", 0.5])
def test_transient_faults_are_retried(store, tmp_path, fault):
    """Refused, cut in the request or in the answer, slow: twice each."""
    data = os.urandom(300_000)
    (tmp_path / "file").write_bytes(data)
    bucket = Bucket(store.url)
    store.fail(fault, "(PUT|POST) .*file" if fault != "answer" else "GET .*file", times=2)
    bucket.upload(tmp_path, ["file"])
    bucket.download(["file"], tmp_path / "copy")
    assert (tmp_path / "copy" / "file").read_bytes() == data


def test_run_is_copied_as_it_grows_and_read_again(store, quick):
    with open_workdir(Path(store.url)) as folder:
        with directory_lock(folder):  # as `v2s train` does
            assert not any(folder.iterdir())
        (folder / "metrics.jsonl").write_text('{"step": 1}\n')
        write_checkpoint(folder, 1)
        bucket = Bucket(store.url)
        wait_for(lambda: bucket.read(f"checkpoints/1/{COMMIT_FILE}"))
        assert bucket.read("metrics.jsonl") == b'{"step": 1}\n'
        assert bucket.read("checkpoints/1/state/d/data") == b"weights"
        (folder / "checkpoints" / "2.orbax-checkpoint-tmp").mkdir()
        (folder / "checkpoints" / "2.orbax-checkpoint-tmp" / "half").touch()
        write_checkpoint(folder, 3)
        (folder / "profile" / "plugins").mkdir(parents=True)
        (folder / "profile" / "plugins" / "trace").write_bytes(b"trace")
    assert not folder.exists()
    names = bucket.names()
    assert "profile/plugins/trace" in names and LOCK_FILE not in names
    assert not any("orbax-checkpoint-tmp" in name for name in names)
    with open_workdir(Path(store.url)) as folder:
        steps = sorted(path.name for path in (folder / "checkpoints").iterdir())
        assert steps == ["1", "3"]
        assert (folder / "checkpoints/3/state/d/data").read_bytes() == b"weights"
        assert (folder / "metrics.jsonl").read_text() == '{"step": 1}\n'
        # The oldest is removed, and the other one replaced under the same step.
        (folder / "corrupt").mkdir()
        (folder / "checkpoints/3").rename(folder / "corrupt/3.0")
        (folder / "checkpoints/1").rename(folder / "gone")
        write_checkpoint(folder, 3, b"again")
    assert bucket.names("checkpoints/1") == []
    assert bucket.read("checkpoints/3/state/d/data") == b"again"
    assert bucket.read("corrupt/3.0/state/d/data") == b"weights"
    with open_workdir(Path(store.url)) as folder:
        assert (folder / "corrupt/3.0").is_dir()  # the name is taken


def test_unfinished_checkpoints_are_removed_at_the_start(store, quick):
    """An upload that was killed has no commit file."""
    bucket = Bucket(store.url)
    bucket.write("checkpoints/4/state/d/data", b"half")
    bucket.write(f"checkpoints/2/{COMMIT_FILE}", b"")
    bucket.write("other/checkpoints/4/state", b"not ours")
    with open_workdir(Path(store.url)) as folder:
        assert [path.name for path in (folder / "checkpoints").iterdir()] == ["2"]
        assert bucket.names("checkpoints/4") == []
    assert bucket.read("other/checkpoints/4/state") == b"not ours"


def test_stale_listing_costs_the_newest_checkpoint_only(store, quick):
    """The run goes on from the one before, and replaces what it did not see."""
    for step in (1, 2):
        with open_workdir(Path(store.url)) as folder:
            write_checkpoint(folder, step)
    store.fail("stale", "GET .*prefix=")
    with open_workdir(Path(store.url)) as folder:
        assert [path.name for path in (folder / "checkpoints").iterdir()] == ["1"]
        write_checkpoint(folder, 2, b"again")
    store.heal()
    with open_workdir(Path(store.url)) as folder:
        assert {path.name for path in (folder / "checkpoints").iterdir()} == {"1", "2"}
        assert (folder / "checkpoints/2/state/d/data").read_bytes() == b"again"


def test_commit_file_is_written_last_and_removed_first(store, quick):
    with open_workdir(Path(store.url)) as folder:
        write_checkpoint(folder, 1)
    writes = [path for method, path in store.requests if method in ("PUT", "POST")]
    about = [path for path in writes if "checkpoints/1/" in path]
    commit = f"checkpoints/1/{COMMIT_FILE}"
    assert commit in about[-1] and not any(commit in path for path in about[:-1])
    store.requests.clear()
    with open_workdir(Path(store.url)) as folder:
        (folder / "checkpoints/1").rename(folder / "gone")
    deleted = [path for method, path in store.requests if method == "DELETE"]
    assert commit in next(path for path in deleted if "checkpoints/1/" in path), deleted


def test_run_outlives_an_outage(store, quick, caplog):
    """What happened meanwhile is copied afterwards; one warning, not one per attempt."""
    bucket = Bucket(store.url)
    with open_workdir(Path(store.url)) as folder:
        store.fail(400, "(PUT|POST) (?!.*lock)")
        write_checkpoint(folder, 1)
        wait_for(lambda: "the run goes on" in caplog.text)
        (folder / "metrics.jsonl").write_text("later")
        time.sleep(0.5)
        assert caplog.text.count("the run goes on") == 1
        store.heal()
    assert bucket.read("metrics.jsonl") == b"later"
    assert bucket.read(f"checkpoints/1/{COMMIT_FILE}")
    assert store.url in caplog.text


def test_outage_at_the_end_keeps_the_local_folder(store, quick):
    with (
        pytest.raises(InputError, match="cannot be written") as error,
        open_workdir(Path(store.url)) as folder,
    ):
        store.fail(400, "(PUT|POST) (?!.*lock)")
        write_checkpoint(folder, 7)
    kept = Path(str(error.value).split("is in ")[1].split(": copy")[0])
    assert (kept / "checkpoints/7/state/d/data").read_bytes() == b"weights"


def test_two_runs_lock_each_other_out(store, quick, capsys):
    with open_workdir(Path(store.url)):
        with pytest.raises(InputError, match=rf"process {os.getpid()} on .* is writing there"):
            BucketLock(Bucket(store.url))
        assert Bucket(store.url).read(LOCK_FILE)
    with open_workdir(Path(store.url)):
        pass


def test_silent_lock_is_taken_over(store, quick, capsys):
    """Of a machine that was lost; the fields of a dead process of this one count at once."""
    bucket = Bucket(store.url)
    bucket.write(LOCK_FILE, json.dumps({"token": "a", "host": "tpu", "process": 7}).encode())
    with BucketLock(bucket):
        assert "locked by process 7 on tpu: waiting" in capsys.readouterr().out
    assert bucket.read(LOCK_FILE) is None
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    fields = {"token": "a", "process": dead.pid, "machine": bucket_lock._machine()}
    bucket.write(LOCK_FILE, json.dumps(fields).encode())
    with BucketLock(bucket):
        assert "waiting" not in capsys.readouterr().out
    bucket.write(LOCK_FILE, b"corrupt")
    with BucketLock(bucket):
        pass


def test_one_of_many_gets_the_lock(store, quick):
    bucket = Bucket(store.url)
    bucket.write(LOCK_FILE, b'{"token": "of a lost machine"}')
    held, refused, end = [], [], threading.Event()

    def attempt() -> None:
        try:
            with BucketLock(Bucket(store.url)) as lock:
                end.wait(30)
                held.append(lock)
        except InputError as error:
            refused.append(error)
            if len(refused) == 3:
                end.set()

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == 1 and len(refused) == 3


def test_run_that_lost_its_lock_stops_and_writes_nothing(store, quick, monkeypatch):
    stopped = threading.Event()
    monkeypatch.setattr(bucket_workdir.signal, "raise_signal", lambda number: stopped.set())
    bucket = Bucket(store.url)
    with (
        pytest.raises(InputError, match="process 9 on other has taken the run over"),
        open_workdir(Path(store.url)) as folder,
    ):
        other = {"token": "b", "host": "other", "process": 9}
        bucket.write(LOCK_FILE, json.dumps(other).encode())
        assert stopped.wait(10)
        write_checkpoint(folder, 1)
    assert bucket.names("checkpoints") == []
    assert json.loads(bucket.read(LOCK_FILE)) == other


def test_files_that_the_run_moves_away_leave_the_bucket(store, quick):
    """And their new names stay taken when the run goes on elsewhere."""
    bucket, location = Bucket(store.url), Path(store.url)
    with open_workdir(location) as folder:
        (folder / BEST_PARAMS_FILE).write_bytes(b"of the shorter run")
    assert bucket.read(BEST_PARAMS_FILE) == b"of the shorter run"
    with open_workdir(location) as folder:
        assert (folder / BEST_PARAMS_FILE).read_bytes() == b"of the shorter run"
        (folder / SHORTER_RUN_FOLDER).mkdir()
        (folder / BEST_PARAMS_FILE).rename(folder / SHORTER_RUN_FOLDER / f"{BEST_PARAMS_FILE}.0")
    moved = f"{SHORTER_RUN_FOLDER}/{BEST_PARAMS_FILE}.0"
    assert bucket.read(BEST_PARAMS_FILE) is None
    assert bucket.read(moved) == b"of the shorter run"
    with open_workdir(location) as folder:
        assert (folder / moved).exists() and not (folder / BEST_PARAMS_FILE).exists()
    assert bucket.read(moved) == b"of the shorter run"
