"""report.html: self-contained, of bounded size, and playable from the disk."""

import re
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.browser import browsing, needs_browser, wait_until
from v2s_jax.config import Clock
from v2s_jax.evaluation.clips import ClipVideo
from v2s_jax.evaluation.report import page as page_module
from v2s_jax.evaluation.report.clip_figure import NamedAudio, Targets
from v2s_jax.evaluation.report.page import ReportClip, encode_clip, write_report_page
from v2s_jax.evaluation.report.tables import Table
from v2s_jax.media import probe, write_clip

EVIL = '"><script>alert(1)</script> {{figure}} & <b>'
CLOCK = Clock()
RATE_HZ = CLOCK.sample_rate_hz
SECONDS = 2.0


class Page(HTMLParser):
    """What a browser would read: tags, texts, and all that it would fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.fetched: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        addresses = [value for name, value in attrs if name in ("src", "href", "poster")]
        self.fetched += [address for address in addresses if not address.startswith("#")]

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """Two seconds that grow brighter, in two halves."""
    path = tmp_path_factory.mktemp("video") / "bright.mp4"
    frames = np.repeat(np.linspace(0, 255, 32).astype(np.uint8), 16 * 16 * 3)
    silence = np.zeros(round(SECONDS * RATE_HZ), np.float32)
    write_clip(path, frames.reshape(32, 16, 16, 3), Fraction(16), silence, RATE_HZ)
    return path


def noise(seed: int, seconds: float) -> np.ndarray:
    samples = round(seconds * RATE_HZ)
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def clip(
    name: str, video: Path | None, model: str = "flow", seconds: float = SECONDS
) -> ReportClip:
    sounds = [
        NamedAudio(sound, noise(seed, seconds), np.array([0.5]))
        for seed, sound in enumerate(("reference", model))
    ]
    shown = None if video is None else ClipVideo(video, SECONDS)
    return ReportClip(name, "drum", sounds, Targets("true events", np.array([0.4, 1.0])), shown)


def write(path: Path, clips: list[ReportClip], **options: int) -> Page:
    tables = [Table("Hits", ["", "drum"], [["flow", "1.25 [1.00, 1.50]"]], ["on VEGAS: 2.5"])]
    write_report_page(path, "t", {"models": ["flow"]}, {"a": tables}, clips, CLOCK, **options)
    return Page(path.read_text())


def test_page_has_tables_plots_and_description(tmp_path):
    picture = tmp_path / "bars.png"
    Figure(figsize=(1, 1)).savefig(picture)
    tables = [Table("Hits", ["", "drum"], [["flow", "1.25 [1.00, 1.50]"]], ["on VEGAS: 2.5"])]
    path = tmp_path / "report.html"
    about = {"models": ["flow: joint", "seq"], "command": ["evaluate.py --clips 2"]}
    write_report_page(path, "Both", about, {"likelihood": [*tables, picture]}, [], CLOCK)
    page = Page(path.read_text())
    expected = ["Both", "flow: joint", "seq", "evaluate.py --clips 2", "Likelihood", "Hits", "drum"]
    assert set(page.texts) >= {*expected, "flow", "1.25 [1.00, 1.50]", "on VEGAS: 2.5"}
    assert page.tags.count("img") == 1 and "audio" not in page.tags
    assert any("--report-clips" in line for line in page.texts)


def test_names_are_escaped_and_nothing_is_fetched(tmp_path, video):
    tables = [Table(EVIL, [EVIL, EVIL], [[EVIL, EVIL]], [EVIL])]
    path = tmp_path / "report.html"
    clips = [clip(EVIL, video, EVIL), clip(EVIL, None), clip(EVIL, tmp_path / EVIL)]
    write_report_page(path, EVIL, {EVIL: [EVIL]}, {EVIL: tables}, clips, CLOCK)
    page = Page(path.read_text())
    assert page.tags.count("script") == 1 and "b" not in page.tags
    assert page.tags.count("video") == 1 and page.tags.count("audio") == 6
    assert page.fetched and all(address.startswith("data:") for address in page.fetched)
    rest = re.sub(r'"data:[^"]*"', "", path.read_text())
    assert not re.search(r"https?:|url\(|@import", rest)
    assert "default-src 'none'" in rest


def test_missing_video_has_a_reason(tmp_path):
    page = write(tmp_path / "a.html", [clip("one", None), clip("two", tmp_path / "gone.mp4")])
    text = " ".join(page.texts)
    assert (
        "Audio only, because the videos are not next to the dataset (see --videos): 1 (one)" in text
    )
    assert re.search(r"without its video: \S+gone\.mp4: ", text)
    assert page.tags.count("audio") == 4 and page.tags.count("img") == 2


def test_clip_longer_than_its_video_repeats_it(video):
    frames = page_module._key_frames(probe(video), SECONDS / 2, SECONDS, CLOCK)
    brightness = [frame.mean() for frame in frames.frames]
    assert frames.times_sec == sorted(frames.times_sec) and frames.times_sec[-1] > 1.8
    assert brightness[:4] == brightness[4:] == sorted(brightness[:4])
    assert 0 < brightness[0] < brightness[3] < 140  # of 255 at the end of the video


@pytest.mark.slow
def test_clip_is_compressed_to_fit(video):
    shown = clip("drum-0", video)
    best = encode_clip(shown, CLOCK, 10**9)
    assert best is not None and best.note == "lossless audio (FLAC)"
    assert all(url.startswith("data:audio/flac") for url in best.audio)
    less = encode_clip(shown, CLOCK, best.bytes - 1)
    assert less is not None and "64 kbit/s" in less.note
    least = encode_clip(shown, CLOCK, less.bytes - 1)
    assert least is not None and "48 kbit/s" in least.note
    assert best.bytes > less.bytes > least.bytes
    last = encode_clip(shown, CLOCK, least.bytes - 1)
    assert last is not None and last.video is not None and "32 kbit/s" in last.note
    unseen = encode_clip(shown, CLOCK, last.bytes - 1)
    assert unseen is not None and unseen.note.endswith("without its video: the page is full")
    assert encode_clip(shown, CLOCK, 1_000) is None


@pytest.mark.slow
def test_page_size_is_limited_and_omissions_are_listed(tmp_path, video):
    clips = [clip(f"drum-{n}", video) for n in range(4)]
    for max_bytes, left_out in ((1_200_000, []), (500_000, ["drum-3"])):
        page = write(tmp_path / "report.html", clips, max_bytes=max_bytes)
        assert (tmp_path / "report.html").stat().st_size <= max_bytes
        assert page.tags.count("article") == len(clips) - len(left_out)
        notes = re.findall(r"because the page is full: 1 \((.*)\)", " ".join(page.texts))
        assert notes == ([", ".join(left_out)] if left_out else [])


@needs_browser
@pytest.mark.slow
def test_browser_plays_it_from_the_disk(tmp_path, video):
    """Keyboard only; one audio is replaced by another of its clip at the same time."""
    path = tmp_path / "report.html"
    write(path, [clip("drum-0", None), clip("drum-1", video, seconds=2.5 * SECONDS)])
    with browsing() as browser:
        browser.open(path)

        def state(name: str, clip: int = 1) -> list:
            script = "return [...document.querySelectorAll('.clip')[%d].querySelectorAll('%s')]"
            fields = ".map(m => [m.currentTime, m.paused, m.error === null])"
            return browser.run(script % (clip, name) + fields)

        browser.run("document.querySelectorAll('audio')[2].focus()")
        browser.press("1")
        wait_until(lambda: state("audio")[0][0] > 0.2)
        assert [paused for _, paused, _ in state("audio")] == [False, True]
        assert not state("video")[0][1]
        browser.press("2")
        wait_until(lambda: state("audio")[0][1] and state("audio")[1][0] > 0.2)
        (first, _, _), (second, paused, sound) = state("audio")
        assert sound and not paused and second > first - 0.1
        browser.run("document.querySelectorAll('audio')[3].currentTime = 4.5")
        wait_until(lambda: state("audio")[1][1])  # until it has ended
        wait_until(lambda: state("video")[0][1])
        pictures, _, shown = state("video")[0]
        assert shown and pictures == pytest.approx(0.5 * SECONDS, abs=0.1)  # in its third pass
        assert browser.run("return document.querySelectorAll('.chosen').length") == 1
        line = "return document.querySelectorAll('.playhead')[1].style.left"
        assert float(browser.run(line).rstrip("%")) > 90
        browser.run("document.querySelectorAll('audio')[0].focus()")
        browser.press("2")
        wait_until(lambda: state("audio", 0)[1][0] > 0.1)
        assert browser.console_errors() == []
