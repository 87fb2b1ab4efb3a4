"""`v2s demo`: the page in a real browser, its queue, and bad input."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from tests.browser import browsing, needs_browser, wait_until
from tests.conftest import random_params
from tests.ffmpeg import run_ffmpeg
from v2s_jax.checkpoints import save_params
from v2s_jax.cli import demo
from v2s_jax.config import TINY
from v2s_jax.errors import InputError
from v2s_jax.examples import EXAMPLE_VIDEO
from v2s_jax.sonification import sonify


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The page, served as users start it."""
    args = ["--no-browser", "--port", "0", "--max-sec", "5"]
    with subprocess.Popen(
        [sys.executable, "-m", "v2s_jax", "demo", *args],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.match(r"(http://127\.0\.0\.1:\d+) ", line)
            assert match, line
            yield match[1]
        finally:
            process.terminate()


@pytest.mark.slow
@needs_browser
def test_a_video_is_uploaded_and_comes_back_with_audio(address, tmp_path):
    with browsing() as browser:
        browser.go(address)
        wait_until(
            lambda: browser.run("return document.querySelector('input[type=file]') !== null")
        )
        browser.choose_file("input[type=file]", EXAMPLE_VIDEO)
        wait_until(lambda: browser.run("return document.querySelector('video') !== null"))
        browser.run("document.getElementById('generate').click()")
        source = "const element = document.querySelector('{}'); return element && element.src"
        figure_source = source.format("#figure img")
        wait_until(lambda: browser.run(figure_source))
        generated, figure = (
            browser.run(source.format(f"#{part}")) for part in ("generated video", "figure img")
        )
        with urlopen(figure) as response:
            assert response.read()[:4] == b"\x89PNG"
        with urlopen(generated) as response:
            (tmp_path / "result.mp4").write_bytes(response.read())
    (files,) = sonify(EXAMPLE_VIDEO, tmp_path).generated
    assert (tmp_path / "result.mp4").read_bytes() == files.video.read_bytes()


@pytest.mark.slow
def test_a_second_user_waits_in_the_queue(address):
    from gradio_client import Client, handle_file
    from gradio_client.utils import Status

    clients = [Client(address, verbose=False) for _ in range(2)]
    jobs = [
        client.submit(
            handle_file(EXAMPLE_VIDEO), demo_model(client), seed, 1.0, api_name="/generate"
        )
        for seed, client in enumerate(clients)
    ]
    statuses = set()

    def both_are_done() -> bool:
        statuses.add(frozenset(job.status().code for job in jobs))
        return all(job.done() for job in jobs)

    wait_until(both_are_done)
    # Either of them can be first.
    assert {Status.PROCESSING, Status.IN_QUEUE} in statuses
    first, second = (job.result() for job in jobs)
    assert first[1] != second[1]


@pytest.mark.slow
def test_bad_videos_are_reported(address, tmp_path):
    from gradio_client import Client, exceptions, handle_file

    client = Client(address, verbose=False)
    (tmp_path / "text.mp4").write_text("no video")
    six_sec = tmp_path / "six.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "color=black:size=64x48:rate=5:duration=6", six_sec)
    for video, message in (
        (None, "no video yet: choose one first"),
        (handle_file(six_sec), "six.mp4: lasts 6.0 s: use at most 5 s"),
        (handle_file(tmp_path / "text.mp4"), "text.mp4: "),
    ):
        with pytest.raises(exceptions.AppError, match=re.escape(message)):
            client.predict(video, demo_model(client), 0, 1.0, api_name="/generate")


def test_models_with_equal_file_names_get_unique_names(tmp_path):
    paths = [tmp_path / run / "params.safetensors" for run in ("first", "second")]
    for path in paths:
        path.parent.mkdir()
        save_params(path, TINY, random_params(TINY))
    assert demo.name_models([*paths, paths[0]]) == {
        "first-params (frame, pixels)": paths[0],
        "second-params (frame, pixels)": paths[1],
        "first-params-2 (frame, pixels)": paths[0],
    }


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--max-mb 0", "--max-mb 0, --max-sec 60: use more than 0"),
        ("--max-sec nan", "use more than 0"),
        ("--port 99999", "--port 99999: use 0 to 65535"),
        ("--checkpoint nowhere", "nowhere: no such checkpoint"),
    ],
)
def test_bad_args(monkeypatch, args, message):
    monkeypatch.setattr(sys, "argv", ["v2s", *args.split()])
    with pytest.raises(InputError) as error_info:
        demo.main()
    assert message in str(error_info.value) and "\n" not in str(error_info.value)


def demo_model(client) -> str:
    parameters = client.view_api(print_info=False, return_format="dict")["named_endpoints"][
        "/generate"
    ]["parameters"]
    (model,) = [one for one in parameters if one["parameter_name"] == "model"]
    return model["parameter_default"]
