"""`v2s annotate`: raw clips, segments, sheets, votes, clips."""

import csv
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.browser import browsing, needs_browser, text_of, wait_until
from tests.ffmpeg import run_ffmpeg
from v2s_jax.cli import annotate
from v2s_jax.config import Clock
from v2s_jax.datasets.folders.layout import Source, find_sources
from v2s_jax.errors import InputError
from v2s_jax.human_eval.annotation.segments import (
    MergedClip,
    Segment,
    count_decisions,
    format_counts,
    merge,
    read_segments,
    split_into_segments,
    write_segments,
)
from v2s_jax.human_eval.annotation.sheets import Vote, decide, read_votes
from v2s_jax.media import encode, probe, read_audio, read_audio_file, read_video_frames

needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")

Y, S, N = "yes", "sort of", "no"

CASES = {  # votes on audio, votes on video, decision by majority, decision with one_no_removes
    "all yes": ((Y, Y, Y), (Y, Y, Y), "kept", "kept"),
    "sort of counts as yes": ((S, S, S), (S, S, Y), "kept", "kept"),
    "one no on audio": ((Y, Y, N), (Y, Y, Y), "kept", "removed"),
    "one no on video": ((Y, Y, Y), (N, S, Y), "kept", "removed"),
    "all three differ": ((Y, S, N), (Y, S, N), "kept", "removed"),
    "two no on audio": ((N, Y, N), (Y, Y, Y), "removed", "removed"),
    "two no on video": ((Y, Y, Y), (N, N, S), "removed", "removed"),
    "all no": ((N, N, N), (N, N, N), "removed", "removed"),
    "two votes on audio": ((Y, Y), (Y, Y, Y), "undecided", "undecided"),
    "none on video": ((N, N, N), (), "undecided", "undecided"),
    "five votes": ((N, N, Y, Y, Y), (Y, Y, Y), "kept", "removed"),
    "half no of four": ((N, N, Y, Y), (Y, Y, Y), "kept", "removed"),
}


def votes_of(segment_id: str, audio: tuple[str, ...], video: tuple[str, ...]) -> list[Vote]:
    return [
        *(Vote(segment_id, "audio", f"a{n}", answer) for n, answer in enumerate(audio)),
        *(Vote(segment_id, "video", f"b{n}", answer) for n, answer in enumerate(video)),
    ]


@pytest.mark.parametrize("case", CASES)
def test_three_votes_on_each_decide(case):
    audio, video, by_majority, by_one = CASES[case]
    votes = votes_of(case, audio, video)
    assert decide([case], votes) == {case: by_majority}
    assert decide([case], votes, one_no_removes=True) == {case: by_one}


def write_votes(path: Path, votes: list[Vote]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("segment_id", "modality", "annotator", "answer", "category"))
        for vote in votes:
            writer.writerow(
                (vote.segment_id, vote.modality, vote.annotator, vote.answer, "dog, or cat")
            )
    return path


def test_votes_are_read_from_several_files(tmp_path):
    votes = votes_of("a", (Y, S, N), (Y, "", N))
    paths = [write_votes(tmp_path / "1.csv", votes[:3]), write_votes(tmp_path / "2.csv", votes[3:])]
    (tmp_path / "3.csv").write_text("segment_id,modality,annotator,answer\n")
    read = read_votes([*paths, tmp_path / "3.csv"], ["a", "b"])
    assert read == [vote for vote in votes if vote.answer]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a,audio,me,maybe", "line 2: answer 'maybe': use yes, sort of, no"),
        ("a,smell,me,yes", "line 2: modality 'smell': use audio or video"),
        ("c,audio,me,yes", "line 2: no segment 'c'"),
        ("a,audio,,yes", "line 2: vote without a name"),
        ("a,audio,me,yes\na,sound,me,no", "line 3: me voted on the audio of a before"),
        ("a,audio,me", "line 2: is cut off"),
        ('a,audio,"me,yes\na,audio,you,no', "not CSV (unexpected end of data)"),
    ],
)
def test_invalid_votes_are_reported_with_their_line(tmp_path, lines, message):
    (tmp_path / "v.csv").write_text(f"segment_id,modality,annotator,answer\n{lines}\n")
    with pytest.raises(InputError) as caught:
        read_votes([tmp_path / "v.csv"], ["a"])
    assert str(tmp_path / "v.csv") in str(caught.value) and message in str(caught.value)


def test_sheet_without_header_is_rejected(tmp_path):
    (tmp_path / "v.csv").write_text("segment_id,answer\na,yes\n")
    with pytest.raises(InputError, match="no column modality, annotator"):
        read_votes([tmp_path / "v.csv"], ["a"])


# Merging


def row_of(source: str, pattern: str, category: str = "dog") -> tuple[list[Segment], dict]:
    """Segments of a video and decisions: k kept, r removed, u undecided."""
    names = {"k": "kept", "r": "removed", "u": "undecided"}
    segments = [Segment(f"{source}-{n}", category, source, 2 * n) for n in range(len(pattern))]
    return segments, {
        segment.segment_id: names[letter] for segment, letter in zip(segments, pattern, strict=True)
    }


@pytest.mark.parametrize(
    ("pattern", "spans"),
    [
        ("k", [(0, 2)]),
        ("kkkkk", [(0, 10)]),
        ("kkrkk", [(0, 4), (6, 10)]),
        ("rkkkr", [(2, 8)]),
        ("kukrk", [(0, 2), (4, 6), (8, 10)]),
        ("rrurr", []),
        ("kkkkkk", [(0, 10), (10, 12)]),
        ("k" * 11, [(0, 10), (10, 20), (20, 22)]),
    ],
)
def test_adjacent_segments_become_clips_of_at_most_ten_seconds(pattern, spans):
    segments, decisions = row_of("v", pattern)
    merged = merge(segments[::-1], decisions)
    assert merged == [MergedClip("dog", "v", start, end) for start, end in spans]


def test_clips_do_not_span_videos_and_are_counted():
    segments: list[Segment] = []
    decisions: dict = {}
    for source, pattern, category in (
        ("dog/1", "kk", "dog"),
        ("dog/2", "kr", "dog"),
        ("drum/1", "rruk", "drum"),
    ):
        of_video, decided = row_of(source, pattern, category)
        segments += of_video
        decisions |= decided
    clips = merge(segments, decisions)
    assert [(clip.source, clip.start_sec, clip.end_sec) for clip in clips] == [
        ("dog/1", 0, 4),
        ("dog/2", 0, 2),
        ("drum/1", 6, 8),
    ]
    rows = count_decisions(segments, decisions, clips)
    assert [tuple(vars(row).values())[:7] for row in rows] == [
        ("dog", 2, 4, 4, 1, 0, 2),
        ("drum", 1, 4, 3, 2, 1, 1),
        ("all", 3, 8, 7, 3, 1, 3),
    ]
    assert rows[-1].hours == pytest.approx(8 / 3_600)
    assert len(format_counts(rows)) == 4


# The whole way


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """5.4 s of two categories; the video turns white as a tone starts, at 3 s."""
    root = tmp_path_factory.mktemp("raw")
    for category, name in (("dog", "AbCdEfGhIjK_30"), ("water, flowing", "other")):
        (root / category).mkdir()
        run_ffmpeg(
            *("-f", "lavfi", "-i", "color=black:size=64x48:rate=25:duration=5.4,"),
            *("-f", "lavfi", "-i", "aevalsrc='if(gte(t,3),0.5*sin(2764*t),0)':s=44100:d=5.4"),
            *("-vf", "drawbox=t=fill:color=white:enable='gte(t,3)'"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
            root / category / f"{name}.mp4",
        )
    (root / "dog" / "text.mp4").write_text("no video")
    return root


@pytest.fixture(scope="module")
def work(raw, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    annotate.CutArgs(raw, folder, page_segments=3, workers=1).run()
    return folder


def test_segments_are_two_seconds(raw):
    path = raw / "dog" / "AbCdEfGhIjK_30.mp4"
    segments = split_into_segments(Source(str(path), "dog/a", "dog", "dog-a", 0), probe(path))
    assert [(segment.start_sec, segment.end_sec) for segment in segments] == [(0, 2), (2, 4)]
    assert "dog" not in segments[0].segment_id


def test_segment_ids_depend_on_the_content(raw, tmp_path):
    path = tmp_path / "a.mp4"
    source = Source(str(path), "dog/a", "dog", "dog-a", 0)
    shutil.copy(raw / "dog" / "AbCdEfGhIjK_30.mp4", path)
    video = probe(path)
    ids = [split_into_segments(source, video)[0].segment_id for _ in range(2)]
    with path.open("ab") as file:
        file.write(b"more")
    assert ids[0] == ids[1] != split_into_segments(source, video)[0].segment_id


def test_segments_are_read_back(tmp_path):
    segments = [Segment("a-0", "dog, big", 'dog/"x"\n.mp4', 4)]
    write_segments(tmp_path / "s.csv", segments)
    assert read_segments(tmp_path / "s.csv") == segments


def test_audio_and_video_have_separate_sheets(work):
    for modality in ("audio", "video"):
        ids = []
        for sheet in sorted(work.glob(f"{modality}-*.csv")):
            with sheet.open(newline="") as file:
                rows = list(csv.DictReader(file))
            assert {row["modality"] for row in rows} == {modality}
            assert {row["answer"] for row in rows} == {""}
            ids += [row["segment_id"] for row in rows]
        assert sorted(ids) == sorted(
            segment.segment_id for segment in read_segments(work / "segments.csv")
        )
    assert len(list(work.glob("*.html"))) == 4  # two sheets of each, of 3 and 1 segments
    for page in work.glob("*.html"):
        text = page.read_text()
        assert "http" not in text  # nothing is fetched
        kind = "audio/mp4" if page.name.startswith("audio") else "video/mp4"
        assert text.count("data:") == text.count(f"data:{kind};base64,") >= 1


def test_segment_media_have_one_stream_each(work):
    segment = read_segments(work / "segments.csv")[0]
    video = probe(work / "media" / f"{segment.segment_id}.mp4")
    assert not video.has_audio and video.duration_sec == 2
    with pytest.raises(InputError, match="no video stream"):
        probe(work / "media" / f"{segment.segment_id}.m4a")


def test_merged_clips_can_be_prepared(raw, work, tmp_path, capsys):
    votes = []
    for segment in read_segments(work / "segments.csv"):
        audio = (N, N, Y) if (segment.category, segment.start_sec) == ("dog", 0) else (Y, S, N)
        votes += votes_of(segment.segment_id, audio, (Y, Y, Y))
    path = write_votes(tmp_path / "votes.csv", votes)
    out = tmp_path / "clean"
    annotate.MergeArgs(raw, work, (path,), out).run()
    assert "all" in capsys.readouterr().out
    counts = json.loads((out / "counts.json").read_text())[-1]
    assert (counts["segments"], counts["removed"], counts["clips"]) == (4, 1, 2)
    sources, ignored = find_sources(str(out))
    assert [(source.name, source.youtube_id) for source in sources] == [
        ("dog/videos/video_00000.mp4", "AbCdEfGhIjK"),
        ("water, flowing/videos/video_00000.mp4", "other"),
    ]
    assert [entry.name for entry in ignored] == ["counts.json"]
    for source, start, sec in zip(sources, (2, 0), (2, 4), strict=True):
        video = probe(Path(source.path))
        assert video.duration_sec == sec
        frames = np.stack(list(read_video_frames(video, Clock(), 8, 8)))
        white = int(np.argmax(frames.mean(axis=(1, 2, 3)) > 127)) * 1_024
        loud = int(np.argmax(np.abs(read_audio(video, Clock())) > 0.1))
        assert abs(white - (3 - start) * 16_000) < 1_100
        assert abs(loud - (3 - start) * 16_000) < 100
    with pytest.raises(InputError, match="is not an empty folder"):
        annotate.MergeArgs(raw, work, (path,), out).run()


@pytest.mark.parametrize(
    ("stem", "video"),
    [
        ("dQw4w9WgXcQ", "dQw4w9WgXcQ"),
        ("dQw4w9WgXcQ_30", "dQw4w9WgXcQ"),
        ("--PJHxphWEs_30.000", "--PJHxphWEs"),
        ("my_holidays_2", "my_holidays_2"),
        ("my_holidays", "my_holidays"),
        ("a dog", "a dog"),
    ],
)
def test_youtube_id_in_file_names(stem, video):
    assert annotate._youtube_id(f"dog/{stem}.mp4") == video


def test_segment_without_audio_is_silent_and_shows_a_long_frame(tmp_path):
    """A frame every 3 s; audio from 2.5 to 3.5 s only."""
    path = tmp_path / "a.mkv"
    run_ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=size=1x1:rate=1/3:duration=6"),
        *("-itsoffset", 2.5, "-f", "lavfi", "-i", "sine=duration=1"),
        *("-c:v", "ffv1", "-pix_fmt", "gbrp", "-c:a", "pcm_s16le", path),
    )
    source, folder = Source(str(path), "dog/a.mkv", "dog", "dog-a", 0), tmp_path / "media"
    segments, problem = annotate._cut((source, folder))
    assert problem is None and len(segments) == 3
    loudest = []
    for segment in segments:
        assert probe(folder / f"{segment.segment_id}.mp4").duration_sec > 0
        audio = read_audio_file(folder / f"{segment.segment_id}.m4a", 16_000)
        assert abs(len(audio) / 16_000 - 2) < 0.1
        loudest.append(np.abs(audio).max())
    assert loudest[0] < 1e-3 < 0.05 < loudest[1] and loudest[2] < 1e-3


@needs_full_device
def test_full_disk_ends_the_run(raw, tmp_path, monkeypatch):
    path = raw / "dog" / "AbCdEfGhIjK_30.mp4"
    source = Source(str(path), "dog/a.mp4", "dog", "dog-a", 0)

    @contextmanager
    def full(_: Path) -> Iterator[Path]:
        (tmp_path / "full.mp4").unlink(missing_ok=True)
        (tmp_path / "full.mp4").symlink_to("/dev/full")
        yield tmp_path / "full.mp4"

    monkeypatch.setattr(encode, "atomic_write", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left"):
        annotate._cut((source, tmp_path))


def test_output_inside_the_raw_folder_is_ignored(raw, tmp_path, capsys):
    root = tmp_path / "raw"
    shutil.copytree(raw / "water, flowing", root / "water")
    for _ in range(2):
        annotate.CutArgs(root, root / "work", workers=1).run()
        printed = capsys.readouterr().out
        assert "2 segments of 1 videos" in printed and "left out" not in printed


def test_names_not_in_utf8_are_left_out(raw, tmp_path, capsys):
    (tmp_path / "raw" / "dog").mkdir(parents=True)
    for name in (b"ok.mp4", b"caf\xe9.mp4"):
        path = tmp_path / "raw" / "dog" / os.fsdecode(name)
        path.symlink_to(raw / "dog" / "AbCdEfGhIjK_30.mp4")
    annotate.CutArgs(tmp_path / "raw", tmp_path / "work", workers=1).run()
    printed = capsys.readouterr().out
    assert "2 segments of 1 videos" in printed
    assert "left out: dog/caf\ufffd.mp4: its name is not UTF-8" in printed


def test_nothing_is_written_without_votes_or_raw_files(raw, work, tmp_path):
    segments = read_segments(work / "segments.csv")
    few = write_votes(tmp_path / "few.csv", votes_of(segments[0].segment_id, (Y,), (Y,)))
    with pytest.raises(InputError, match="nothing is decided"):
        annotate.MergeArgs(raw, work, (few,), tmp_path / "clean").run()
    votes = [vote for s in segments for vote in votes_of(s.segment_id, (Y, Y, Y), (Y, Y, Y))]
    path = write_votes(tmp_path / "votes.csv", votes)
    with pytest.raises(InputError, match=r"AbCdEfGhIjK_30\.mp4, water.*: missing"):
        annotate.MergeArgs(tmp_path, work, (path,), tmp_path / "clean").run()
    assert not (tmp_path / "clean").exists()


@pytest.mark.parametrize("content", [b"\xff", b"segment_id\n" + b"a" * 200_000, b'a,b\n"'])
def test_corrupt_segment_list(tmp_path, content):
    (tmp_path / "s.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"s\.csv: not CSV .*cut again"):
        read_segments(tmp_path / "s.csv")


def test_nothing_to_judge(tmp_path):
    (tmp_path / "raw" / "dog").mkdir(parents=True)
    (tmp_path / "raw" / "dog" / "a.mp4").write_text("no video")
    with pytest.raises(InputError, match="no video there lasts 2 s"):
        annotate.CutArgs(tmp_path / "raw", tmp_path / "out", workers=1).run()


# The page, in a browser


@pytest.mark.slow
@needs_browser
def test_annotator_answers_with_the_keyboard(work, tmp_path):
    with browsing() as browser:
        browser.open(work / "video-000.html")
        assert "Do you see what makes this sound" in browser.run(text_of("question"))
        wait = "return document.getElementById('player').readyState >= 2"
        wait_until(lambda: browser.run(wait))  # the browser can play the embedded video
        browser.press("13")
        assert "3 of 3, 2 answered" in browser.run(text_of("progress"))
        browser.press("\ue012")  # left
        assert "2 of 3" in browser.run(text_of("progress"))
        browser.press("2")  # changes the second answer
        browser.open(work / "video-000.html")  # as if it had been closed
        assert "3 of 3, 2 answered" in browser.run(text_of("progress"))
        browser.run("document.getElementById('download').click()")
        assert "Write your name first." in browser.run(text_of("warning"))
        browser.press('=Ann "A", B')  # the name field has the focus
        table = browser.run("return table()")
        assert "\"'=Ann" in table  # no formula
        (tmp_path / "votes.csv").write_text(table)
    ids = [segment.segment_id for segment in read_segments(work / "segments.csv")]
    votes = read_votes([tmp_path / "votes.csv"], ids)
    assert [(vote.modality, vote.annotator, vote.answer) for vote in votes] == [
        ("video", '=Ann "A", B', "yes"),
        ("video", '=Ann "A", B', "sort of"),
    ]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("cut nowhere --out o", "no such folder"),
        ("cut . --out o --page-segments 0", "--page-segments 0: must be at least 1"),
        ("merge . --work nowhere --votes v --out o", "segments.csv: cannot be read"),
    ],
)
def test_invalid_arguments_are_rejected(monkeypatch, tmp_path, args, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["v2s annotate", *args.split()])
    with pytest.raises(InputError) as caught:
        annotate.main()
    assert message in str(caught.value)
