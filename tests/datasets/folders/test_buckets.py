"""`v2s prepare folder` with videos and datasets in buckets, and on a cluster of processes.

The cluster is Beam's portable runner: a job server and a pool of workers, each in its own process,
reached over gRPC only.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.bucket_servers import BUCKET, Proxy, open_store
from tests.child_processes import wait_for
from v2s_jax.bucket import Bucket
from v2s_jax.datasets import open_dataset

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
QUICK = ("--test-clips", "1", "--video-frames", "20")


def prepare(source: Path | str, out: Path | str, *args: str, cwd: Path) -> str:
    """Run the command in a new process, and return what it prints."""
    command = [sys.executable, "-m", "v2s_jax", "prepare", "folder", str(source), "--out", str(out)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [*command, *QUICK, *args], capture_output=True, text=True, cwd=cwd, env=env
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def assert_same_clips(one: Path | str, other: Path | str) -> None:
    for split, count in (("train", 4), ("test", 2)):
        ours, theirs = (list(open_dataset(folder, split)) for folder in (one, other))
        assert len(ours) == count
        for first, second in zip(ours, theirs, strict=True):
            assert first.clip_id == second.clip_id
            assert all(map(np.array_equal, first[2:], second[2:]))


@pytest.fixture(scope="module")
def direct(videos, tmp_path_factory) -> Path:
    """The dataset on a local disk, by this machine's runner."""
    out = tmp_path_factory.mktemp("direct")
    prepare(videos, out, "--workers", "1", cwd=out)
    return out / "vegas"


@pytest.fixture(params=["gs", "s3"])
def store(request, videos) -> Iterator[Proxy]:
    """A bucket with the videos."""
    with open_store(request.param) as proxy:
        proxy.url = f"{request.param}://{BUCKET}"
        names = [str(path.relative_to(videos)) for path in videos.rglob("*.mp4")]
        Bucket(f"{proxy.url}/videos").upload(videos, names)
        proxy.beam_args = [f"--s3_endpoint_url={proxy.endpoint}"] if request.param == "s3" else []
        yield proxy


@pytest.fixture
def cluster(tmp_path) -> Iterator[list[str]]:
    """Beam's arguments for a cluster on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        pool = free.getsockname()[1]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path}  # the pool starts `python`
    port_file = tmp_path / "port"
    servers = [
        subprocess.Popen(
            [sys.executable, "-m", f"apache_beam.runners.{module}", *args],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for module, args in (
            ("worker.worker_pool_main", [f"--service_port={pool}"]),
            ("portability.local_job_service_main", [f"--port_file={port_file}"]),
        )
    ]
    try:
        wait_for(lambda: port_file.exists() and port_file.read_text(), seconds=300)
        yield [
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{port_file.read_text()}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{pool}",
        ]
    finally:
        for server in servers:
            server.terminate()
            server.wait()


def test_videos_and_dataset_in_a_bucket(store, direct, tmp_path):
    """Read and written over HTTP; features are found again, and an old shard is removed."""
    source, out = f"{store.url}/videos", f"{store.url}/out"
    args = ["--workers", "1", "--", *store.beam_args]
    printed = prepare(source, out, *args, cwd=tmp_path)
    assert "4 train and 2 test clips" in printed and "6 files extracted" in printed
    bucket = Bucket(out)
    stale = "vegas/1.0.0/vegas-train.tfrecord-00001-of-00002"
    bucket.write(stale, b"of a larger dataset")
    printed = prepare(source, out, "--overwrite", *args, cwd=tmp_path)
    assert "0 files extracted, 6 found in the cache" in printed
    assert bucket.read(stale) is None
    bucket.download(bucket.names("vegas"), tmp_path / "copy")
    assert_same_clips(tmp_path / "copy" / "vegas", direct)


def test_a_bucket_that_does_not_exist_is_not_made(store, videos, tmp_path):
    out = f"{store.url.partition('://')[0]}://no-such-bucket/out"
    command = [sys.executable, "-m", "v2s_jax", "prepare", "folder", str(videos), "--out", out]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: {out}: cannot be opened (") and "bucket" in line.lower()
    assert all(method in ("GET", "HEAD") for method, path in store.requests if "no-such" in path)


def test_cluster_builds_the_same_dataset(videos, direct, cluster, tmp_path):
    printed = prepare(videos, tmp_path / "out", "--workers", "2", "--", *cluster, cwd=tmp_path)
    assert "6 files extracted, 0 found in the cache" in printed  # the workers' counters
    assert_same_clips(tmp_path / "out" / "vegas", direct)


@pytest.mark.parametrize("store", ["gs"], indirect=True)
def test_cluster_works_in_a_bucket(store, direct, cluster, tmp_path):
    """Beam 2.77's pool of workers drops the options that its s3:// files need."""
    prepare(f"{store.url}/videos", f"{store.url}/out", "--", *cluster, cwd=tmp_path)
    bucket = Bucket(f"{store.url}/out")
    bucket.download(bucket.names("vegas"), tmp_path / "copy")
    assert_same_clips(tmp_path / "copy" / "vegas", direct)
