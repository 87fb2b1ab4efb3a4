"""`v2s train --workdir`, `v2s sample` and `v2s evaluate --checkpoint` with URLs."""

import json
import sys
import wave
from pathlib import Path

import pytest

from tests.bucket_servers import BUCKET, open_store
from tests.conftest import FIXTURES
from v2s_jax.bucket import Bucket, url_of
from v2s_jax.checkpoints import load_params, local_checkpoint
from v2s_jax.cli import evaluate, prepare, sample, train
from v2s_jax.errors import InputError
from v2s_jax.examples import EXAMPLE_VIDEO
from v2s_jax.training.bucket_lock import LOCK_FILE

QUICK = ("--training.steps", 8, "--training.batch-clips", 8, "--training.eval-every-steps", 0)

RUN = FIXTURES / "run_v1"
DRUM = FIXTURES.parents[1] / "v2s_jax" / "examples" / "drum.mp4"
FEW = ("--parts", "likelihood", "--clips", 2)


@pytest.fixture(scope="module", params=["s3", "gs"])
def store(request):
    with open_store(request.param) as proxy:
        proxy.scheme = request.param
        proxy.url = f"{request.param}://{BUCKET}/runs"
        yield proxy


@pytest.fixture
def fails(run_command):
    """Run a command that is to end with one line about the user's error."""

    def run(main, *args) -> str:
        code, out, err = run_command(main, *args)
        assert code == 2 and err.startswith("error: ") and len(err.splitlines()) == 1, err
        assert "clips from" not in out  # nothing was read or computed
        return err

    return run


UNKNOWN = "use a folder, gs:// or s3://"
NO_BUCKET = "names no bucket"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        *((f"{scheme}://bucket/run", UNKNOWN) for scheme in ("abc", "memory", "ftp", "http")),
        ("file:///tmp/run", UNKNOWN),
        ("gs://", NO_BUCKET),
        ("s3:///", NO_BUCKET),
    ],
)
def test_bad_url(fails, fixture_dataset, tmp_path, monkeypatch, url, message):
    """No folder of that name appears here, whatever else the command does with URLs."""
    monkeypatch.chdir(tmp_path)
    shown = f"{url.partition('://')[0]}://"
    for args in (
        (train.main, "tiny", "--data", fixture_dataset, "--workdir", url, *QUICK),
        (train.main, "tiny", "--data", url, "--workdir", tmp_path / "run", *QUICK),
        (sample.main, EXAMPLE_VIDEO, "--checkpoint", url, "--out", tmp_path / "out"),
        (prepare.main, "folder", url, "--out", tmp_path / "out"),
        (prepare.main, "folder", tmp_path, "--out", url),
    ):
        err = fails(*args)
        assert shown in err and message in err, args
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("gs://bucket/a/", "gs://bucket/a"),
        ("gs:/bucket/a", "gs://bucket/a"),
        ("GS://Bucket/a", "gs://Bucket/a"),
        ("s3:", "s3://"),
        ("results:", None),
        ("a/b:/c", None),
        ("c:/videos", None),
    ],
)
def test_what_is_a_url(path, url):
    assert url_of(Path(path)) == url


@pytest.mark.parametrize(
    ("main", "args"),
    [
        (sample.main, ("--out", "out", "gs://bucket/video.mp4")),
        (sample.main, ("--out", "gs://bucket/out", EXAMPLE_VIDEO)),
        (prepare.main, ("synthetic", "--preset", "pair", "--out", "gs://bucket/out")),
        (prepare.main, ("sounds", "gs://bucket/sounds", "--out", "out")),
        (evaluate.main, ("--checkpoint", "aligned", "--data", "none", "--out", "gs://bucket/out")),
        (prepare.main, ("sounds", "sounds", "--out", "s3://bucket/out")),
        (sample.main, (EXAMPLE_VIDEO, "--out", "out", "--export-controls", "gs://bucket/a.csv")),
        (sample.main, (EXAMPLE_VIDEO, "--out", "out", "--controls", "gs://bucket/a.csv")),
        (sample.main, (EXAMPLE_VIDEO, "--out", "out", "--prefix", "s3://bucket/a.wav")),
    ],
)
def test_url_where_only_local_paths_do(fails, tmp_path, monkeypatch, main, args):
    monkeypatch.chdir(tmp_path)
    assert "takes no URL: use a local path" in fails(main, *args)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("scheme", "module", "extra"), [("gs", "gcsfs", "gcp"), ("s3",) * 3])
def test_missing_extra(fails, fixture_dataset, monkeypatch, scheme, module, extra):
    monkeypatch.setitem(sys.modules, "s3fs" if module == "s3" else module, None)
    workdir = f"{scheme}://{BUCKET}/run"
    err = fails(train.main, "tiny", "--data", fixture_dataset, "--workdir", workdir, *QUICK)
    assert f"not installed: pip install 'v2s_jax[{extra}]'" in err


def test_bucket_that_does_not_exist(store, fails, fixture_dataset):
    workdir = f"{store.scheme}://no-such-bucket/run"
    err = fails(train.main, "tiny", "--data", fixture_dataset, "--workdir", workdir, *QUICK)
    assert f"{workdir}: cannot be opened (" in err and "check the name" in err
    assert "no such bucket" in err or "NoSuchBucket" in err


@pytest.mark.parametrize("pattern", ["", "(PUT|POST) "])
def test_no_permission(store, fails, fixture_dataset, pattern):
    """To list; to list but not to write."""
    store.fail(403, pattern)
    args = ["tiny", "--data", fixture_dataset, "--workdir", f"{store.url}/denied", *QUICK]
    err = fails(train.main, *args)
    store.heal()
    assert f"{store.url}/denied: cannot be {'written' if pattern else 'opened'}" in err
    assert "Forbidden" in err and "you may list, read, write and delete" in err


def test_run_that_another_process_writes(store, fails, fixture_dataset, monkeypatch):
    monkeypatch.setattr("v2s_jax.training.bucket_lock.RENEW_SEC", 0.1)
    from v2s_jax.training.bucket_lock import BucketLock

    location = f"{store.url}/locked"
    with BucketLock(Bucket(location)):
        err = fails(train.main, "tiny", "--data", fixture_dataset, "--workdir", location, *QUICK)
    assert f"{location}: process" in err and "choose another --workdir" in err


def test_missing_checkpoint(store, fails, tmp_path):
    Bucket(f"{store.url}/empty").write("notes", b"")
    args = ["--video", EXAMPLE_VIDEO, "--out", tmp_path / "out", "--checkpoint"]
    err = fails(sample.main, *args, f"{store.url}/none")
    assert f"{store.url}/none: no such checkpoint" in err
    err = fails(sample.main, *args, f"{store.url}/empty")
    assert f"{store.url}/empty: a folder without a checkpoint" in err


@pytest.mark.slow
def test_train_resume_refuse_and_load(store, run_command, fixture_dataset, tmp_path):
    location = f"{store.url}/run"
    args = ["tiny", "--data", fixture_dataset, "--workdir", location, *QUICK]
    code, out, err = run_command(train.main, *args)
    assert code == 0, err
    assert f"checkpoints and logs: {location}; parameters: {location}/params.safetensors" in out
    bucket = Bucket(location)
    names = bucket.names()
    assert {"metrics.jsonl", "params.safetensors"} < set(names) and LOCK_FILE not in names
    assert json.loads(bucket.read("metrics.jsonl").splitlines()[-1])["step"] == 8
    code, out, _ = run_command(train.main, *args)
    assert code == 0 and "step 8: already finished" in out
    code, _, err = run_command(train.main, *args, "--model.dim", 16)
    assert code == 2 and len(err.splitlines()) == 1
    assert f"error: {location}/checkpoints" in err and "model.dim: 16 != 32" in err

    config, params = load_params(Path(location))
    from_file = load_params(Path(f"{location}/params.safetensors"))
    assert config == from_file[0] and params.keys() == from_file[1].keys()
    for name in names:  # a folder of runs, as of --run.each-category
        Bucket(f"{store.url}/each/drum").write(name, bucket.read(name))
    with local_checkpoint(Path(f"{store.url}/each")) as copy:
        assert (copy.parent.name, copy.name) == ("runs", "each")
        assert load_params(copy / "drum")[0] == config
        assert not (copy / "drum" / "metrics.jsonl").exists()
    with pytest.raises(InputError, match=f"{store.url}/each: a folder without a checkpoint"):
        load_params(Path(f"{store.url}/each"))


@pytest.mark.slow
def test_sample_and_evaluate_as_from_a_local_run(store, run_command, fixture_dataset, tmp_path):
    names = [str(path.relative_to(RUN)) for path in RUN.rglob("*") if path.is_file()]
    Bucket(f"{store.url}/old").upload(RUN, names)
    sounds, rows = [], []
    for number, checkpoint in enumerate((RUN, f"{store.url}/old")):
        out = tmp_path / f"{number}"
        args = ["--checkpoint", checkpoint, "--out", out / "sound", "--video", DRUM]
        code, _, err = run_command(sample.main, *args)
        assert code == 0, err
        with wave.open(str(out / "sound" / "drum_sound.wav")) as file:
            sounds.append(file.readframes(file.getnframes()))
        args = ["--checkpoint", checkpoint, "--out", out / "report", "--data", fixture_dataset]
        code, _, err = run_command(evaluate.main, *args, *FEW)
        assert code == 0, err
        report = json.loads((out / "report" / "report.json").read_text())
        rows.append([row["bits_per_sample"] for row in report["likelihood"]["rows"]])
    assert any(sounds[0]) and sounds[0] == sounds[1]
    assert rows[0] and rows[0] == rows[1]
