"""The mark of origin: in every file, read by other programs, and enough to make the file again."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import wave
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.ffmpeg import run_ffmpeg
from v2s_jax import __version__
from v2s_jax.checkpoints import load_params, params_digest
from v2s_jax.cli import sample
from v2s_jax.cli.describe import command, quote
from v2s_jax.io import file_hash
from v2s_jax.media import probe, read_metadata, write_clip, write_wav
from v2s_jax.pretrained import PRETRAINED
from v2s_jax.sampling import Sampler
from v2s_jax.sonification import SampleOptions, sonify, stream_video
from v2s_jax.sonification.provenance import (
    DIGITAL_SOURCE_TYPE,
    SENTENCE,
    provenance_of,
    read_provenance,
    tags_of,
)
from v2s_jax.sonification.settings import settings_of

pytestmark = pytest.mark.usefixtures("compilation_cache")

HOSTILE_NAME = "-a 'b' \"c\" $(touch run) `touch run`;\x1b[31m\n\u202e\x9bé.mp4"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    frames = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), np.uint8)
    write_clip(path, frames, Fraction(25), np.zeros(7_680, np.float32), 16_000)
    return path


@pytest.fixture(scope="module")
def written(video, checkpoint, compilation_cache, tmp_path_factory) -> dict[bool, dict[str, Path]]:
    """Files with and without the mark, by suffix."""
    folder = tmp_path_factory.mktemp("written")
    files = {}
    for marked in (True, False):
        options = SampleOptions(
            checkpoint=checkpoint, seed=3, temperature=0.9, engine="scan", metadata=marked
        )
        (one,) = sonify(video, folder / str(marked), options).generated
        files[marked] = {path.suffix: path for path in (one.wav, one.video, one.figure)}
    return files


def comment_of(path: Path) -> str:
    """The comment as programs other than this one read it."""
    if path.suffix == ".png":
        with Image.open(path) as image:
            return image.info.get("Comment", "")
    dump = run_ffmpeg("-i", path, "-f", "ffmetadata", "-").decode()
    lines = [line for line in dump.splitlines() if line.lower().startswith("comment=")]
    return lines[0].partition("=")[2].replace("\\", "") if lines else ""


def pcm(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


def decoded(path: Path, stream: str) -> bytes:
    return run_ffmpeg("-i", path, "-map", stream, "-f", "md5", "-")


@pytest.mark.parametrize("suffix", [".wav", ".mp4", ".png"])
def test_every_file_says_how_it_was_generated(written, video, checkpoint, suffix):
    path = written[True][suffix]
    comment = comment_of(path)
    assert comment.startswith(SENTENCE)
    stated = json.loads(comment.removeprefix(SENTENCE))
    _, params = load_params(checkpoint)
    assert stated == {
        "software": f"v2s_jax {__version__}",
        "checkpoint": "tiny.safetensors",
        "params_sha256": params_digest(params),
        "variant": "frame",
        "engine": "scan",
        "weights": "float32",
        "batch_size": 4,
        "temperature": 0.9,
        "seed": 3,
        "device": "cpu",
        "video": "clip.mp4",
        "video_sha256": file_hash(video).hex(),
        "digital_source_type": DIGITAL_SOURCE_TYPE,
    }
    assert os.fsencode(video.parent) not in path.read_bytes()
    assert not comment_of(written[False][suffix])
    if suffix == ".mp4":
        dump = run_ffmpeg("-i", path, "-f", "ffmetadata", "-").decode()
        assert f"digital_source_type={DIGITAL_SOURCE_TYPE}" in dump
    if suffix == ".png":
        with Image.open(path) as image:
            assert image.info["digital_source_type"] == DIGITAL_SOURCE_TYPE


def test_the_mark_changes_nothing_else(written):
    marked, plain = written[True], written[False]
    assert pcm(marked[".wav"]) == pcm(plain[".wav"])
    for stream in ("0:v", "0:a"):
        assert decoded(marked[".mp4"], stream) == decoded(plain[".mp4"], stream)
    with Image.open(marked[".png"]) as one, Image.open(plain[".png"]) as other:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_the_printed_command_writes_the_same_bytes(video, checkpoint, tmp_path, run_command):
    """In a shell, for a video whose name is a trap for shells and terminals."""
    shutil.copy(checkpoint, tmp_path / "tiny.safetensors")
    shutil.copy(video, tmp_path / HOSTILE_NAME)
    options = SampleOptions(checkpoint=checkpoint, seed=7, temperature=0.8, original="mix")
    (files,) = sonify(tmp_path / HOSTILE_NAME, tmp_path / "first", options).generated
    for path in (files.wav, files.video, files.figure):
        code, out, _ = run_command(sample.main, "--describe", path)
        assert code == 0
        assert "\x1b" not in out and "\u202e" not in out and "\x9b" not in out
        line = out.splitlines()[-1].strip()
    assert line.startswith("v2s sample --checkpoint tiny.safetensors ")
    assert "--seed 7 " in line and "--original mix " in line
    program = f'v2s() {{ {shlex.quote(sys.executable)} -P -m v2s_jax "$@"; }}; {line}'
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    again = subprocess.run(["bash", "-c", program], cwd=tmp_path, env=environment, check=False)
    assert again.returncode == 0
    assert not (tmp_path / "run").exists()
    for path in (files.wav, files.video, files.figure):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_takes_state_their_own_seeds(video, checkpoint, tmp_path):
    options = SampleOptions(checkpoint=checkpoint, seed=5, takes=2)
    for files in sonify(video, tmp_path, options).generated:
        assert read_provenance(files.wav).seed == files.settings.seed


def test_a_stream_has_the_mark_in_its_header(video, checkpoint, tmp_path, written):
    options = SampleOptions(checkpoint=checkpoint, seed=3, temperature=0.9, engine="scan")
    for metadata in (True, False):
        out = tmp_path / f"{metadata}.wav"
        stream_video(video, out, replace(options, metadata=metadata))
        assert pcm(out) == pcm(written[True][".wav"])
    whole = read_provenance(written[True][".wav"])
    streamed = read_provenance(tmp_path / "True.wav")
    assert streamed == replace(whole, stream=True)
    assert command(streamed) == f"{command(whole)[: -len(' --out again')]} --stream --out again.wav"
    assert not comment_of(tmp_path / "False.wav")


def test_options_are_named_without_their_folders(checkpoint, tmp_path):
    prefix = tmp_path / "prefix.wav"
    write_wav(prefix, np.zeros(100, np.float32), 16_000)
    config, params = load_params(checkpoint)
    options = SampleOptions(
        checkpoint=PRETRAINED["seq"], prefix=prefix, max_retries=2, batch_size=1, category="-dog"
    )
    settings = settings_of(Sampler(config, params, batch_size=1), params, options)
    provenance = provenance_of(config, options, settings)
    assert provenance.checkpoint == "seq"
    assert (provenance.prefix, provenance.prefix_sha256) == ("prefix.wav", file_hash(prefix).hex())
    line = command(provenance)
    assert "--batch-size 1 " in line and " --prefix prefix.wav --max-retries 2 " in line
    os.mkfifo(tmp_path / "pipe.csv")
    piped = provenance_of(config, SampleOptions(controls=tmp_path / "pipe.csv"), settings)
    assert (piped.controls, piped.controls_sha256) == ("pipe.csv", None)


@pytest.mark.parametrize("word", [HOSTILE_NAME, "plain.mp4", "a b", "it's", "\\", "\udcff\udc80x"])
def test_quoted_words_are_what_bash_reads(word):
    quoted = quote(word)
    assert all(char.isprintable() for char in quoted)
    read = subprocess.run(
        ["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True
    ).stdout
    assert read == os.fsencode(word)


def forge(text: str, path: Path) -> Path:
    write_wav(path, np.zeros(10, np.float32), 16_000, {"comment": SENTENCE + text})
    return path


def test_forged_marks_are_one_line(tmp_path, written, run_command):
    good = json.loads(comment_of(written[True][".wav"]).removeprefix(SENTENCE))
    cases = {
        "": "Expecting value",
        "{": "Expecting property name",
        "[" * 50_000: "recursion",
        "3": "it is no object",
        "{}": "missing",
        json.dumps(good | {"seed": "0; rm -rf /"}): "seed is str",
        json.dumps(good | {"video": ["a"]}): "video is list",
        json.dumps(good | {"video": "a\0b"}): "video is not the name",
        json.dumps(good | {"video": "\ud800"}): "surrogates not allowed",
        json.dumps(good | {"video": "x" * 100_000}): "Unterminated string",
    }
    for number, (text, message) in enumerate(cases.items()):
        path = forge(text, tmp_path / f"{number}.wav")
        code, out, err = run_command(sample.main, "--describe", path)
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert line.startswith(f"error: {path}: its mark of origin is damaged")
        assert message in line
    later = forge(json.dumps(good | {"added_later": 1}) + "\nmine", tmp_path / "later.wav")
    assert read_provenance(later) == read_provenance(written[True][".wav"])
    shell = forge(json.dumps(good | {"engine": "a; rm b"}), tmp_path / "shell.wav")
    assert "--engine 'a; rm b'" in run_command(sample.main, "--describe", shell)[1]


def test_files_without_a_mark_are_one_line(tmp_path, written, video, run_command):
    text = tmp_path / "text.png"
    text.write_text("no picture")
    cut = tmp_path / "cut.png"
    cut.write_bytes(written[True][".png"].read_bytes()[:20])
    cases = {
        video: "has no mark of origin",
        written[False][".wav"]: "has no mark of origin",
        written[False][".png"]: "has no mark of origin",
        text: "is not a video or audio file",
        cut: "cannot be read",
        tmp_path: "is a folder",
        tmp_path / "absent": "no such file",
    }
    for path, message in cases.items():
        code, out, err = run_command(sample.main, "--describe", path)
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert line.startswith(f"error: {path}: {message}")


def test_a_result_that_is_a_source_keeps_both_marks(written, checkpoint, tmp_path):
    source = written[True][".mp4"]
    (files,) = sonify(source, tmp_path, SampleOptions(checkpoint=checkpoint)).generated
    assert read_provenance(files.video).video == source.name
    assert read_provenance(files.video).seed == 0
    comment = read_metadata(files.video).get("comment")
    assert comment.count(SENTENCE) == 2
    assert probe(files.video).duration_sec == probe(source).duration_sec


def test_without_a_provenance_there_are_no_tags():
    assert tags_of(None, seed=1) == {}


def test_out_is_needed_for_everything_else(video, run_command):
    code, _, err = run_command(sample.main, video)
    assert code == 2
    assert "error: --out: is missing" in err
