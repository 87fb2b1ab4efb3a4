"""Headless Chromium, for tests of pages; they skip where it is not installed."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

DEADLINE_SEC = 120

needs_browser = pytest.mark.skipif(
    shutil.which("chromedriver") is None,
    reason="no chromedriver here (Debian: apt install chromium-driver)",
)


class Browser:
    """A session of headless Chromium, controlled by W3C WebDriver."""

    def __init__(self, port: int) -> None:
        self._root = f"http://127.0.0.1:{port}"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu"]
        options = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}}
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": options}})
        self._root += f"/session/{session['sessionId']}"

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._root + path, data, {"Content-Type": "application/json"})
        request.method = method
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, path: Path) -> None:
        self.go(path.as_uri())

    def run(self, script: str) -> Any:
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def press(self, keys: str) -> None:
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call(
            "POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]}
        )

    def resize(self, width_px: int, height_px: int) -> None:
        """Set the size of the window, with its frame."""
        self._call("POST", "/window/rect", {"width": width_px, "height": height_px})

    def go(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file in the input that matches a CSS selector."""
        reference = self._call("POST", "/element", {"using": "css selector", "value": selector})
        (element,) = reference.values()
        self._call("POST", f"/element/{element}/value", {"text": str(path)})

    def console_errors(self) -> list[str]:
        """Return the warnings and errors of the console since the last call."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def close(self) -> None:
        self._call("DELETE", "")


@contextmanager
def browsing() -> Iterator[Browser]:
    """Start a browser without stored data, and close it at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL) as driver:
        try:
            browser = _connect(port)
            yield browser
            browser.close()
        finally:
            driver.terminate()


def _connect(port: int) -> Browser:
    deadline = time.monotonic() + DEADLINE_SEC
    while True:
        try:
            return Browser(port)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def text_of(element: str) -> str:
    """Return a script that returns the text of an element."""
    return f"return document.getElementById('{element}').textContent"


def wait_until(condition: Callable[[], Any]) -> None:
    """Poll a condition until it is true."""
    deadline = time.monotonic() + DEADLINE_SEC
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
