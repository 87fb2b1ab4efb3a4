"""The study with people: its pages, answered in a browser; its key; what answers are worth."""

import csv
import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.browser import browsing, needs_browser, text_of, wait_until
from v2s_jax.cli import study as command
from v2s_jax.errors import InputError
from v2s_jax.human_eval.study import make_study, read_answers, read_key, report, table
from v2s_jax.human_eval.study.key import (
    CHOICE,
    FAKE,
    KEY_FILE,
    ORIGINAL,
    QUESTIONS,
    REAL,
    REAL_OR_FAKE,
    Item,
    Key,
)
from v2s_jax.human_eval.study.making import FIELDS, MOST_MODELS, TEMPLATE
from v2s_jax.media import mux, probe, write_clip, write_wav

MODELS = ("frame", "seq", "flow")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[dict[str, Path], Path]:
    """Two drums and a dog of half a second, sounded by three models with tones of their own."""
    root = tmp_path_factory.mktemp("sounded")
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
def made(folders, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("study") / "study"
    sounds, videos = folders
    pages = make_study(sounds, videos, out, clips=None, seed=0)
    assert [page.name for page in pages] == ["choice.html", "real-or-fake.html"]
    return out


def test_the_key_knows_and_the_pages_do_not(made):
    key = read_key(made)
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
    alone = {("c", name) for name in (*MODELS, ORIGINAL)}  # no other dog to borrow from
    paired = {(clip, name) for clip in "ab" for name in (*MODELS, ORIGINAL, "mismatched")}
    assert set(judged) == alone | paired and len(judged) == 14
    for page in ("choice.html", "real-or-fake.html"):
        text = (made / page).read_text()
        text = text[text.index("const study") :]
        assert not any(f'"{name}"' in text for name in (*MODELS, ORIGINAL, "mismatched", "drum"))
        assert "http" not in text.replace("data:video/mp4", "")


def test_the_same_seed_makes_the_same_study(made, folders, tmp_path):
    for seed, same in ((0, True), (1, False)):
        make_study(*folders, tmp_path / str(seed), clips=None, seed=seed)
        assert (read_key(tmp_path / str(seed)) == read_key(made)) == same


def test_fewer_clips_and_one_model(folders, tmp_path):
    sounds, videos = folders
    pages = make_study({"flow": sounds["flow"]}, videos, tmp_path / "one", clips=1, seed=0)
    assert [page.name for page in pages] == ["real-or-fake.html"]
    assert len({item.clip for item in read_key(tmp_path / "one").items}) == 1


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


def written(path: Path, rows: list[tuple[str, ...]]) -> Path:
    """rater, page, item, question, answer"""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        for rater, page, item, question, answer in rows:
            writer.writerow(["s", page, rater, "1", item, question, "x y z", answer, "1.0"])
    return path


def choices(rater: str, answers: str, question: str = "overall") -> list[tuple[str, ...]]:
    return [(rater, CHOICE, f"i{n}", question, answer) for n, answer in enumerate(answers)]


def test_rates_are_shares_of_answers(tmp_path):
    key = key_of(6)
    rows = choices("Ann", "zzzxzz") + choices("Bob", "zzyxzz")
    answers, left_out = read_answers(key, [written(tmp_path / "a.csv", rows)])
    found = report(key, answers, seed=0)
    rates = {rate["name"]: rate for rate in found["rates"] if rate["category"] == "all"}
    assert [rates[model]["rate"] for model in MODELS] == [2 / 12, 1 / 12, 9 / 12]
    assert rates["flow"]["answers"] == 12
    assert rates["flow"]["low"] <= 9 / 12 <= rates["flow"]["high"]
    assert rates["seq"]["low"] == 0  # a resample may miss the one clip
    assert left_out == [
        f"{rater} answered 6 of 24 questions of choice: the others do not count"
        for rater in ("Ann", "Bob")
    ]
    assert f"flow {75.0:>18}%".split()[1] in table(found)


def test_agreement_is_perfect_chance_or_undefined(tmp_path):
    key = key_of(6)
    for rows, low, high in (
        (choices("Ann", "xyzxyz") + choices("Bob", "xyzxyz"), 1, 1),
        (choices("Ann", "xxxyyy") + choices("Bob", "yyyxxx"), -1, 0),
    ):
        answers, _ = read_answers(key, [written(tmp_path / "a.csv", rows)])
        (agreement,) = report(key, answers, seed=0)["agreement"]
        assert low <= agreement["alpha"] <= high
    for rows in (choices("Ann", "xyzxyz"), choices("Ann", "xx") + choices("Bob", "xx")):
        answers, _ = read_answers(key, [written(tmp_path / "a.csv", rows)])
        assert report(key, answers, seed=0)["agreement"][0]["alpha"] is None


def test_agreement_of_a_published_example(tmp_path):
    """Krippendorff 2011, nominal data of two observers and ten units: alpha = 0.095."""
    key = key_of(10)
    first, second = "0100000000", "1110010001"
    rows = [
        (rater, REAL_OR_FAKE, f"flow{unit}", "real", FAKE if value == "0" else REAL)
        for rater, values in (("Ann", first), ("Bob", second))
        for unit, value in enumerate(values)
    ]
    answers, _ = read_answers(key, [written(tmp_path / "a.csv", rows)])
    (agreement,) = report(key, answers, seed=0)["agreement"]
    assert agreement["alpha"] == pytest.approx(0.095, abs=5e-4)


def test_what_is_taken_for_real(tmp_path):
    key = key_of(2)
    rows = [
        (rater, REAL_OR_FAKE, f"{name}{clip}", "real", REAL if said == "r" else FAKE)
        for rater, saids in (("Ann", "rrff"), ("Bob", "rrrf"), ("Eve", "frrf"))
        for (name, clip), said in zip(
            [(ORIGINAL, 0), (ORIGINAL, 1), ("flow", 0), ("flow", 1)], saids, strict=True
        )
    ]
    answers, left_out = read_answers(key, [written(tmp_path / "a.csv", rows)])
    assert left_out == []
    told = report(key, answers, seed=0)
    assert table(told).splitlines()[0] == "3 raters"  # nobody chose, so there is no chance of it
    found = {(r["question"], r["name"]): r["rate"] for r in told["rates"] if r["category"] == "all"}
    assert found == {
        ("taken for real", "flow"): 2 / 6,
        ("taken for real by most", "flow"): 1 / 2,
        ("taken for real", ORIGINAL): 5 / 6,
        ("taken for real by most", ORIGINAL): 1,
    }


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (("Ann", CHOICE, "i9", "overall", "x"), "line 2: no item 'i9'"),
        (("Ann", REAL_OR_FAKE, "i0", "real", REAL), "no item 'i0' on page 'real-or-fake'"),
        (("Ann", CHOICE, "i0", "beauty", "x"), "question 'beauty': use correctness"),
        (("Ann", CHOICE, "i0", "overall", "frame"), "answer 'frame': use x, y, z"),
        ((" ", CHOICE, "i0", "overall", "x"), "nobody's answer"),
    ],
)
def test_bad_answers(tmp_path, row, says):
    with pytest.raises(InputError) as caught:
        read_answers(key_of(1), [written(tmp_path / "a.csv", [row])])
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_bad_files_of_answers(tmp_path):
    key = key_of(1)
    row = ("Ann", CHOICE, "i0", "overall", "x")
    twice = [written(tmp_path / f"{name}.csv", [row]) for name in "ab"]
    with pytest.raises(InputError, match=r"b\.csv: line 2: Ann answered overall of i0 before"):
        read_answers(key, twice)
    with pytest.raises(InputError, match="of study 's', this one is 't'"):
        read_answers(Key("t", [], []), twice[:1])
    with pytest.raises(InputError, match="no answers"):
        read_answers(key, [written(tmp_path / "none.csv", [])])
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column study"):
        read_answers(key, [tmp_path / "other.csv"])
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(InputError, match="not CSV"):
        read_answers(key, [tmp_path / "bytes.csv"])
    with pytest.raises(InputError, match="cannot be read"):
        read_answers(key, [tmp_path / "missing.csv"])


# The commands


def test_the_commands_make_and_score(folders, tmp_path, capsys):
    sounds, videos = folders
    words = [word for name, path in sounds.items() for word in ("--sounds", f"{name}={path}")]
    study = tmp_path / "study"
    command.main(["make", *words, "--videos", str(videos), "--out", str(study), "--clips", "2"])
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
        csv.writer(file).writerows([FIELDS, *rows])
    command.main(["score", str(study), "--answers", str(tmp_path / "ann.csv")])
    told = capsys.readouterr().out
    assert "seq              100.0%" in told and "chance of a choice 33.3%" in told
    assert json.loads((study / "scores.json").read_text())["raters"] == ["Ann"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("make --sounds a --videos v --out o", "--sounds a: use NAME=FOLDER"),
        ("make --sounds a=b --sounds a=c --videos v --out o", "--sounds a=c: use NAME=FOLDER"),
        ("make --sounds a=nowhere --videos v --out o", "nowhere: no such folder"),
        ("make --sounds original=. --videos v --out o", "original: the name of a control"),
        ("make --sounds a=. --videos v --out o", "no video that every model sounded"),
        ("make --sounds a=. --videos v --out o --clips 0", "--clips 0: use at least 1"),
        ("score . --answers a", "key.json: cannot be read"),
    ],
)
def test_bad_words(monkeypatch, tmp_path, words, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        command.main(words.split())
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_key_with_a_page_that_no_study_has_is_refused(folders, tmp_path):
    sounds, videos = folders
    make_study(sounds, videos, tmp_path / "study", 1, 0)
    file = tmp_path / "study" / KEY_FILE
    file.write_text(file.read_text().replace(f'"{REAL_OR_FAKE}"', '"guess"'))
    with pytest.raises(InputError, match=r"not a study's key \(unknown pages \['guess'\]\)"):
        read_key(file.parent)


def test_every_model_of_a_page_has_a_letter(tmp_path):
    letters = re.search(r'LETTERS = "(\w+)"', TEMPLATE.read_text())
    assert letters is not None and len(letters[1]) == MOST_MODELS
    many = {f"model{number}": tmp_path for number in range(MOST_MODELS + 1)}
    with pytest.raises(InputError, match="9 models: a page compares at most 8: give fewer"):
        make_study(many, tmp_path, tmp_path / "o", None, 0)


def test_originals_must_be_there_once(folders, tmp_path):
    sounds, videos = folders
    with pytest.raises(InputError, match="the original of a_sound is not there"):
        make_study(sounds, videos / "dog", tmp_path / "o", None, 0)
    for name in "xy":
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"the original of a_sound is there twice"):
        make_study(sounds, tmp_path, tmp_path / "o", None, 0)


# The pages, in a browser


@pytest.mark.slow
@needs_browser
def test_people_answer_with_the_keyboard(made, tmp_path):
    key = read_key(made)
    can_answer = "return !document.querySelector('#answers button').disabled"  # all have played
    with browsing() as browser:
        browser.open(made / "choice.html")
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
        browser.open(made / "choice.html")  # as if it had been closed
        assert "5 of 12, 4 answered" in browser.run(text_of("progress"))
        assert browser.run("return state.order") == order
        shown = browser.run("return state.shown[study.items[state.order[0]].id]")
        browser.run("document.getElementById('download').click()")
        assert "Write your name first." in browser.run(text_of("warning"))
        browser.press("Ann")  # the name's field has the focus
        (tmp_path / "ann.csv").write_text(browser.run("return table()"))

        browser.open(made / "real-or-fake.html")
        # A busy browser may lose a key that comes right after the page.
        wait_until(lambda: browser.run(can_answer) or browser.press(" "))
        browser.press("2")
        assert "2 of 14, 1 answered" in browser.run(text_of("progress"))
        browser.run("document.getElementById('rater').value = state.rater = 'Ann'")
        (tmp_path / "ann-real.csv").write_text(browser.run("return table()"))
    answers, left_out = read_answers(key, [tmp_path / "ann.csv", tmp_path / "ann-real.csv"])
    first = next(item for item in key.items if item.page == CHOICE and item.clip == "abc"[order[0]])
    assert [(one.question, one.answer) for one in answers if one.item.page == CHOICE] == [
        (question, first.options[shown[place]])
        for question, place in zip(QUESTIONS[CHOICE], (0, 2, 1, 0), strict=True)
    ]
    assert [one.answer for one in answers if one.item.page == REAL_OR_FAKE] == [FAKE]
    assert len(left_out) == 2
