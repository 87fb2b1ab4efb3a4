"""`python evaluate.py`: from checkpoints and a data set to report.json, tables and pictures."""

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
from matplotlib.figure import Figure

from tests.conftest import random_params, with_model
from tests.training.test_checkpoint import a_checkpoint
from v2s_jax.checkpoints import load_params, save_params
from v2s_jax.cli.evaluate import main
from v2s_jax.config import TINY, Clock, Config, ExtractorConfig
from v2s_jax.datasets import ClipRecord, open_dataset
from v2s_jax.datasets.synthetic.command import generate_dataset, make_synthetic
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.datasets.synthetic.recipe import DatasetSpec
from v2s_jax.errors import InputError
from v2s_jax.evaluation import generate_sounds, true_sounds
from v2s_jax.evaluation.classifier import load_classifier
from v2s_jax.evaluation.classifier_part import fit_on_train
from v2s_jax.evaluation.report.clip_videos import find_videos
from v2s_jax.evaluation.report.json_report import features_told, tables
from v2s_jax.evaluation.report.json_report import plots as pictures
from v2s_jax.evaluation.report.sound_tables import sound_tables
from v2s_jax.evaluation.selection import Selection, select
from v2s_jax.media import write_wav
from v2s_jax.pretrained import PRETRAINED
from v2s_jax.sampling import Sampler
from v2s_jax.training.checkpoint import Checkpointer

ROOT = Path(__file__).parents[2]
CATEGORIES = ("drum", "water_flowing")
MINI = Preset("mini", train_clips=1, test_clips=3, video_frames=16, categories=CATEGORIES)
SAMPLES = 16 * 1_024
METRICS = {
    "synchrony",
    "loudness",
    "spectral",
    "frechet",
    "health",
    "category_accuracy",
    "follow_rate",
    "delay_slope",
}
PICTURES = {"likelihood.png", "sight.png", "retrieval.png"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made")
    make_synthetic(out, MINI, seed=3, workers=2, overwrite=False)
    return out


def saved(path: Path, config: Config, seed: int = 0) -> Path:
    save_params(path, config, random_params(config, seed))
    return path


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("run") / "frame.safetensors", TINY)


@pytest.fixture(scope="module")
def blind(tmp_path_factory) -> Path:
    config = with_model(TINY, variant="unconditional")
    return saved(tmp_path_factory.mktemp("run") / "blind.safetensors", config, seed=1)


def evaluate(*words: str | Path) -> None:
    """Run the command in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["evaluate.py", *map(str, words)])
        main()


@pytest.fixture
def run(made, untrained, tmp_path):
    """Run with the usual options; given ones replace them."""

    def with_options(**options: str | Path) -> Path:
        usual = {"checkpoint": untrained, "data": made, "out": tmp_path / "report"}
        words = [word for name, value in (usual | options).items() for word in (f"--{name}", value)]
        evaluate(*words)
        return tmp_path / "report" / "report.json"

    return with_options


WORDS = ("--clips", "3", "--gallery", "6", "--queries", "4", "--max-seconds", "0.2")


@pytest.fixture(scope="module")
def report(made, untrained, blind, tmp_path_factory) -> Path:
    """The folder of one run of all parts with two models."""
    out = tmp_path_factory.mktemp("evaluated") / "report"
    models = ("--checkpoint", untrained, "--checkpoint", blind)
    evaluate(*models, "--data", made, "--out", out, *WORDS)
    return out


@pytest.fixture(scope="module")
def content(report) -> dict:
    return json.loads((report / "report.json").read_text())


def test_report_says_what_it_depends_on(report, content):
    assert {path.name for path in report.iterdir()} == PICTURES | {
        "classifier.safetensors",
        "report.json",
        "report.html",
        "scores",
        "sounds",
    }
    assert [model["name"] for model in content["models"]] == ["frame", "blind"]
    assert content["models"][0]["features"] == "pixels"
    assert content["models"][0]["config"]["name"] == "tiny"
    assert content["versions"].keys() >= {"v2s_jax", "jax", "librosa", "mir_eval"}
    assert content["paper"]["cross_entropy"]["test"]["Flow"] == 2.6839


def test_every_row_of_table_1_follows_from_the_clips_of_the_report(content):
    clips, rows = content["likelihood"]["clips"], content["likelihood"]["rows"]
    assert {row["model"] for row in rows} == {"frame", "blind", "uniform", "unigram"}
    for row in rows:
        own = [clip for clip in clips if clip["split"] == row["split"]]
        if row["category"] in CATEGORIES:
            own = [clip for clip in own if clip["category"] == row["category"]]
        wanted = sum(c["bits"][row["model"]] for c in own) / sum(c["samples"] for c in own)
        assert row["bits_per_sample"] == pytest.approx(wanted)  # all clips are of one length
        assert row["nats_per_sample"] == pytest.approx(wanted * np.log(2))
        assert row["clips"] == len(own)
        assert (row["bits_low"] is None) == (row["no_interval"] is not None)
    uniform = next(row for row in rows if row["model"] == "uniform")
    assert uniform["bits_per_sample"] == 8.0


def test_regret_is_what_lies_above_the_floor_of_the_data(content, made):
    floors = open_dataset(made, "test").metadata["floor_bits"]
    part = content["likelihood"]
    for clip in part["clips"]:
        assert clip["floor_bits"] == floors[clip["clip_id"]]
    assert part["regret"]
    assert all(row["bits_per_sample"] > 0 for row in part["regret"])


@pytest.mark.parametrize("levels", [{"q_levels": 64}, {"quantization": "mu_law"}])
def test_no_regret_is_given_over_a_floor_of_other_levels(made, tmp_path, capsys, levels):
    path = saved(tmp_path / "other.safetensors", with_model(TINY, **levels))
    words = ("--parts", "likelihood", "--clips", 1, "--max-seconds", 0.2)
    evaluate("--checkpoint", path, "--data", made, "--out", tmp_path / "out", *words)
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert content["data"]["metadata"]["floor_levels"] == {
        "q_levels": 256,
        "quantization": "linear",
    }
    assert content["likelihood"]["regret"] == []
    assert all(clip["floor_bits"] is None for clip in content["likelihood"]["clips"])
    assert "the floor of these clips or levels is not known" in capsys.readouterr().out


def test_page_has_every_table_and_the_sounds_of_every_clip(report, content):
    page = (report / "report.html").read_text()
    made = [*tables.likelihood_tables(content["likelihood"]), tables.sight_table(content["sight"])]
    made += tables.retrieval_tables(content["retrieval"]) + sound_tables(content["sounds"])
    assert len(made) == 4 + 11
    for table in made:
        assert replace(table, title=f"synthetic_mini: {table.title}").as_html() in page
    assert page.count("<article") == page.count("<video") == 6
    assert page.count("<audio") == 6 * 3  # true, frame, blind
    assert page.count("<img") == 6 + len(PICTURES)
    assert "6 synthetic clips of split test" in page and "--max-seconds 0.2" in page
    assert page.count("without an interval: 3 clips: an interval needs 5") > 0


def test_sight_and_retrieval_are_of_models_that_see(content):
    assert {row["model"] for row in content["sight"]} == {"frame"}
    retrieval = content["retrieval"]
    assert {row["model"] for row in retrieval["rows"]} == {"frame"}
    assert retrieval["unconditional_model"] == "blind"
    assert "less_unconditional" in {row["score"] for row in retrieval["rows"]}
    assert len(retrieval["queries"]) == 4 and len(retrieval["sounds"]) == 6
    assert np.shape(retrieval["log_likelihood_nats"]["frame"]) == (4, 6)
    chances = {
        (row["right"], row["among"], row["measure"]): row["chance"] for row in retrieval["rows"]
    }
    assert chances["instance", "all", "top_1"] == pytest.approx(1 / 6)
    assert chances["instance", "category", "top_1"] == pytest.approx(1 / 3)
    assert chances["category", "all", "top_1"] == pytest.approx(1 / 2)


def test_sounds_are_kept_and_scored_against_the_true_events(report, content):
    assert len(list((report / "sounds" / "frame").glob("*.wav"))) == 6
    assert content["sounds"]["models"].keys() == {"frame", "blind"}
    tables = content["sounds"]["models"]["frame"]["synchrony"]
    assert set(tables) == {"drum", "all clips"}  # water has no events
    true = next(row for row in tables["drum"]["rows"] if row["name"] == "true_sound")
    assert true["within"][0]["f1"]["value"] == 1.0


def test_every_metric_of_sounds_stands_beside_noise_and_true_sounds(report, content):
    part = content["sounds"]
    assert part["controls"].keys() == {"noise", "true_sound"}
    for found in (*part["models"].values(), *part["controls"].values()):
        assert found.keys() == METRICS
        for metric in ("loudness", "spectral", "frechet", "health"):
            assert found[metric].keys() == {*CATEGORIES, "all clips"}
        assert found["category_accuracy"]["reason"] is None
    assert {row["metric"] for row in part["differences"]} >= {"category_accuracy", "log_mel_db"}
    assert [clip["clip_id"] for clip in part["clips"]] == [
        clip["clip_id"] for clip in content["likelihood"]["clips"] if clip["split"] == "test"
    ]
    judge = load_classifier(report / "classifier.safetensors")
    assert (judge.categories, judge.trained_on) == (CATEGORIES, 2)


def without_train(data: Path) -> None:
    """Leave the train split out of a data set."""
    (info,) = data.glob("synthetic_mini/*/dataset_info.json")
    content = json.loads(info.read_text())
    content["splits"] = [split for split in content["splits"] if split["name"] != "train"]
    info.write_text(json.dumps(content))


def test_classifier_that_cannot_be_fitted_is_a_reason(made, tmp_path):
    def reason(data: Path, split: str, categories: tuple[str, ...]) -> str:
        clips = select(open_dataset(data, split), categories, 1)
        found = fit_on_train(str(data), clips, TINY.model)
        assert isinstance(found, str) and "\n" not in found
        return found

    assert "would know already" in reason(made, "train", CATEGORIES)
    copy = shutil.copytree(made, tmp_path / "copy")
    without_train(copy)
    assert "cannot be read: " in (found := reason(copy, "test", CATEGORIES))
    assert "no split 'train': choose from test" in found
    other = replace(MINI, test_clips=1, categories=("drum",))
    make_synthetic(tmp_path / "one", other, seed=3, workers=1, overwrite=False)
    assert reason(tmp_path / "one", "test", ("drum",)).startswith(
        "the train split has clips of drum alone"
    )


def test_export_is_refused_before_the_work(run, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(InputError, match=r"used: holds something: name a new folder"):
        run(export=tmp_path / "used")
    with pytest.raises(InputError, match="add sounds to --parts"):
        run(export=tmp_path / "new", parts="sight")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot (write|be read)"):
        run(export=tmp_path / "file" / "new")
    assert not (tmp_path / "report").exists() and not (tmp_path / "new").exists()


def test_a_run_that_was_ended_goes_on_and_reports_the_same(
    report, content, made, untrained, blind, tmp_path
):
    """A killed run leaves rows, the last one cut off, and no report."""
    out = shutil.copytree(report, tmp_path / "report")
    (out / "report.json").unlink()
    left = {}
    for path in out.glob("scores/*/*.jsonl"):
        lines = path.read_text().splitlines(keepends=True)
        left[path] = lines[0]
        path.write_text("".join(lines[: len(lines) // 2]) + lines[-1][:5])
    (out / "sounds/frame/drum-test-00001.wav").write_bytes(b"half")
    made_of = out / "sounds/frame/made.jsonl"
    made_of.write_text("".join(made_of.read_text().splitlines(keepends=True)[:2]))
    models = ("--checkpoint", untrained, "--checkpoint", blind)
    evaluate(*models, "--data", made, "--out", out, *WORDS)
    again = json.loads((out / "report.json").read_text())
    again["options"]["out"] = content["options"]["out"]
    for part in ("likelihood", "sight", "retrieval"):
        flat(again.pop(part), content[part])
    assert again == {name: value for name, value in content.items() if name in again}


def flat(found: object, wanted: object) -> None:
    """Equal but for the rounding of clips in other company."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict) and found.keys() == wanted.keys()
        for name in wanted:
            flat(found[name], wanted[name])
    elif isinstance(wanted, list):
        assert isinstance(found, list) and len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            flat(a, b)
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    else:
        assert found == wanted


def test_scores_of_another_model_are_not_mixed_in(report, made, tmp_path):
    out = shutil.copytree(report, tmp_path / "report")
    other = saved(tmp_path / "frame.safetensors", TINY, seed=5)
    with pytest.raises(InputError, match=r"test\.jsonl: scores of other params_sha256: choose"):
        evaluate("--checkpoint", other, "--data", made, "--out", out, "--parts", "sight")


def test_how_features_were_made_is_told():
    extraction = ExtractorConfig(
        flow="dis", motion_weights_sha256="ab", motion_origin="cross_modality"
    )
    config = replace(TINY, extractor="vgg19", extraction=extraction)
    assert features_told(config) == (
        "vgg19, flow dis, motion_weights_sha256 ab, motion_origin cross_modality"
    )


def drums(data: Path, count: int) -> list[ClipRecord]:
    clips = select(open_dataset(data, "test"), ["drum"], count)
    return [clips[clip] for clip in range(count)]


def test_sound_depends_on_seed_and_clip_but_not_on_company(made, untrained):
    sampler = Sampler(*load_params(untrained))
    records = drums(made, 3)

    def sounds(records: list[ClipRecord], seed: int) -> list[bytes]:
        brought: list[int] = []
        made = generate_sounds(sampler, records, seed, 1.0, brought.append)
        assert [sound.size for sound in made] == [record.waveform.size for record in records]
        assert sum(brought) == sum(record.waveform.size for record in records)
        return [sound.tobytes() for sound in made]

    together = sounds(records, 0)
    assert len(set(together)) == 3
    assert sounds(records[1:2], 0) == together[1:2]
    assert not set(sounds(records, 1)) & set(together)


def test_true_sound_passes_the_levels_of_the_model(made):
    records = drums(made, 2)
    for record, sound in zip(records, true_sounds(records, TINY.model), strict=True):
        assert len(np.unique(sound)) <= TINY.model.q_levels
        assert np.abs(sound - record.waveform / 32_768).max() <= 1 / 256 + 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"category": "drums"}, "did you mean drum?"),
        ({"split": "validation"}, "no split 'validation'"),
        ({"clips": "0"}, "--clips 0: use at least 1"),
        ({"gallery": "1"}, "--gallery 1: use at least 2"),
        ({"queries": "0"}, "--queries 0: use at least 1"),
        ({"max-seconds": "0"}, "--max-seconds 0.0: use a number of seconds above 0"),
        ({"max-seconds": "inf"}, "--max-seconds inf: use a number of seconds above 0"),
        (
            {"max-seconds": "0.0005"},
            "8 samples, fewer than one big frame of 16: use at least 0.001",
        ),
        ({"split": "train", "category": "drum"}, "1 clip of split train: retrieval needs 2"),
        ({"seed": "-1"}, "seed -1"),
        ({"report-clips": "-1"}, "--report-clips -1: use 0"),
        ({"temperature": "0"}, "temperature 0"),
        ({"checkpoint": "missing.safetensors"}, "no such checkpoint"),
    ],
)
def test_bad_input_is_one_line_with_its_mend(run, options, message, tmp_path):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        run(**options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report").exists()


def differing_configs() -> dict[str, Config]:
    rate = replace(TINY, clock=Clock(sample_rate_hz=8_000))
    return {
        "sample rates of 16000 Hz and 8000 Hz": rate,
        "numbers of levels of 256 and 64": with_model(TINY, q_levels=64),
        "quantisers of linear and mu_law": with_model(TINY, quantization="mu_law"),
    }


@pytest.mark.parametrize("message", differing_configs())
def test_models_whose_bits_mean_other_things_are_not_compared(made, untrained, tmp_path, message):
    other = saved(tmp_path / "other.safetensors", differing_configs()[message])
    models = ("--checkpoint", untrained, "--checkpoint", other)
    with pytest.raises(InputError, match=f"{message}: their bits") as caught:
        evaluate(*models, "--data", made, "--out", tmp_path / "report")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report").exists()


def test_a_model_that_diverged_is_refused(made, tmp_path):
    """Generation would make a sound of it, which could be scored like any other."""
    params = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), random_params(TINY, 0))
    save_params(tmp_path / "lost.safetensors", TINY, params)
    words = ("--checkpoint", tmp_path / "lost.safetensors", "--data", made)
    with pytest.raises(InputError, match=r"lost\.safetensors: NaN or infinity in its parameters"):
        evaluate(*words, "--out", tmp_path / "report", "--parts", "sounds")
    assert not (tmp_path / "report").exists()


def test_some_part_is_evaluated(made, untrained, tmp_path):
    words = ("--checkpoint", untrained, "--data", made, "--out", tmp_path / "report")
    with pytest.raises(InputError, match="--parts: name at least one of likelihood, sight"):
        evaluate(*words, "--parts")
    assert not (tmp_path / "report").exists()


def test_names_of_models_are_drawn_as_they_are(made, tmp_path):
    """No formula, and not left out of the legend for how it begins."""
    model = saved(tmp_path / "_a$b_$c.safetensors", TINY)
    words = ("--checkpoint", model, "--data", made, "--out", tmp_path / "report", *WORDS)
    evaluate(*words, "--parts", "likelihood", "sight", "retrieval")
    rows = json.loads((tmp_path / "report/report.json").read_text())["likelihood"]["rows"]
    axes = Figure().subplots()
    row = {"value": 1.0, "low": None, "high": None}
    pictures._bars(axes, ["dr$m_"], {rows[0]["model"]: [row], "unigram": [row]})
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["_a$b_$c", "unigram"]


def test_a_run_and_its_file_differ_by_half_precision_and_nothing_else(made, tmp_path, capsys):
    """One model under two names: the folder of a run, and the file that the run leaves."""
    params = random_params(TINY, seed=5)
    run = tmp_path / "run"
    with Checkpointer(run, TINY) as checkpoints:
        checkpoint = a_checkpoint(TINY, 4)
        state = checkpoint.state._replace(params=jax.tree.map(np.asarray, params))
        checkpoints.save(checkpoint._replace(state=state))
    file = saved(tmp_path / "file.safetensors", TINY, seed=5)
    halves = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16).astype(np.float32), params)
    jax.tree.map(np.testing.assert_array_equal, load_params(run)[1], params)
    jax.tree.map(np.testing.assert_array_equal, load_params(file)[1], halves)
    words = ("--checkpoint", run, "--checkpoint", file, "--data", made, "--parts", "likelihood")
    evaluate(*words, "--out", tmp_path / "report", "--clips", "1")
    told = capsys.readouterr().out
    assert "of the newest checkpoint of run\n" in told and "of file.safetensors\n" in told
    report = json.loads((tmp_path / "report/report.json").read_text())
    one, other = (model["params_sha256"] for model in report["models"])
    assert one != other
    for row in report["likelihood"]["differences"]:
        assert 0 < abs(row["bits_per_sample"]) < 0.01


def test_a_model_is_given_once(made, untrained, tmp_path):
    models = ("--checkpoint", untrained, "--checkpoint", untrained)
    with pytest.raises(InputError, match="given twice"):
        evaluate(*models, "--data", made, "--out", tmp_path / "report")
    models = ("--checkpoint", "frame", "--checkpoint", PRETRAINED["frame"])
    with pytest.raises(InputError, match="given twice"):
        evaluate(*models, "--data", made, "--out", tmp_path / "report")


def test_checkpoint_of_other_features_or_clock_is_refused(run, tmp_path):
    vgg = saved(tmp_path / "vgg.safetensors", replace(TINY, extractor="vgg19"))
    with pytest.raises(InputError, match=r"model vgg .* extractor is pixels, .* wants vgg19"):
        run(checkpoint=vgg)
    other = replace(TINY, clock=Clock(samples_per_video_frame=512))
    other = replace(other, training=replace(TINY.training, chunk_samples=512))
    path = saved(tmp_path / "other.safetensors", other)
    with pytest.raises(InputError, match=r"samples_per_video_frame is 1024, the config wants 512"):
        run(checkpoint=path)


def test_folder_that_cannot_be_made_is_told_before_the_work(run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/report: cannot write there"):
        run(out=tmp_path / "file" / "report")


def test_missing_events_are_named(run, made, tmp_path):
    copy = shutil.copytree(made, tmp_path / "copy")
    (copy / "clips" / "drum" / "drum-test-00001.json").unlink()
    with pytest.raises(InputError, match=r"drum-test-00001\.json: .*synthetic data only"):
        run(data=copy)


def test_events_of_another_data_set_are_refused(run, made, tmp_path):
    copy = shutil.copytree(made, tmp_path / "copy")
    label = copy / "clips" / "drum" / "drum-test-00000.json"
    content = json.loads(label.read_text())
    content["recipe"]["seed"] = 4
    label.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"drum-test-00000\.json: made with another seed"):
        run(data=copy)
    label.write_text("{}")
    with pytest.raises(InputError, match="not a clip's label"):
        run(data=copy)


def test_videos_are_found_beside_synthetic_clips_or_by_a_manifest(made, tmp_path):
    copy = shutil.copytree(made, tmp_path / "copy")

    def clips() -> Selection:
        return select(open_dataset(copy, "test"), ["drum"], 2)

    beside = find_videos(clips(), None)
    assert list(beside) == ["drum-test-00000", "drum-test-00001"]
    assert beside["drum-test-00000"].pass_sec == SAMPLES / 16_000
    videos = (copy / "clips" / "drum").rename(tmp_path / "videos")
    assert find_videos(clips(), None) == {}
    with pytest.raises(InputError, match=r"manifest\.jsonl: cannot be read"):
        find_videos(clips(), videos)
    rows = [
        {"clip_id": "drum-test-00000", "source": "drum-test-00000.mp4", "video_frames": 8},
        {"clip_id": "drum-test-00001", "source": "gone.mp4", "video_frames": 16},
    ]
    lines = [json.dumps(row | {"status": "used"}) for row in rows]
    lines.append(json.dumps({"clip_id": None, "source": "a.txt", "status": "rejected"}))
    manifest = clips().data.directory.parent / "manifest.jsonl"
    manifest.write_text("\n".join(lines))
    found = find_videos(clips(), videos)
    assert found == {"drum-test-00000": (videos / "drum-test-00000.mp4", 0.512)}
    with pytest.raises(InputError, match="none of the 2 clips is there"):
        find_videos(clips(), tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_videos(clips(), tmp_path / "gone")
    manifest.write_text("{}")
    with pytest.raises(InputError, match="not a manifest"):
        find_videos(clips(), videos)


def python(*words: str | Path) -> str:
    """Run a command in a process of its own; return what it printed."""
    ended = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "warning" not in ended.stderr.lower()
    return ended.stdout


QUICK = ("--training.steps", "4", "--training.eval-every-steps", "0")


@pytest.mark.slow
def test_a_family_of_models_scores_each_clip_by_its_category_s(made, tmp_path):
    """As if each had been evaluated on its own category alone."""
    family = tmp_path / "each"
    python("train.py", "tiny", "--data", made, "--workdir", family, "--run.each-category", *QUICK)
    parts = ("--parts", "likelihood", "retrieval", "--max-seconds", "0.2")
    evaluate("--checkpoint", family, "--data", made, "--out", tmp_path / "all", *parts)
    together = json.loads((tmp_path / "all/report.json").read_text())
    assert not together["models"][0]["one_for_all_categories"]
    bits = {clip["clip_id"]: clip["bits"] for clip in together["likelihood"]["clips"]}
    for category in CATEGORIES:
        out = tmp_path / category
        one = family / category
        of_one = ("--data", made, "--out", out, "--category", category, "--parts", "likelihood")
        evaluate("--checkpoint", one, *of_one)
        alone = json.loads((out / "report.json").read_text())["likelihood"]["clips"]
        for clip in alone:
            found = bits[clip["clip_id"]]["each"] / clip["samples"]
            assert found == pytest.approx(clip["bits"][category] / clip["samples"], abs=1e-5)
    shutil.rmtree(family / "drum")
    with pytest.raises(InputError, match="each: no run of drum"):
        evaluate("--checkpoint", family, "--data", made, "--out", tmp_path / "all")


@pytest.mark.slow
def test_trained_models_from_the_command_line(made, tmp_path):
    """Two small trainings, then the whole evaluation, twice: each in a process of its own."""
    for variant in ("frame", "unconditional"):
        model = ("--model.variant", variant)
        python("train.py", "tiny", "--data", made, "--workdir", tmp_path / variant, *model, *QUICK)
    words = ("--checkpoint", tmp_path / "frame", "--checkpoint", tmp_path / "unconditional")
    out = ("--data", made, "--out", tmp_path / "report", *WORDS)
    printed = python("evaluate.py", *words, *out)
    for told in (
        "Cross-entropy, bits per sample",
        "frame minus unconditional, test, paired",
        "regret of frame, test",
        "the paper, on VEGAS, test: Frame 2.7061, Seq 2.6866, Flow 2.6839",
        "4 videos x 6 sounds of 0.20 s: 24 scores",
        "Retrieval with frame",
        "Synchrony of unconditional",
    ):
        assert told in printed
    first = (tmp_path / "report/report.json").read_text()
    python("evaluate.py", *words, *out)
    assert (tmp_path / "report/report.json").read_text() == first


@pytest.mark.slow
@pytest.mark.parametrize("probe", ["counterfactual", "delay"])
def test_true_sounds_in_the_place_of_generated_ones_reach_the_ceiling(
    probe, untrained, tmp_path, capsys
):
    """Through the whole command, on the set that was made for the probe; the export follows."""
    order = DatasetSpec(replace(MINI, test_clips=6), seed=3, probe=probe)
    data = generate_dataset(tmp_path / "made", order, workers=2, overwrite=False)
    clips = select(open_dataset(data, "test"), CATEGORIES, 6)
    words = ("--checkpoint", untrained, "--data", data, "--out", tmp_path / "report")
    evaluate(*words, "--parts", "sounds")
    first = json.loads((tmp_path / "report/report.json").read_text())["sounds"]
    for clip in range(len(clips)):
        (sound,) = true_sounds([clips[clip]], TINY.model)
        write_wav(tmp_path / f"report/sounds/frame/{clips.clip_ids[clip]}.wav", sound, 16_000)
    capsys.readouterr()
    evaluate(*words, "--parts", "sounds", "--export", tmp_path / "export")
    printed = capsys.readouterr().out
    assert f"synthetic_mini_{probe}: Synchrony of frame" in printed
    again = json.loads((tmp_path / "report/report.json").read_text())["sounds"]
    assert again["controls"] == first["controls"]
    true = again["controls"]["true_sound"]
    untrained_model, copied = first["models"]["frame"], again["models"]["frame"]
    for name in ("synchrony", "category_accuracy", "follow_rate", "delay_slope"):
        flat(copied[name], true[name])
    distances = [
        m["spectral"]["all clips"][0]["log_mel_db"]["value"] for m in (untrained_model, copied)
    ]
    assert distances[0] > 5 and distances[1] < 0.01  # 16 bits of the wav
    if probe == "counterfactual":
        score = copied["follow_rate"]["by_category"]["all clips"]
        halves = score["untold_by_onsets"] / (4 * score["pairs_with_events"])
        assert score["by_onsets"]["value"] == pytest.approx(1 - halves)  # all that can be told
        assert score["by_loudness"]["value"] > 0.9
        assert (score["pairs"], score["pairs_with_events"]) == (6, 3)
        assert copied["delay_slope"]["by_category"] == {}
    else:
        score = copied["delay_slope"]["by_category"]["drum"]
        assert score["sec_per_m"]["value"] == pytest.approx(1 / 343, rel=0.05)
        assert copied["delay_slope"]["by_category"]["water_flowing"]["sec_per_m"]["value"] is None
    for clip_id in clips.clip_ids:
        wavs = [tmp_path / f"export/frame/{kind}_audio/{clip_id}.wav" for kind in ("gt", "pred")]
        assert wavs[0].read_bytes() == wavs[1].read_bytes()
        assert (tmp_path / f"export/frame/gt_video/{clip_id}.mp4").stat().st_size
    corrupt = tmp_path / f"report/sounds/frame/{clips.clip_ids[0]}.wav"
    write_wav(corrupt, np.zeros(5, np.float32), 16_000)
    with pytest.raises(InputError, match=r"00000\.wav: 5 samples instead of 16384: remove .*made"):
        evaluate(*words, "--parts", "sounds", "--export", tmp_path / "export2")
    assert not (tmp_path / "export2").exists()
