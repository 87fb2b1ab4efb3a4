"""`v2s demo`: the page in a real browser, its queue, and bad input."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.browser import Browser, browsing, needs_browser, wait_until
from tests.conftest import random_params
from tests.ffmpeg import run_ffmpeg
from tests.sounds_model import CONFIG
from v2s_jax.checkpoints import save_params
from v2s_jax.cli import demo
from v2s_jax.cli.demo_page import Model
from v2s_jax.cli.demo_server import page_message, remove_old_files
from v2s_jax.config import TINY
from v2s_jax.errors import InputError
from v2s_jax.examples import EXAMPLE_VIDEO
from v2s_jax.sonification import SampleOptions, sonify

FIGURE = "return document.querySelector('#figure img')?.src"


class Server:
    """The page, served as users start it, in a temporary folder of its own."""

    def __init__(self, folder: Path, *checkpoints: object) -> None:
        self.folder = folder
        self.log = folder.with_name(f"{folder.name}.log")
        args = ["--no-browser", "--port", "0", "--max-sec", "5"]
        if checkpoints:
            args += ["--checkpoint", *map(str, checkpoints)]
        folder.mkdir()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "v2s_jax", "demo", *args],
                env=os.environ | {"JAX_PLATFORMS": "cpu", "TMPDIR": str(folder)},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = re.match(r"(http://127\.0\.0\.1:\d+) ", line)
        assert match, self.log.read_text()
        self.address = match[1]

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        self.process.communicate()
        return self.process.returncode


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("demo") / "temporary")
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


@pytest.fixture
def address(server) -> str:
    return server.address


def choose_video(browser: Browser, address: str, path: Path) -> None:
    """Open the page and upload a video."""
    browser.go(address)
    is_ready = "return document.querySelector('input[type=file]') !== null"
    wait_until(lambda: browser.run(is_ready))
    browser.choose_file("input[type=file]", path)
    is_uploaded = "return document.querySelector('.download') !== null"
    wait_until(lambda: browser.run(is_uploaded))


def generate(browser: Browser) -> set[str]:
    """Press the button and wait for the result; return what the progress bars say."""
    before = browser.run(FIGURE)
    browser.run("document.getElementById('generate').click()")
    texts = set()

    def is_finished() -> bool:
        bars = (
            "return [...document.querySelectorAll('.progress-level-inner')].map(e => e.innerText)"
        )
        texts.update(text.split(" - ")[0].strip() for text in browser.run(bars))
        return browser.run(FIGURE) not in (None, before)

    wait_until(is_finished)
    return texts


@pytest.mark.slow
@needs_browser
def test_a_video_is_uploaded_and_comes_back_with_audio(address, tmp_path):
    with browsing() as browser:
        choose_video(browser, address, EXAMPLE_VIDEO)
        bars = generate(browser)
        assert {"compiling", "generating"} <= bars
        source = "return document.querySelector('#{}').src"
        with urlopen(browser.run(source.format("figure img"))) as response:
            assert response.read()[:4] == b"\x89PNG"
        with urlopen(browser.run(source.format("generated video"))) as response:
            (tmp_path / "result.mp4").write_bytes(response.read())
        again = browser.run("return document.querySelector('#again textarea').value")
    (files,) = sonify(EXAMPLE_VIDEO, tmp_path).generated
    assert again == files.settings.flags()
    assert (tmp_path / "result.mp4").read_bytes() == files.video.read_bytes()


def choose(browser: Browser, element: str, choice: str) -> None:
    """Choose in a dropdown."""
    wait_until(lambda: browser.run(f"return document.querySelector('#{element} input') !== null"))
    browser.run(f"document.querySelector('#{element} input').focus()")
    options = "[...document.querySelectorAll('[role=option]')]"
    option = f"{options}.find(one => one.innerText.includes('{choice}'))"
    wait_until(lambda: browser.run(f"return {option} !== undefined"))
    browser.run(f"{option}.dispatchEvent(new MouseEvent('mousedown', {{bubbles: true}}))")


def set_number(browser: Browser, element: str, value: float) -> None:
    """Type the number of a slider."""
    number = f"document.querySelector('#{element} input[type=number]')"
    browser.run(f"{number}.value = {value}; {number}.dispatchEvent(new Event('input'))")


def text_in(browser: Browser, element: str) -> str:
    return browser.run(f"return document.querySelector('#{element} textarea').value")


@pytest.fixture(scope="module")
def sounds_model(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("checkpoint") / "sounds.safetensors"
    save_params(file, CONFIG, random_params(CONFIG))
    return file


@pytest.fixture(scope="module")
def sounds_server(sounds_model, tmp_path_factory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("demo") / "temporary", "frame", sounds_model)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


@pytest.mark.slow
@needs_browser
def test_a_model_of_controls_has_sounds_and_curves(sounds_server, sounds_model, tmp_path):
    """Without a video, with one, and with a chosen sound whose curves are changed."""
    has_controls = "return document.querySelector('#sound input') !== null"
    with browsing() as browser:
        choose_video(browser, sounds_server.address, EXAMPLE_VIDEO)
        assert not browser.run(has_controls)
        choose(browser, "model", "sounds")
        wait_until(lambda: browser.run(has_controls))
        generate(browser)
        seen = text_in(browser, "seen")
        assert re.match(r"(dog|drum) 0\.\d\d", seen)
        assert f"{EXAMPLE_VIDEO.name}: shows nothing that the model knows (" in browser.run(
            "return document.body.innerText"
        )
        assert "--category" not in text_in(browser, "again")

        choose(browser, "sound", "drum")
        for element, value in (("gain", 0.5), ("offset", -0.2), ("shift", -160)):
            set_number(browser, element, value)
        generate(browser)
        assert text_in(browser, "seen") == "chosen: drum"
        again = text_in(browser, "again")
        changes = "--category drum --loudness-gain 0.5 --loudness-offset -0.2"
        assert again.endswith(f" {changes} --controls-shift-ms -160.0")
        with urlopen(browser.run("return document.querySelector('#generated video').src")) as file:
            generated = file.read()

        browser.go(sounds_server.address)
        choose(browser, "model", "sounds")
        choose(browser, "sound", "dog")
        set_number(browser, "seconds", 0.5)
        generate(browser)
        assert text_in(browser, "again").startswith("--seconds 0.5 --engine ")
        assert "--category dog" in text_in(browser, "again")
        assert browser.run("return document.querySelector('#generated video') === null")
        choose(browser, "model", "frame")
        wait_until(lambda: not browser.run(has_controls))
    options = SampleOptions(
        checkpoint=sounds_model,
        category="drum",
        loudness_gain=0.5,
        loudness_offset=-0.2,
        controls_shift_ms=-160.0,
    )
    (files,) = sonify(EXAMPLE_VIDEO, tmp_path, options).generated
    assert files.video is not None and generated == files.video.read_bytes()


@pytest.mark.slow
@needs_browser
def test_portrait_video_of_a_telephone_plays_and_leaves_room_for_the_audio(address, tmp_path):
    """The browser knows no type of this name; its codec is one that few browsers play."""
    video = tmp_path / "IMG_0042.MOV"
    source = ("-f", "lavfi", "-i", "testsrc=size=90x160:rate=15:duration=0.5")
    run_ffmpeg(*source, "-c:v", "libx265", "-tag:v", "hvc1", video)
    with browsing() as browser:
        browser.resize(1280, 800)
        choose_video(browser, address, video)
        generate(browser)
        player = "document.querySelector('#generated video')"
        wait_until(lambda: browser.run(f"return {player}.readyState >= 2"))
        assert browser.run(f"return [{player}.videoWidth, {player}.videoHeight]") == [90, 160]
        bottom = "document.getElementById('wav').getBoundingClientRect().bottom"
        assert browser.run(f"return {bottom} <= window.innerHeight")
        assert "hevc video does not play in every browser" in browser.run(
            "return document.body.innerText"
        )


@pytest.mark.slow
@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
def test_requests_of_other_sites_are_refused(server, headers):
    before = sorted(server.folder.rglob("*"))
    body = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n--x--\r\n'
    )
    sent = {"Content-Type": "multipart/form-data; boundary=x"}
    for path, data in (("/", None), ("/gradio_api/upload", body)):
        with pytest.raises(HTTPError) as caught:
            urlopen(Request(server.address + path, data, {**sent, **headers}))
        assert caught.value.code == 403
    assert sorted(server.folder.rglob("*")) == before
    own = {**sent, "Origin": server.address}
    with urlopen(Request(server.address + "/gradio_api/upload", body, own)) as response:
        assert response.status == 200


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_nothing_stays_when_the_program_is_ended(tmp_path, number):
    server = Server(tmp_path / "temporary")
    assert [path.name[:13] for path in server.folder.iterdir()] == ["v2s_jax-demo-"]
    expected = {signal.SIGINT: 0}.get(number, 128 + number)
    assert server.end(number) == expected
    assert not [*server.folder.iterdir()]
    assert "Traceback" not in server.log.read_text()


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
def test_bad_input_is_reported_without_paths(server, tmp_path):
    from gradio_client import Client, exceptions, handle_file

    client = Client(server.address, verbose=False)
    (tmp_path / "text.mp4").write_text("no video")
    six_sec = tmp_path / "six.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "color=black:size=64x48:rate=5:duration=6", six_sec)
    for video, seed, message in (
        (None, 0, "no video yet: choose one first"),
        (handle_file(EXAMPLE_VIDEO), None, "no seed: give a whole number"),
        (handle_file(six_sec), 0, "six.mp4: lasts 6.0 s: use at most 5 s"),
        (handle_file(tmp_path / "text.mp4"), 0, "text.mp4: "),
    ):
        with pytest.raises(exceptions.AppError, match=f"^{re.escape(message)}"):
            client.predict(video, demo_model(client), seed, 1.0, api_name="/generate")
    assert "Traceback" not in server.log.read_text()


def test_messages_name_files_without_their_folders(tmp_path):
    path = tmp_path / "page" / "0a1b" / "my <b>clip</b>.mp4"
    assert (
        page_message(f"{path}: lasts 6 s", tmp_path) == "my &lt;b&gt;clip&lt;/b&gt;.mp4: lasts 6 s"
    )


def test_old_files_are_removed(tmp_path):
    for name in ("page/a/old.mp4", "page/b/new.mp4", "page/c/example.mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.touch()
    for path in tmp_path.rglob("*"):
        if path.name not in ("b", "new.mp4"):
            os.utime(path, (0, 0))
    remove_old_files(tmp_path, {str(tmp_path / "page/c/example.mp4")}, 60)
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == ["page/b/new.mp4", "page/c/example.mp4"]


def test_models_with_equal_file_names_get_unique_names(tmp_path):
    paths = [tmp_path / run / "params.safetensors" for run in ("first", "second")]
    for path in paths:
        path.parent.mkdir()
        save_params(path, TINY, random_params(TINY))
    assert demo.name_models([*paths, paths[0]]) == {
        "first-params (frame, pixels)": Model(paths[0], ()),
        "second-params (frame, pixels)": Model(paths[1], ()),
        "first-params-2 (frame, pixels)": Model(paths[0], ()),
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
