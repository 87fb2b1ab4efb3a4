"""`v2s prepare folder`: layouts, splits, cache, manifest, and complete datasets only."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from etils import epath

from tests.child_processes import children, is_running, needs_proc, wait_for
from tests.datasets.folders.conftest import video
from v2s_jax.cli import prepare
from v2s_jax.config import ExtractorConfig
from v2s_jax.datasets import open_dataset
from v2s_jax.datasets.folders.build_dataset import BuiltDataset, build_dataset
from v2s_jax.datasets.folders.decode import (
    ClipLength,
    DecodedClip,
    FeatureCache,
    cache_key,
    loop_to_length,
)
from v2s_jax.datasets.folders.layout import Source, find_sources
from v2s_jax.datasets.folders.manifest import Row, read_manifest
from v2s_jax.datasets.folders.settings import FolderSettings
from v2s_jax.datasets.folders.split import assign_splits, split_clips
from v2s_jax.datasets.folders.stats import draw, measure_lengths, table
from v2s_jax.errors import InputError
from v2s_jax.features.extractor import ExtractorSpec

SHORT: dict[str, Any] = {"video_frames": 20, "workers": 1, "test_clips": 1}


def build(videos: Path, out: Path, **changes: Any) -> BuiltDataset:
    return build_dataset(FolderSettings(str(videos), str(out), **{**SHORT, **changes}))


@pytest.fixture(scope="module")
def built(videos, tmp_path_factory) -> tuple[Path, BuiltDataset]:
    """A dataset of these videos; tests leave it as it is."""
    out = tmp_path_factory.mktemp("built")
    return out, build(videos, out)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


# Layouts


@pytest.mark.parametrize("pattern", ["{}/videos/{}", "videos/{}/{}", "{}/{}"])
def test_layouts(tmp_path, pattern):
    names = [f"video_{number:05d}.mp4" for number in (10, 2, 1)]
    touch(tmp_path, *(pattern.format("dog", name) for name in names), pattern.format("a", "b.MOV"))
    sources, ignored = find_sources(str(tmp_path))
    assert not ignored
    assert [(source.clip_id, source.index) for source in sources] == [
        ("a-b", 0),
        ("dog-video_00001", 0),
        ("dog-video_00002", 1),
        ("dog-video_00010", 2),
    ]


def test_ignored_files_are_listed(tmp_path):
    touch(tmp_path, "dog/a.mp4", "b.mp4", "dog/more/c.mp4", "dog/notes.txt", ".hidden/d.mp4")
    sources, ignored = find_sources(str(tmp_path))
    assert [source.name for source in sources] == ["dog/a.mp4"]
    assert [entry.name for entry in ignored] == ["b.mp4", "dog/more/c.mp4", "dog/notes.txt"]


def test_clips_with_equal_names_get_unique_ids(tmp_path):
    touch(tmp_path, "a/b-c.mp4", "a-b/c.mp4", "a/b-c.mkv", "a/d.mp4")
    ids = [source.clip_id for source in find_sources(str(tmp_path))[0]]
    assert len(set(ids)) == 4 and "a-d" in ids
    assert sum(clip_id.startswith("a-b-c-") for clip_id in ids) == 3


@pytest.mark.parametrize("first", [0, 1])
def test_sources_do_not_depend_on_the_order_of_a_listing(tmp_path, monkeypatch, first):
    """A bucket lists its files in any order; two names may have the same numbers."""
    names = ["video_1.mp4", "video_01.mp4", "video_001.mp4", "video_10.mp4", "video_9.mp4"]
    root = tmp_path / "root"
    for kind in ("dog", "drum"):
        touch(root / kind, *names)
    listed = type(epath.Path(root)).iterdir
    monkeypatch.setattr(
        type(epath.Path(root)),
        "iterdir",
        lambda folder: iter(sorted(listed(folder), reverse=bool(first))),
    )
    sources, _ = find_sources(str(root))
    expected = ["video_001", "video_01", "video_1", "video_9", "video_10"]
    assert [s.name for s in sources] == [f"{c}/{n}.mp4" for c in ("dog", "drum") for n in expected]
    assert [s.index for s in sources] == [*range(5), *range(5)]


def test_youtube_ids_of_the_csv(tmp_path):
    touch(tmp_path, *(f"dog/videos/video_{number:05d}.mp4" for number in (0, 2, 7)))
    info = tmp_path / "dog" / "video_info.csv"
    touch(tmp_path, "dog/videos/ID_1.mp4")  # numbered, but not by the csv
    info.write_bytes(b"\xef\xbb\xbfYTID,start_second,end_second\nabc,0,4\nabc,4,8\n-d_f,2,4\n")
    sources, ignored = find_sources(str(tmp_path))
    assert [source.youtube_id for source in sources] == [None, "abc", "-d_f", None]
    assert not ignored
    info.write_text("id,start\nabc,0\n")
    with pytest.raises(InputError, match="no column YTID, only id, start"):
        find_sources(str(tmp_path))


def test_folders_without_videos(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        find_sources(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="no videos in class folders"):
        find_sources(str(tmp_path))


# Splits


def clips(category: str, count: int, youtube: tuple[str | None, ...] = ()) -> list[Source]:
    ids = (*youtube, *[None] * (count - len(youtube)))
    return [
        Source(f"/{n}", f"{category}/{n}", category, f"{category}-{n}", n, ids[n])
        for n in range(count)
    ]


def test_last_clips_of_each_category_are_test_clips(caplog):
    sources = [*clips("dog", 300), *clips("drum", 256)]
    splits = split_clips(sources)
    assert not caplog.text
    for category, count in (("dog", 300), ("drum", 256)):
        found = [splits[f"{category}-{n}"] for n in range(count)]
        assert found == ["train"] * (count - 128) + ["test"] * 128


@pytest.mark.parametrize(("count", "held_out"), [(1, 0), (2, 1), (19, 1), (255, 25)])
def test_small_category_holds_out_a_tenth_with_a_warning(caplog, count, held_out):
    splits = split_clips(clips("dog", count))
    assert list(splits.values()).count("test") == held_out
    assert f"dog: {count} clips are too few for 128 test clips: using {held_out}" in caplog.text


def test_random_split_depends_only_on_the_seed():
    sources = clips("dog", 300)
    orders = ((sources, 1), (sources[::-1], 1), (sources, 2))
    chosen = [split_clips(order, seed=seed) for order, seed in orders]
    assert [list(splits.values()).count("test") for splits in chosen] == [128] * 3
    assert chosen[0] == chosen[1] != chosen[2]


def rows_of(sources: list[Source], hashes: str) -> list[Row]:
    """Readable files with these SHA-256."""
    return [
        Row(s.name, "used", clip_id=s.clip_id, sha256=digest, youtube_id=s.youtube_id)
        for s, digest in zip(sources, hashes, strict=True)
    ]


def test_training_clips_of_a_test_video_leak():
    sources = clips("dog", 6, ("v", "w", "v", None, "w", "v"))
    rows = assign_splits(rows_of(sources, "abcdef"), split_clips(sources, test_clips=2))
    assert [row.status for row in rows] == ["rejected"] * 3 + ["used"] * 3
    assert rows[1].reason == "from the same YouTube video (w) as test clip dog-4"


def test_unreadable_test_clip_leaks_nothing():
    sources = clips("dog", 4, ("v", "w", "w", "v"))
    rows = rows_of(sources, "abcd")
    rows[3] = dataclasses.replace(rows[3], status="rejected", reason="corrupt")
    rows = assign_splits(rows, split_clips(sources, test_clips=2))
    assert [row.status for row in rows] == ["used", "rejected", "used", "rejected"]
    assert rows[1].reason == "from the same YouTube video (w) as test clip dog-2"


def test_equal_bytes_leak_under_any_name():
    sources = clips("dog", 5, ("v", None, None, None, "v"))
    rows = assign_splits(rows_of(sources, "aabcd"), split_clips(sources, test_clips=1))
    assert [row.status for row in rows] == ["rejected", "rejected", "used", "used", "used"]
    assert rows[1].reason == "from the same YouTube video (v) as test clip dog-4"


def test_of_equal_files_the_test_clip_is_kept():
    sources = clips("dog", 4)
    rows = assign_splits(rows_of(sources, "abba"), split_clips(sources, test_clips=1))
    assert [row.status for row in rows] == ["rejected", "used", "rejected", "used"]
    assert rows[0].reason == "the same bytes as dog/3 (test)"
    assert rows[2].reason == "the same bytes as dog/1 (train)"


# Looping


def test_audio_and_frames_are_looped_together():
    frames = np.arange(3, dtype=np.float16)[:, None]
    once = DecodedClip(np.repeat(np.arange(3), 1_024).astype(np.int16), frames, frames, 0.192, ())
    record = loop_to_length(once, "a", "b", ClipLength(video_frames=8))
    assert record.appearance[:, 0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert np.array_equal(record.waveform[::1_024], record.appearance[:, 0].astype(np.int16))
    assert record.waveform.size == 8 * 1_024


# The whole command


def test_folder_becomes_a_dataset(built):
    out, builder = built
    folder = out / "vegas" / "1.0.0"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["1.0.0", "manifest.jsonl"]
    data = {split: open_dataset(folder, split) for split in ("train", "test")}
    assert (len(data["train"]), len(data["test"])) == (4, 2)
    test_ids = sorted(record.clip_id for record in data["test"])
    assert test_ids == ["dog-video_00002", "drum-video_00002"]
    assert data["train"].categories == ("dog", "drum")
    assert data["train"].metadata["samples_max"] == 20 * 1_024
    record = next(iter(data["train"].of_category("drum")))
    assert record.waveform.size == 20 * 1_024 and len(record.motion) == 20
    rows = list(read_manifest(epath.Path(folder.parent / "manifest.jsonl")))
    assert rows == builder.manifest
    assert rows[0].video_frames == 10 and rows[0].clip_video_frames == 20
    assert "looped 2.00 times to 20 video frames" in rows[0].corrections


def test_a_class_whose_last_clip_cannot_be_used_still_has_a_test_clip(videos, tmp_path, caplog):
    """The split is chosen among files that can be used; a class without a test clip is named."""
    root = shutil.copytree(videos, tmp_path / "videos")
    (root / "dog" / "videos" / "video_00002.mp4").write_bytes(b"corrupt")
    (root / "cat").mkdir()
    shutil.copy(root / "dog" / "videos" / "video_00000.mp4", root / "cat" / "one.mp4")
    for number in (0, 1):
        (root / "drum" / "videos" / f"video_0000{number}.mp4").unlink()
    builder = build(root, tmp_path / "out")
    used = {row.clip_id: row.split for row in builder.manifest if row.status == "used"}
    assert used["dog-video_00001"] == "test"
    assert used["drum-video_00002"] == "train"
    assert "drum: no clip for split test is left" in caplog.text


def test_existing_dataset_is_not_replaced(videos, built):
    out, _ = built
    info = out / "vegas/1.0.0/dataset_info.json"
    before = info.stat().st_mtime_ns
    with pytest.raises(InputError, match="already exists: use --overwrite"):
        build(videos, out)
    assert info.stat().st_mtime_ns == before


@pytest.mark.slow
def test_outputs_inside_the_source_folder_are_skipped(videos, tmp_path):
    for name, out in (("a", "a/out"), ("b", "b")):
        source = shutil.copytree(videos, tmp_path / name)
        for _ in range(2):
            assert len(build(source, tmp_path / out, overwrite=True).manifest) == 6


def test_cached_features_are_reused(videos, built, tmp_path):
    cache = str(built[0] / "cache")
    builder = build(videos, tmp_path, cache=cache, split_seed=3, name="other")
    assert builder.counts == (0, 6, 0)


def test_corrupt_and_missing_cache_entries_are_recomputed(videos, built, tmp_path):
    shutil.copytree(built[0] / "cache", tmp_path / "cache")
    first, second, *_ = sorted((tmp_path / "cache").glob("*/*.npz"))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    second.unlink()
    assert build(videos, tmp_path).counts == (2, 4, 0)


def test_corrupt_cache_entry_is_never_used(tmp_path):
    cache = FeatureCache(str(tmp_path))
    frames = np.ones((2, 3), np.float16)
    once = DecodedClip(np.ones(2_048, np.int16), frames, frames, 0.128, ("x",))
    cache.write("key", once)
    path = Path(cache.path("key"))
    whole = path.read_bytes()
    read = cache.read("key")
    assert read is not None and read.corrections == once.corrections
    places = [*range(40), *range(whole.index(b"PK\1\2"), whole.index(b"PK\1\2") + 60)]
    for place in places:
        for flipped in (0x01, 0xFF):
            corrupt = bytearray(whole)
            corrupt[place] ^= flipped
            path.write_bytes(corrupt)
            read = cache.read("key")
            assert read is None or np.array_equal(read.waveform, once.waveform)


def test_key_depends_on_bytes_extractor_weights_and_length():
    spec, shape = ExtractorSpec(), ClipLength()
    weights = dataclasses.replace(
        spec, name="vgg19", extraction=ExtractorConfig(appearance_weights_sha256="ab")
    )
    others = dataclasses.replace(
        weights, extraction=ExtractorConfig(appearance_weights_sha256="cd")
    )
    keys = [
        cache_key("a", spec, shape),
        cache_key("b", spec, shape),
        cache_key("a", weights, shape),
        cache_key("a", others, shape),
        cache_key("a", spec, dataclasses.replace(shape, video_frames=9)),
    ]
    assert len(set(keys)) == len(keys)


def test_folder_without_usable_files_leaves_a_manifest(tmp_path):
    for name in ("a", "b"):
        touch(tmp_path, f"in/dog/{name}.mp4")
    with pytest.raises(InputError, match=r"no clip for split train: 0 of 2 files.*failed\.jsonl"):
        build(tmp_path / "in", tmp_path / "out")
    rows = list(read_manifest(epath.Path(tmp_path) / "out" / "vegas" / "manifest.failed.jsonl"))
    assert [row.reason for row in rows] == ["is empty: copy or record it again"] * 2
    assert [path.name for path in (tmp_path / "out" / "vegas").iterdir()] == [
        "manifest.failed.jsonl"
    ]


@pytest.mark.slow
def test_failed_run_keeps_the_old_dataset_and_manifest(videos, tmp_path):
    """First one clip of each category can be read, so none is held out; then all can."""
    source = tmp_path / "in"
    shutil.copytree(videos, source)
    build(source, tmp_path / "out")
    made = tmp_path / "out" / "vegas"
    before = (made / "manifest.jsonl").read_bytes()
    names = ("videos/video_00001.mp4", "videos/video_00002.mp4")
    damaged = [source / category / name for category in ("dog", "drum") for name in names]
    for path in damaged:
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"no clip for split test.*--test-clips or --split-seed"):
        build(source, tmp_path / "out", overwrite=True)
    assert (made / "manifest.jsonl").read_bytes() == before
    assert len(open_dataset(made, "test")) == 2
    rows = list(read_manifest(epath.Path(made) / "manifest.failed.jsonl"))
    assert sum(row.status == "rejected" for row in rows) == 4
    for path in damaged:
        shutil.copy(videos / path.relative_to(source), path)
    build(source, tmp_path / "out", overwrite=True)
    assert sorted(path.name for path in made.iterdir()) == ["1.0.0", "manifest.jsonl"]


def test_unwritable_cache_ends_the_run(videos, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file.* cannot be written"):
        build(videos, tmp_path / "out", cache=str(tmp_path / "file"))
    assert not (tmp_path / "out" / "vegas" / "1.0.0").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("folder v --out o --name No", "--name No: use small letters"),
        ("folder v --out o --video-frames 5", "0.32 s, shorter than --min-sec 0.5"),
        ("synthetic --out o -- --runner=DataflowRunner", "arguments after -- are for Beam"),
        ("folder v --out o -- --runner=NoSuchRunner", "--runner=NoSuchRunner: "),
        ("folder v --out o -- --direct_num_workers=abc", "--direct_num_workers"),
        ("stats gs://bucket/vegas", "is not a local folder: give --out"),
        ("stats nowhere", "manifest.jsonl: cannot be read"),
    ],
)
def test_bad_arguments(monkeypatch, argv, message):
    monkeypatch.setattr(sys, "argv", ["v2s prepare", *argv.split()])
    with pytest.raises(InputError) as caught:
        prepare.main()
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_two_processes_build_the_same_dataset(videos, tmp_path):
    """The workers find the package from another working directory."""
    command = [
        *(
            sys.executable,
            "-m",
            "v2s_jax",
            "prepare",
            "folder",
            str(videos),
            "--out",
            str(tmp_path),
        ),
        *("--test-clips", "1", "--video-frames", "20", "--workers", "2"),
    ]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert ended.returncode == 0, ended.stderr
    assert "4 train and 2 test clips" in ended.stdout
    assert "6 files extracted, 0 found in the cache" in ended.stdout
    assert "video frames/s" in ended.stderr
    build(videos, tmp_path / "one", name="vegas")
    one, two = (open_dataset(folder, "train") for folder in (tmp_path / "one", tmp_path / "vegas"))
    for first, second in zip(one, two, strict=True):
        assert first.clip_id == second.clip_id
        assert all(map(np.array_equal, first[2:], second[2:]))


@pytest.mark.slow
def test_killed_ffmpeg_rejects_no_file(tmp_path, monkeypatch):
    for name in ("a", "b"):
        video(tmp_path / "in" / "dog" / f"{name}.mp4", 2.0, ord(name))
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    options = ("--test-clips", "1", "--workers", "1", "--out", str(tmp_path / "out"))
    command = [sys.executable, "-m", "v2s_jax", "prepare", "folder", str(tmp_path / "in"), *options]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert "error: ffmpeg was killed, probably because memory ran out" in ended.stderr
    with pytest.raises(InputError, match="no dataset found"):
        open_dataset(tmp_path / "out", "train")


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("killed", ["worker", "launcher"])
def test_killed_run_leaves_no_dataset_and_resumes(tmp_path, killed):
    for number in range(12):
        video(tmp_path / "in" / "dog" / f"{number}.mp4", 4.0, 300 + number)
    options = ("--test-clips", "1", "--workers", "2")
    command = [sys.executable, "-m", "v2s_jax", "prepare", "folder", str(tmp_path / "in"), *options]
    command += ["--out", str(tmp_path / "out")]
    cache = tmp_path / "out" / "cache"
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        wait_for(lambda: len(list(cache.glob("*/*.npz"))) >= 2)
        group = descendants(process.pid)
        # Beam starts each worker by a shell.
        commands = {pid: command_line(pid) for pid in group}
        workers = [pid for pid, line in commands.items() if b"sdk_worker_main" in line]
        workers = [pid for pid in workers if not commands[pid].split(b"\0")[0].endswith(b"sh")]
        assert len(workers) >= 2
        if killed == "worker":  # a younger one can be a fork that is about to become ffmpeg
            os.kill(min(workers), signal.SIGKILL)
        else:
            process.kill()
        _, errors = process.communicate(timeout=120)
    if killed == "worker":
        assert process.returncode == 2, errors
        assert "worker processes was killed" in errors.splitlines()[-1]
    with pytest.raises(InputError, match="no dataset found"):
        open_dataset(tmp_path / "out", "train")
    wait_for(lambda: not any(is_running(pid) for pid in group), seconds=60)
    kept = len(list(cache.glob("*/*.npz")))
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert f"{12 - kept} files extracted, {kept} found in the cache" in ended.stdout
    assert len(open_dataset(tmp_path / "out", "train")) == 11


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_the_run(tmp_path, workers):
    for number in range(12):
        video(tmp_path / "in" / "dog" / f"{number}.mp4", 4.0, 300 + number)
    command = [sys.executable, "-m", "v2s_jax", "prepare", "folder", str(tmp_path / "in")]
    command += ["--out", str(tmp_path / "out"), "--test-clips", "1", "--workers", str(workers)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        wait_for(lambda: len(list((tmp_path / "out" / "cache").glob("*/*.npz"))) >= 2)
        group = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    wait_for(lambda: not any(is_running(pid) for pid in group), seconds=60)
    assert not list((tmp_path / "out" / "vegas").iterdir())


def descendants(process: int) -> list[int]:
    below = children(process)
    return [*below, *(pid for child in below for pid in descendants(child))]


def command_line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


# Stats


def test_lengths_are_counted_as_in_the_paper(tmp_path):
    rows = [
        Row(f"{n}", "used", category=category, source_sec=sec)
        for n, (category, sec) in enumerate(
            [("dog", 2.0), ("dog", 4.0), ("drum", 10.0), ("drum", 1.0), ("drum", 7.9)]
        )
    ] + [Row("x", "rejected", "is empty")]
    lengths = measure_lengths(rows, "here")
    assert [(line.category, line.clips) for line in lengths.categories] == [("dog", 2), ("drum", 3)]
    assert (lengths.categories[0].mean_sec, lengths.categories[0].sd_sec) == (3.0, 1.0)
    assert lengths.total.clips == 5 and lengths.total.hours == pytest.approx(24.9 / 3_600)
    assert lengths.shares == (0.2, 0.2, 0.2, 0.2, 0.2)
    assert "3.0 +/-  1.0 s" in "\n".join(table(lengths))
    odd = dataclasses.replace(lengths.categories[0], category=r"$\frac{$")
    draw(dataclasses.replace(lengths, categories=(odd,)), tmp_path / "lengths.png")
    assert (tmp_path / "lengths.png").stat().st_size > 10_000
    with pytest.raises(InputError, match="no used file"):
        measure_lengths(rows[-1:], "here")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "cannot be read (not UTF-8)"),
        (b"[]", "line 1 is not a manifest row"),
    ],
)
def test_invalid_manifest(tmp_path, content, message):
    (tmp_path / "m.jsonl").write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(read_manifest(epath.Path(tmp_path) / "m.jsonl"))
    assert message in str(caught.value)
