"""The listening study: pages, key, answers and scores."""

import csv
import json
import re
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.browser import browsing, needs_browser, text_of, wait_until
from v2s_jax.cli import study as command
from v2s_jax.errors import InputError
from v2s_jax.human_eval.study.answers import (
    ANSWER_FIELDS,
    CHOICE,
    FAKE,
    KEY_FILE,
    ORIGINAL,
    QUESTIONS,
    REAL,
    REAL_OR_FAKE,
    Item,
    Key,
    format_report,
    read_answers,
    read_key,
    score_study,
)
from v2s_jax.human_eval.study.build_pages import MAX_MODELS, TEMPLATE, find_clips, make_study
from v2s_jax.media import mux, probe, write_clip, write_wav

MODELS = ("frame", "seq", "flow")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[dict[str, Path], Path]:
    """Two drums and a dog of half a second, and tones that three models generated for them."""
    root = tmp_path_factory.mktemp("generated")
    frames = np.zeros((8, 16, 16, 3), np.uint8)
    sec = np.arange(8_000) / 16_000
    for number, name in enumerate(("drum/videos/a", "drum/videos/b", "dog/c")):
        path = root / "videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clip(path, frames, Fraction(16), np.sin(sec * 900).astype(np.float32), 16_000)
        for model in MODELS:
            out = root / model
            out.mkdir(exist_ok=True)
            tone = np.sin(sec * (2_000 + 500 * number)).astype(np.float32)
            write_wav(out / "tone.wav", tone, 16_000)
            mux(probe(path), out / "tone.wav", out / f"{path.stem}_sound")
    return {model: root / model for model in MODELS}, root / "videos"


@pytest.fixture(scope="module")
def study(folders, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("study") / "study"
    sounds, videos = folders
    pages = make_study(sounds, videos, out, max_clips=None, seed=0)
    assert [page.name for page in pages] == ["choice.html", "real-or-fake.html"]
    return out


def test_only_the_key_reveals_models(study):
    key = read_key(study)
    choice = [item for item in key.items if item.page == CHOICE]
    assert [(item.clip, item.category) for item in choice] == [
        ("a", "drum"),
        ("b", "drum"),
        ("c", "dog"),
    ]
    assert all(sorted(item.options.values()) == sorted(MODELS) for item in choice)
    judged = [
        (item.clip, *item.options.values()) for item in key.items if item.page == REAL_OR_FAKE
    ]
    alone = {("c", name) for name in (*MODELS, ORIGINAL)}  # there is no other dog
    paired = {(clip, name) for clip in "ab" for name in (*MODELS, ORIGINAL, "mismatched")}
    assert set(judged) == alone | paired and len(judged) == 14
    for page in ("choice.html", "real-or-fake.html"):
        text = (study / page).read_text()
        text = text[text.index("const page") :]
        assert not any(f'"{name}"' in text for name in (*MODELS, ORIGINAL, "mismatched", "drum"))
        assert "http" not in text.replace("data:video/mp4", "")


def test_one_model_and_one_clip_drawn_by_the_seed(folders, tmp_path):
    generated, videos = folders
    keys = []
    for number, seed in enumerate((0, 0, 1)):
        out = tmp_path / str(number)
        pages = make_study({"flow": generated["flow"]}, videos, out, max_clips=1, seed=seed)
        assert [page.name for page in pages] == ["real-or-fake.html"]
        keys.append(read_key(out))
    assert len({item.clip for item in keys[0].items}) == 1
    assert keys[0] == keys[1] != keys[2]


def test_originals_are_found_by_their_paths(folders, tmp_path):
    """Two classes with equal names, in the tree that `v2s sample` keeps."""
    generated, videos = folders
    for folder in ("drum/videos", "dog/videos"):
        for root, source, name in (
            ("in", videos / "dog" / "c.mp4", "video_0.mp4"),
            ("out", generated["flow"] / "c_sound.mp4", "video_0_sound.mp4"),
        ):
            (tmp_path / root / folder).mkdir(parents=True)
            shutil.copy(source, tmp_path / root / folder / name)
    clips = find_clips({"flow": tmp_path / "out"}, tmp_path / "in")
    assert [(clip.name, clip.category) for clip in clips] == [
        (f"{name}/videos/video_0", name) for name in ("dog", "drum")
    ]
    for clip in clips:
        assert clip.original.path == tmp_path / "in" / f"{clip.name}.mp4"
        assert clip.generated == {"flow": tmp_path / "out" / f"{clip.name}_sound.mp4"}
    (only,) = find_clips({"flow": tmp_path / "out" / "dog"}, tmp_path / "in" / "dog")
    assert only.original.path == clips[0].original.path
    with pytest.raises(InputError, match=r"original of video_0_sound is there twice"):
        find_clips({"flow": tmp_path / "out" / "dog" / "videos"}, tmp_path / "in")


# Scores


def key_of(clips: int) -> Key:
    items = [
        Item(f"i{clip}", CHOICE, f"clip{clip}", "dog", {"x": "frame", "y": "seq", "z": "flow"})
        for clip in range(clips)
    ]
    items += [
        Item(f"{name}{clip}", REAL_OR_FAKE, f"clip{clip}", "dog", {"o": name})
        for clip in range(clips)
        for name in ("flow", ORIGINAL)
    ]
    return Key("s", list(MODELS), items)


def write_answers(path: Path, rows: list[tuple[str, ...]]) -> Path:
    """rater, page, item, question, answer"""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(ANSWER_FIELDS)
        for rater, page, item, question, answer in rows:
            writer.writerow(["s", page, rater, "1", item, question, "x y z", answer, "1.0"])
    return path


def choices(rater: str, answers: str, question: str = "overall") -> list[tuple[str, ...]]:
    return [(rater, CHOICE, f"i{n}", question, answer) for n, answer in enumerate(answers)]


def test_rates_are_fractions_of_answers(tmp_path):
    key = key_of(6)
    rows = choices("Ann", "zzzxzz") + choices("Bob", "zzyxzz")
    answers, incomplete = read_answers(key, [write_answers(tmp_path / "a.csv", rows)])
    report = score_study(key, answers, seed=0)
    rates = {rate.name: rate for rate in report.rates if rate.category == "all"}
    assert [rates[model].rate for model in MODELS] == [2 / 12, 1 / 12, 9 / 12]
    flow = rates["flow"]
    assert flow.answers == 12
    assert flow.low <= 9 / 12 <= flow.high
    assert rates["seq"].low == 0  # a resample may miss the one clip
    assert incomplete == [
        f"{rater} answered 6 of 24 questions of choice: the others do not count"
        for rater in ("Ann", "Bob")
    ]
    assert f"flow {75.0:>18}%".split()[1] in format_report(report)


def test_agreement_is_perfect_chance_or_undefined(tmp_path):
    key = key_of(6)
    for rows, low, high in (
        (choices("Ann", "xyzxyz") + choices("Bob", "xyzxyz"), 1, 1),
        (choices("Ann", "xxxyyy") + choices("Bob", "yyyxxx"), -1, 0),
    ):
        answers, _ = read_answers(key, [write_answers(tmp_path / "a.csv", rows)])
        (agreement,) = score_study(key, answers, seed=0).agreement
        assert low <= agreement.alpha <= high
    for rows in (choices("Ann", "xyzxyz"), choices("Ann", "xx") + choices("Bob", "xx")):
        answers, _ = read_answers(key, [write_answers(tmp_path / "a.csv", rows)])
        assert score_study(key, answers, seed=0).agreement[0].alpha is None


def test_agreement_of_a_published_example(tmp_path):
    """Krippendorff 2011, nominal data of two observers and ten units: alpha = 0.095."""
    key = key_of(10)
    first, second = "0100000000", "1110010001"
    rows = [
        (rater, REAL_OR_FAKE, f"flow{unit}", "real", FAKE if value == "0" else REAL)
        for rater, values in (("Ann", first), ("Bob", second))
        for unit, value in enumerate(values)
    ]
    answers, _ = read_answers(key, [write_answers(tmp_path / "a.csv", rows)])
    (agreement,) = score_study(key, answers, seed=0).agreement
    assert agreement.alpha == pytest.approx(0.095, abs=5e-4)


def test_what_is_taken_for_real(tmp_path):
    key = key_of(2)
    rows = [
        (rater, REAL_OR_FAKE, f"{name}{clip}", "real", REAL if said == "r" else FAKE)
        for rater, saids in (("Ann", "rrff"), ("Bob", "rrrf"), ("Eve", "frrf"))
        for (name, clip), said in zip(
            [(ORIGINAL, 0), (ORIGINAL, 1), ("flow", 0), ("flow", 1)], saids, strict=True
        )
    ]
    answers, incomplete = read_answers(key, [write_answers(tmp_path / "a.csv", rows)])
    assert incomplete == []
    report = score_study(key, answers, seed=0)
    assert format_report(report).splitlines()[0] == "3 raters"  # no choice page, no chance rate
    rates = {(r.question, r.name): r.rate for r in report.rates if r.category == "all"}
    assert rates == {
        ("taken for real", "flow"): 2 / 6,
        ("taken for real by most", "flow"): 1 / 2,
        ("taken for real", ORIGINAL): 5 / 6,
        ("taken for real by most", ORIGINAL): 1,
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("Ann", CHOICE, "i9", "overall", "x"), "line 2: no item 'i9'"),
        (("Ann", REAL_OR_FAKE, "i0", "real", REAL), "no item 'i0' on page 'real-or-fake'"),
        (("Ann", CHOICE, "i0", "beauty", "x"), "question 'beauty': use correctness"),
        (("Ann", CHOICE, "i0", "overall", "frame"), "answer 'frame': use x, y, z"),
        ((" ", CHOICE, "i0", "overall", "x"), "answer without a name"),
    ],
)
def test_invalid_answers_are_rejected(tmp_path, row, message):
    with pytest.raises(InputError) as caught:
        read_answers(key_of(1), [write_answers(tmp_path / "a.csv", [row])])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_invalid_answer_files_are_rejected(tmp_path):
    key = key_of(1)
    row = ("Ann", CHOICE, "i0", "overall", "x")
    twice = [write_answers(tmp_path / f"{name}.csv", [row]) for name in "ab"]
    with pytest.raises(InputError, match=r"b\.csv: line 2: Ann answered overall of i0 before"):
        read_answers(key, twice)
    with pytest.raises(InputError, match="is of study 's', this one is 't'"):
        read_answers(Key("t", [], []), twice[:1])
    with pytest.raises(InputError, match="no answers"):
        read_answers(key, [write_answers(tmp_path / "none.csv", [])])
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column study"):
        read_answers(key, [tmp_path / "other.csv"])
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(InputError, match="not CSV"):
        read_answers(key, [tmp_path / "bytes.csv"])
    with pytest.raises(InputError, match="cannot be read"):
        read_answers(key, [tmp_path / "missing.csv"])


# The commands


def run_command(monkeypatch, *args: object) -> None:
    monkeypatch.setattr(sys, "argv", ["v2s study", *map(str, args)])
    command.main()


def test_commands_make_and_score(folders, tmp_path, capsys, monkeypatch):
    sounds, videos = folders
    models = [arg for name, path in sounds.items() for arg in ("--sounds", f"{name}={path}")]
    study = tmp_path / "study"
    run_command(monkeypatch, "make", *models, "--videos", videos, "--out", study, "--clips", 2)
    key = read_key(study)
    rows = [
        [key.study, CHOICE, "Ann", 1, item.item, question, "", option, 1]
        for item in key.items
        if item.page == CHOICE
        for question in QUESTIONS[CHOICE]
        for option, model in item.options.items()
        if model == "seq"
    ]
    with (tmp_path / "ann.csv").open("w", newline="") as file:
        csv.writer(file).writerows([ANSWER_FIELDS, *rows])
    run_command(monkeypatch, "score", study, "--answers", tmp_path / "ann.csv")
    printed = capsys.readouterr().out
    assert "seq              100.0%" in printed and "chance of a choice 33.3%" in printed
    assert json.loads((study / "scores.json").read_text())["raters"] == ["Ann"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("make --sounds a --videos v --out o", "--sounds a: use NAME=FOLDER"),
        ("make --sounds a=b --sounds a=c --videos v --out o", "--sounds a=c: use NAME=FOLDER"),
        ("make --sounds a=nowhere --videos v --out o", "nowhere: no such folder"),
        ("make --sounds original=. --videos v --out o", "original: the name of a control"),
        ("make --sounds a=. --videos v --out o", "no video that every model has"),
        ("make --sounds a=. --videos v --out o --clips 0", "--clips 0: use at least 1"),
        ("score . --answers a", "key.json: cannot be read"),
    ],
)
def test_invalid_arguments_are_rejected(monkeypatch, tmp_path, args, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        run_command(monkeypatch, *args.split())
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_edited_key_is_rejected_in_one_line(folders, tmp_path):
    sounds, videos = folders
    make_study(sounds, videos, tmp_path / "study", 1, 0)
    file = tmp_path / "study" / KEY_FILE
    whole = file.read_text()
    for field in ("study", "models", "items", "item", "page", "clip", "options"):
        for value in (3, ["x"], {"x": [1]}):
            key = json.loads(whole)
            (key if field in key else key["items"][0])[field] = value
            file.write_text(json.dumps(key))
            if (field, value) == ("models", ["x"]):
                assert read_key(file.parent).models == ["x"]
                continue
            with pytest.raises(InputError, match="not the key of a study") as caught:
                read_key(file.parent)
            assert "\n" not in str(caught.value)


def test_key_with_an_unknown_page_is_rejected(folders, tmp_path):
    sounds, videos = folders
    make_study(sounds, videos, tmp_path / "study", 1, 0)
    file = tmp_path / "study" / KEY_FILE
    file.write_text(file.read_text().replace(f'"{REAL_OR_FAKE}"', '"guess"'))
    with pytest.raises(InputError, match=r"not the key of a study \(unknown pages \['guess'\]\)"):
        read_key(file.parent)


def test_page_has_a_letter_for_each_model(tmp_path):
    letters = re.search(r'LETTERS = "(\w+)"', TEMPLATE.read_text())
    assert letters is not None and len(letters[1]) == MAX_MODELS
    many = {f"model{number}": tmp_path for number in range(MAX_MODELS + 1)}
    with pytest.raises(InputError, match="9 models: a page has at most 8: give fewer"):
        make_study(many, tmp_path, tmp_path / "o", None, 0)


def test_originals_must_be_unique(folders, tmp_path):
    sounds, videos = folders
    with pytest.raises(InputError, match="the original of a_sound is missing"):
        make_study(sounds, videos / "dog", tmp_path / "o", None, 0)
    for name in "xy":
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"the original of a_sound is there twice"):
        make_study(sounds, tmp_path, tmp_path / "o", None, 0)


# The pages, in a browser


@pytest.mark.slow
@needs_browser
def test_rater_answers_with_the_keyboard(study, tmp_path):
    key = read_key(study)
    can_answer = "return !document.querySelector('#answers button').disabled"  # all have played
    with browsing() as browser:
        browser.open(study / "choice.html")
        order = browser.run("return state.order")
        assert sorted(order) == [0, 1, 2]
        assert "Which of these sounds most likely" in browser.run(text_of("question"))
        browser.press("1")  # nothing was played yet
        assert "Play every one of them first." in browser.run(text_of("warning"))
        for letter in "abc":
            browser.press(letter)
            ready = f"return document.getElementById('player-{letter}').readyState >= 2"
            wait_until(lambda ready=ready: browser.run(ready))
        assert browser.run("return document.querySelectorAll('video').length") == 3
        wait_until(lambda: browser.run(can_answer))
        browser.press("1321")
        assert "5 of 12, 4 answered" in browser.run(text_of("progress"))
        browser.open(study / "choice.html")  # as if it had been closed
        assert "5 of 12, 4 answered" in browser.run(text_of("progress"))
        assert browser.run("return state.order") == order
        shown = browser.run("return state.shown[page.items[state.order[0]].id]")
        browser.run("document.getElementById('download').click()")
        assert "Write your name first." in browser.run(text_of("warning"))
        browser.press("Ann")  # the name field has the focus
        (tmp_path / "ann.csv").write_text(browser.run("return table()"))

        browser.open(study / "real-or-fake.html")
        # A busy browser may lose a key that comes right after the page.
        wait_until(lambda: browser.run(can_answer) or browser.press(" "))
        browser.press("2")
        assert "2 of 14, 1 answered" in browser.run(text_of("progress"))
        browser.run("document.getElementById('rater').value = state.rater = 'Ann'")
        (tmp_path / "ann-real.csv").write_text(browser.run("return table()"))
    answers, incomplete = read_answers(key, [tmp_path / "ann.csv", tmp_path / "ann-real.csv"])
    first = next(item for item in key.items if item.page == CHOICE and item.clip == "abc"[order[0]])
    assert [(one.question, one.answer) for one in answers if one.item.page == CHOICE] == [
        (question, first.options[shown[place]])
        for question, place in zip(QUESTIONS[CHOICE], (0, 2, 1, 0), strict=True)
    ]
    assert [one.answer for one in answers if one.item.page == REAL_OR_FAKE] == [FAKE]
    assert len(incomplete) == 2
