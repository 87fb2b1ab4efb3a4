"""demo.py: a page that a real browser works, one sound at a time, on this machine alone."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.browser import browsing, needs_browser, wait_until
from tests.conftest import random_params
from tests.ffmpeg import run_ffmpeg
from v2s_jax import sonify
from v2s_jax.checkpoints import save_params
from v2s_jax.cli import demo
from v2s_jax.config import TINY
from v2s_jax.errors import InputError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "drum.mp4"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The page, served by the program as users start it."""
    command = [sys.executable, "demo.py", "--no-browser", "--port", "0", "--max-sec", "5"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        text=True,
    ) as served:
        try:
            assert served.stdout is not None
            line = served.stdout.readline()
            found = re.match(r"(http://127\.0\.0\.1:\d+) ", line)
            assert found, line
            yield found[1]
        finally:
            served.terminate()


@pytest.mark.slow
@needs_browser
def test_a_video_is_dropped_and_its_sound_comes_back(address, tmp_path):
    with browsing() as browser:
        browser.go(address)
        wait_until(
            lambda: browser.run("return document.querySelector('input[type=file]') !== null")
        )
        browser.choose_file("input[type=file]", EXAMPLE)
        wait_until(lambda: browser.run("return document.querySelector('video') !== null"))
        browser.run("document.getElementById('sound').click()")
        source = "const found = document.querySelector('{}'); return found && found.src"
        picture = source.format("#figure img")
        wait_until(lambda: browser.run(picture))
        generated, figure = (
            browser.run(source.format(f"#{part}")) for part in ("sounded video", "figure img")
        )
        with urlopen(figure) as answer:
            assert answer.read()[:4] == b"\x89PNG"
        with urlopen(generated) as answer:
            (tmp_path / "got.mp4").write_bytes(answer.read())
    (made,) = sonify(EXAMPLE, tmp_path).generated
    assert (tmp_path / "got.mp4").read_bytes() == made.video.read_bytes()


@pytest.mark.slow
def test_a_second_user_waits_in_the_queue(address):
    from gradio_client import Client, handle_file
    from gradio_client.utils import Status

    clients = [Client(address, verbose=False) for _ in range(2)]
    jobs = [
        client.submit(handle_file(EXAMPLE), demo_model(client), seed, 1.0, api_name="/sound")
        for seed, client in enumerate(clients)
    ]
    seen = set()

    def both_ended() -> bool:
        seen.add(frozenset(job.status().code for job in jobs))
        return all(job.done() for job in jobs)

    wait_until(both_ended)
    # Which of them the server hears first is not told.
    assert {Status.PROCESSING, Status.IN_QUEUE} in seen
    first, second = (job.result() for job in jobs)
    assert first[1] != second[1]


@pytest.mark.slow
def test_what_cannot_be_sounded_is_told(address, tmp_path):
    from gradio_client import Client, exceptions, handle_file

    client = Client(address, verbose=False)
    (tmp_path / "text.mp4").write_text("no video")
    six_sec = tmp_path / "six.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "color=black:size=64x48:rate=5:duration=6", six_sec)
    for video, says in (
        (None, "no video yet: drop one first"),
        (handle_file(six_sec), "six.mp4: lasts 6.0 s: use at most 5 s"),
        (handle_file(tmp_path / "text.mp4"), "text.mp4: "),
    ):
        with pytest.raises(exceptions.AppError, match=re.escape(says)):
            client.predict(video, demo_model(client), 0, 1.0, api_name="/sound")


def test_models_of_runs_that_name_their_files_alike_can_all_be_chosen(tmp_path):
    paths = [tmp_path / run / "params.safetensors" for run in ("first", "second")]
    for path in paths:
        path.parent.mkdir()
        save_params(path, TINY, random_params(TINY))
    assert demo.named_models([*paths, paths[0]]) == {
        "first-params (frame, pixels)": paths[0],
        "second-params (frame, pixels)": paths[1],
        "first-params-2 (frame, pixels)": paths[0],
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--max-mb 0", "--max-mb 0, --max-sec 60: use more than 0"),
        ("--max-sec nan", "use more than 0"),
        ("--port 99999", "--port 99999: use 0 to 65535"),
        ("--checkpoint nowhere", "nowhere: no such checkpoint"),
    ],
)
def test_bad_words(monkeypatch, words, says):
    monkeypatch.setattr(sys, "argv", ["demo.py", *words.split()])
    with pytest.raises(InputError) as caught:
        demo.main()
    assert says in str(caught.value) and "\n" not in str(caught.value)


def demo_model(client) -> str:
    parameters = client.view_api(print_info=False, return_format="dict")["named_endpoints"][
        "/sound"
    ]["parameters"]
    (model,) = [one for one in parameters if one["parameter_name"] == "model"]
    return model["parameter_default"]
