"""`v2s evaluate`: from checkpoints and a dataset to report.json, tables, plots and report.html."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.conftest import random_params, with_model
from tests.evaluation.aisfx_golden import random_tensors
from tests.evaluation.tagger_fixture import FIXTURE, write_class_map
from tools.convert_aisfx import convert
from v2s_jax.checkpoints import save_params
from v2s_jax.cli.evaluate import main
from v2s_jax.config import TINY, Clock, Config, ExtractorConfig
from v2s_jax.datasets import open_dataset
from v2s_jax.datasets.synthetic.generate_dataset import generate_dataset
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.datasets.synthetic.spec import DatasetSpec
from v2s_jax.errors import InputError
from v2s_jax.evaluation import judge
from v2s_jax.evaluation.classifier import read_train_audio
from v2s_jax.evaluation.clips import reference_audio, select
from v2s_jax.evaluation.report.plots import draw_bars
from v2s_jax.evaluation.report.report_json import describe_features
from v2s_jax.evaluation.statistics import Estimate
from v2s_jax.media import read_metadata, write_wav
from v2s_jax.pretrained import PRETRAINED

ROOT = Path(__file__).parents[2]
CATEGORIES = ("drum", "water_flowing")
MINI = Preset("mini", train_clips=1, test_clips=3, video_frames=8, categories=CATEGORIES)
PLOTS = {"likelihood.png", "conditioning.png", "retrieval.png"}
LIMITS = ("--clips", "3", "--gallery", "6", "--queries", "4", "--max-seconds", "0.2")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dataset")
    generate_dataset(out, DatasetSpec(MINI, seed=3), workers=1)
    return out


def save(path: Path, config: Config, seed: int = 0) -> Path:
    save_params(path, config, random_params(config, seed))
    return path


@pytest.fixture(scope="module")
def frame(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("run") / "frame.safetensors", TINY)


@pytest.fixture(scope="module")
def unconditional(tmp_path_factory) -> Path:
    config = with_model(TINY, variant="unconditional")
    return save(tmp_path_factory.mktemp("run") / "unconditional.safetensors", config, seed=1)


def evaluate(*args: str | Path) -> None:
    """Run the command in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["v2s", *map(str, args)])
        main()


@pytest.fixture
def run(dataset, frame, tmp_path):
    """Run with the usual options; the given ones replace them."""

    def with_options(**options: str | Path) -> None:
        options = {"checkpoint": frame, "data": dataset, "out": tmp_path / "report"} | options
        evaluate(*(arg for name, value in options.items() for arg in (f"--{name}", value)))

    return with_options


@pytest.fixture(scope="module")
def report(dataset, frame, unconditional, tmp_path_factory) -> Path:
    """The folder of one run of all parts with two models."""
    out = tmp_path_factory.mktemp("evaluated") / "report"
    models = ("--checkpoint", frame, "--checkpoint", unconditional)
    evaluate(*models, "--data", dataset, "--out", out, "--report-clips", "2", *LIMITS)
    return out


@pytest.fixture(scope="module")
def content(report) -> dict:
    return json.loads((report / "report.json").read_text())


def test_report_says_what_it_depends_on(report, content, engine_of_auto):
    assert {path.name for path in report.iterdir()} == PLOTS | {
        "report.json",
        "report.html",
        "scores",
        "sounds",
    }
    assert content["format_version"] == 3
    assert [model["name"] for model in content["models"]] == ["frame", "unconditional"]
    assert content["models"][0]["features"] == "pixels"
    assert content["versions"].keys() >= {"v2s_jax", "jax", "librosa", "mir_eval"}
    assert content["paper"]["cross_entropy"]["test"]["Flow"] == 2.6839
    assert content["generated_with"].keys() == {"frame", "unconditional"}
    assert content["generated_with"]["frame"][0].startswith(f"--engine {engine_of_auto} --weights ")


def test_table_1_follows_from_the_clips_of_the_report(content, dataset):
    clips, rows = content["likelihood"]["clips"], content["likelihood"]["rows"]
    assert {row["model"] for row in rows} == {"frame", "unconditional", "uniform", "unigram"}
    for row in rows:
        own = [clip for clip in clips if clip["split"] == row["split"]]
        if row["category"] in CATEGORIES:
            own = [clip for clip in own if clip["category"] == row["category"]]
        expected = sum(c["bits"][row["model"]] for c in own) / sum(c["samples"] for c in own)
        bits = row["bits_per_sample"]
        assert bits["value"] == pytest.approx(expected)  # all clips are of one length
        assert row["nats_per_sample"]["value"] == pytest.approx(expected * np.log(2))
        assert bits["clips"] == len(own)
        assert (bits["low"] is None) == (bits["reason"] is not None)
    floors = open_dataset(dataset, "test").metadata["floor_bits"]
    assert all(clip["floor_bits"] == floors[clip["clip_id"]] for clip in clips)
    assert all(row["bits_per_sample"]["value"] > 0 for row in content["likelihood"]["regret"])


def test_page_has_the_tables_and_the_audio_of_the_clips(report):
    page = (report / "report.html").read_text()
    assert page.count("<figcaption>synthetic_mini: ") == 4 + 12
    assert page.count("<article") == page.count("<video") == 2
    assert page.count("<audio") == 2 * 3  # reference, frame, unconditional
    assert page.count("<img") == 2 + len(PLOTS)
    assert "6 synthetic clips of split test" in page and "--max-seconds 0.2" in page


def test_conditioning_and_retrieval_are_of_conditional_models(content):
    assert {row["model"] for row in content["conditioning"]} == {"frame"}
    retrieval = content["retrieval"]
    assert {row["model"] for row in retrieval["rows"]} == {"frame"}
    assert retrieval["unconditional_model"] == "unconditional"
    assert "less_unconditional" in {row["score"] for row in retrieval["rows"]}
    assert np.shape(retrieval["log_likelihood_nats"]["frame"]) == (4, 6)
    chances = {
        (row["right"], row["among"], row["measure"]): row["chance"] for row in retrieval["rows"]
    }
    assert chances["instance", "all", "top_1"] == pytest.approx(1 / 6)
    assert chances["instance", "category", "top_1"] == pytest.approx(1 / 3)
    assert chances["category", "all", "top_1"] == pytest.approx(1 / 2)


def test_audio_is_kept_and_scored_with_controls(report, content):
    sounds = list((report / "sounds" / "frame").glob("*.wav"))
    assert len(sounds) == 6
    assert read_metadata(sounds[0]).get("comment") == "Generated sound, not a recording."
    audio = content["audio"]
    assert audio["models"].keys() == {"frame", "unconditional"}
    assert audio["controls"].keys() == {"noise", "reference"}
    for metrics in (*audio["models"].values(), *audio["controls"].values()):
        for metric in ("loudness", "following", "spectral", "frechet", "artifacts"):
            assert metrics[metric].keys() == {*CATEGORIES, "all clips"}
        assert set(metrics["synchrony"]) == {"drum", "all clips"}  # water has no events
        assert metrics["classification"]["trained_on"] == 2


def test_networks_of_others_hear_all_models_and_controls(dataset, frame, tmp_path):
    """An embedding with random weights, and a tagger of three classes."""
    pytest.importorskip(judge.RUNTIME)
    embedding, tagger = tmp_path / "aisfx.safetensors", tmp_path / "tagger.tflite"
    save_file(convert(random_tensors()), embedding)
    shutil.copy(FIXTURE, tagger)
    write_class_map(tmp_path / judge.CLASS_MAP, ("Drum", "Water", "Speech"))
    options = ("--parts", "audio", "--clips", "3", "--report-clips", "0")
    files = ("--embedding", embedding, "--judge", tagger)
    out = tmp_path / "report"
    evaluate("--checkpoint", frame, "--data", dataset, "--out", out, *options, *files)
    content = json.loads((out / "report.json").read_text())
    names = {"frame", "noise", "reference"}
    assert content["embedding"]["metrics"].keys() == content["judge"]["metrics"].keys() == names
    for name in names:
        metrics = content["embedding"]["metrics"][name]
        assert metrics["frechet"]["generated"]["mean"] > 0
        assert metrics["classification"]["trained_on"] == 2
        assert np.sum(content["judge"]["metrics"][name]["confusion"]) == 6
    reference = content["embedding"]["metrics"]["reference"]["frechet"]
    assert reference["generated"] == reference["floor"]
    classes = {"drum": ["Drum"], "water_flowing": ["Water"]}
    assert (content["judge"]["classes"], content["judge"]["unknown"]) == (classes, [])
    page = (out / "report.html").read_text()
    assert page.count("<img") == 1  # confusion
    assert "Named right by the judge tagger.tflite" in page
    assert "Frechet distance in the embedding" in page


def same_up_to_rounding(value: object, expected: object) -> None:
    """Equal but for the rounding of scores in other batches."""
    if isinstance(expected, dict):
        assert isinstance(value, dict) and value.keys() == expected.keys()
        for name in expected:
            same_up_to_rounding(value[name], expected[name])
    elif isinstance(expected, list):
        assert isinstance(value, list) and len(value) == len(expected)
        for one, other in zip(value, expected, strict=True):
            same_up_to_rounding(one, other)
    elif isinstance(expected, float):
        assert value == pytest.approx(expected, rel=1e-5, abs=1e-5)
    else:
        assert value == expected


@pytest.mark.slow
def test_stopped_run_resumes_and_reports_the_same(
    report, content, dataset, frame, unconditional, tmp_path
):
    """A killed run leaves scores, the last line truncated, and no report."""
    out = shutil.copytree(report, tmp_path / "report")
    (out / "report.json").unlink()
    for path in out.glob("scores/*/*.jsonl"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[: len(lines) // 2]) + lines[-1][:5])
    (out / "sounds/frame/drum-test-00001.wav").write_bytes(b"half")
    made = out / "sounds/frame/made.jsonl"
    made.write_text("".join(made.read_text().splitlines(keepends=True)[:2]))
    models = ("--checkpoint", frame, "--checkpoint", unconditional)
    evaluate(*models, "--data", dataset, "--out", out, "--report-clips", "0", *LIMITS)
    again = json.loads((out / "report.json").read_text())
    for part in ("likelihood", "conditioning", "retrieval"):
        same_up_to_rounding(again[part], content[part])
    assert again["audio"] == content["audio"]
    other = save(tmp_path / "frame.safetensors", TINY, seed=5)
    with pytest.raises(InputError, match=r"test\.jsonl: scores of other params_sha256: choose"):
        evaluate("--checkpoint", other, "--data", dataset, "--out", out, "--parts", "conditioning")


def test_missing_extra_is_reported_before_any_work(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mir_eval", None)
    with pytest.raises(InputError, match=r"mir_eval: not installed: pip install 'v2s_jax\[eval\]'"):
        run()
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"category": "drums"}, "did you mean drum?"),
        ({"split": "validation"}, "no split 'validation'"),
        ({"clips": "0"}, "--clips 0: use at least 1"),
        ({"gallery": "1"}, "--gallery 1: use at least 2"),
        ({"max-seconds": "inf"}, "--max-seconds inf: use a number of seconds above 0"),
        (
            {"max-seconds": "0.0005"},
            "8 samples, fewer than one big frame of 16: use at least 0.001",
        ),
        ({"split": "train", "category": "drum"}, "1 clip of split train: retrieval ranks"),
        ({"report-clips": "-1"}, "--report-clips -1: use 0"),
        ({"batch-size": "0"}, "--batch-size 0: use at least 1"),
        ({"checkpoint": "missing.safetensors"}, "missing.safetensors"),
        ({"embedding": "missing.safetensors"}, "missing.safetensors: cannot be read"),
        ({"judge": "missing.tflite"}, "missing.tflite: cannot be read"),
        ({"judge": "x.tflite", "parts": "likelihood"}, "--judge x.tflite: add audio to --parts"),
    ],
)
def test_bad_input_is_one_line_before_any_work(run, options, message, tmp_path):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        run(**options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report").exists()


INCOMPARABLE = {
    "sample rates of 16000 Hz and 8000 Hz": replace(TINY, clock=Clock(sample_rate_hz=8_000)),
    "numbers of levels of 256 and 64": with_model(TINY, q_levels=64),
    "quantisers of linear and mu_law": with_model(TINY, quantization="mu_law"),
}


@pytest.mark.parametrize("message", INCOMPARABLE)
def test_incomparable_models_are_refused(dataset, frame, tmp_path, message):
    other = save(tmp_path / "other.safetensors", INCOMPARABLE[message])
    models = ("--checkpoint", frame, "--checkpoint", other)
    with pytest.raises(InputError, match=f"{message}: bits per sample not comparable"):
        evaluate(*models, "--data", dataset, "--out", tmp_path / "report")


def test_unusable_models_are_refused(run, dataset, frame, tmp_path):
    params = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), random_params(TINY, 0))
    save_params(tmp_path / "diverged.safetensors", TINY, params)
    with pytest.raises(InputError, match=r"diverged\.safetensors: .* are NaN or infinite"):
        run(checkpoint=tmp_path / "diverged.safetensors")
    vgg = save(tmp_path / "vgg.safetensors", replace(TINY, extractor="vgg19"))
    with pytest.raises(InputError, match=r"model vgg does not fit the dataset: .*pixels"):
        run(checkpoint=vgg)
    for first, second in ((frame, frame), ("frame", PRETRAINED["frame"])):
        models = ("--checkpoint", first, "--checkpoint", second)
        with pytest.raises(InputError, match="given twice"):
            evaluate(*models, "--data", dataset, "--out", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_floor_of_other_levels_gives_no_regret(dataset, tmp_path, capsys):
    path = save(tmp_path / "other.safetensors", with_model(TINY, q_levels=64))
    limits = ("--parts", "likelihood", "--clips", "1")
    evaluate("--checkpoint", path, "--data", dataset, "--out", tmp_path / "out", *limits)
    likelihood = json.loads((tmp_path / "out" / "report.json").read_text())["likelihood"]
    assert likelihood["regret"] == []
    assert all(clip["floor_bits"] is None for clip in likelihood["clips"])
    assert "the floor of these clips or levels is not known" in capsys.readouterr().out


def test_missing_classifier_has_a_reason(dataset, tmp_path):
    def reason(data: Path, split: str, categories: tuple[str, ...]) -> str:
        clips = select(open_dataset(data, split), categories, 1)
        found = read_train_audio(str(data), clips, TINY.model)
        assert isinstance(found, str) and "\n" not in found
        return found

    assert "which the classifier is fitted on" in reason(dataset, "train", CATEGORIES)
    copy = shutil.copytree(dataset, tmp_path / "copy")
    (info,) = copy.glob("synthetic_mini/*/dataset_info.json")
    content = json.loads(info.read_text())
    content["splits"] = [split for split in content["splits"] if split["name"] != "train"]
    info.write_text(json.dumps(content))
    assert "cannot be read: " in (found := reason(copy, "test", CATEGORIES))
    assert "no split 'train'" in found


def test_names_are_drawn_literally():
    """Not as a formula, and not left out of the legend for a leading underscore."""
    one = Estimate(1.0, None, None, 1, None)
    (axes,) = draw_bars(["dr$m_"], {"_a$b_$c": [one], "unigram": [None]}, "bits").axes
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["_a$b_$c", "unigram"]


def test_features_are_described():
    extraction = ExtractorConfig(flow="dis", motion_weights_sha256="ab")
    config = replace(TINY, extractor="vgg19", extraction=extraction)
    assert describe_features(config) == "vgg19, flow dis, motion_weights_sha256 ab"


def run_process(*args: str | Path) -> str:
    """Run a command in its own process; return what it printed."""
    result = subprocess.run(
        [sys.executable, "-m", *map(str, args)],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


TRAIN = ("v2s_jax", "train", "tiny", "--training.steps", "4", "--training.eval-every-steps", "0")


@pytest.mark.slow
def test_model_for_each_category_scores_its_clips(dataset, tmp_path):
    """As if each had been evaluated on its own category only."""
    family = tmp_path / "each"
    run_process(*TRAIN, "--data", dataset, "--workdir", family, "--run.each-category")
    parts = ("--parts", "likelihood", "retrieval", "--max-seconds", "0.2")
    evaluate("--checkpoint", family, "--data", dataset, "--out", tmp_path / "all", *parts)
    together = json.loads((tmp_path / "all/report.json").read_text())
    assert not together["models"][0]["is_shared"]
    bits = {clip["clip_id"]: clip["bits"] for clip in together["likelihood"]["clips"]}
    for category in CATEGORIES:
        out = ("--out", tmp_path / category, "--category", category, "--parts", "likelihood")
        evaluate("--checkpoint", family / category, "--data", dataset, *out)
        single = json.loads((tmp_path / category / "report.json").read_text())
        for clip in single["likelihood"]["clips"]:
            score = bits[clip["clip_id"]]["each"] / clip["samples"]
            assert score == pytest.approx(clip["bits"][category] / clip["samples"], abs=1e-5)
    shutil.rmtree(family / "drum")
    with pytest.raises(InputError, match="each: no run of drum"):
        evaluate("--checkpoint", family, "--data", dataset, "--out", tmp_path / "all")


@pytest.mark.slow
def test_trained_models_from_the_command_line(dataset, tmp_path):
    """Two small trainings, then the evaluation, twice, and the export: each in its own process."""
    for variant in ("frame", "unconditional"):
        workdir = ("--data", dataset, "--workdir", tmp_path / variant)
        run_process(*TRAIN, *workdir, "--model.variant", variant)
    models = ("--checkpoint", tmp_path / "frame", "--checkpoint", tmp_path / "unconditional")
    out = ("--data", dataset, "--out", tmp_path / "report", *LIMITS)
    printed = run_process("v2s_jax", "evaluate", *models, *out)
    for text in (
        "Cross-entropy, bits per sample",
        "frame minus unconditional, test, paired",
        "the paper, on VEGAS, test: Frame 2.7061, Seq 2.6866, Flow 2.6839",
        "24 scores",
        "Retrieval with frame",
        "Synchrony of unconditional",
    ):
        assert text in printed
    first = (tmp_path / "report/report.json").read_text()
    run_process("v2s_jax", "evaluate", *models, *out)
    assert (tmp_path / "report/report.json").read_text() == first
    tool = ("tools.export_av_benchmark", "--evaluated", tmp_path / "report")
    run_process(*tool, "--out", tmp_path / "export")
    for model in ("frame", "unconditional"):
        folder = tmp_path / "export" / model
        assert len(list(folder.glob("gt_audio/*.wav"))) == 6
        assert len(list(folder.glob("gt_video/*.mp4"))) == 6
        wav = "drum-test-00000.wav"
        generated = (tmp_path / "report/sounds" / model / wav).read_bytes()
        assert (folder / "pred_audio" / wav).read_bytes() == generated


@pytest.mark.slow
@pytest.mark.parametrize("probe", ["counterfactual", "delay"])
def test_reference_audio_reaches_the_best_probe_score(probe, frame, tmp_path):
    """Reference audio in the place of generated audio, through the whole command."""
    spec = DatasetSpec(replace(MINI, test_clips=6, video_frames=16), seed=3, probe=probe)
    data = generate_dataset(tmp_path / "dataset", spec, workers=2)
    clips = select(open_dataset(str(data), "test"), CATEGORIES, 6)
    args = ("--checkpoint", frame, "--data", data, "--out", tmp_path / "report", "--parts", "audio")
    evaluate(*args)
    first = json.loads((tmp_path / "report/report.json").read_text())["audio"]
    for clip, clip_id in enumerate(clips.clip_ids):
        audio = reference_audio(clips[clip], TINY.model)
        write_wav(tmp_path / f"report/sounds/frame/{clip_id}.wav", audio, 16_000)
    evaluate(*args)
    again = json.loads((tmp_path / "report/report.json").read_text())["audio"]
    assert again["controls"] == first["controls"]
    reference, copied = again["controls"]["reference"], again["models"]["frame"]
    for name in ("synchrony", "classification", "follow_rate", "delay_slope"):
        same_up_to_rounding(copied[name], reference[name])
    if probe == "counterfactual":
        score = copied["follow_rate"]["by_category"]["all clips"]
        ties = score["ties_by_onsets"] / (4 * score["pairs_with_events"])
        assert score["by_onsets"]["value"] == pytest.approx(1 - ties)
        assert score["by_loudness"]["value"] > 0.9
        assert (score["pairs"], score["pairs_with_events"]) == (6, 3)
    else:
        score = copied["delay_slope"]["by_category"]["drum"]
        assert score["sec_per_m"]["value"] == pytest.approx(1 / 343, rel=0.05)
    wav = tmp_path / f"report/sounds/frame/{clips.clip_ids[0]}.wav"
    write_wav(wav, np.zeros(5, np.float32), 16_000)
    with pytest.raises(InputError, match=r"00000\.wav: 5 samples instead of 16384: remove .*made"):
        evaluate(*args)
