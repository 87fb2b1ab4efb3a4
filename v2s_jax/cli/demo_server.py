"""What keeps the page of `v2s demo` to its user: who may call it, and files that do not stay."""

import html
import re
import signal
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]

LOCAL_HOSTS = ("127.0.0.1", "localhost")
POLICY_VIOLATION = 1008  # close code of WebSockets (RFC 6455)
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
SHELL_SIGNAL_CODE = 128
"""Shells report a signal as this plus its number."""

MAX_AGE_SEC = 3_600
"""Files older than this are removed: an hour to watch and download."""
CLEANING_SEC = 300
"""Time between two looks for old files."""


class LocalOnly:
    """ASGI middleware that refuses requests from pages of other sites.

    The server listens on 127.0.0.1 only, but a browser also takes requests of foreign pages there:
    with their Origin, or, after DNS rebinding, with their Host.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan" or _is_local(scope["headers"]):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"foreign Host or Origin\n"})


def _is_local(headers: Collection[tuple[bytes, bytes]]) -> bool:
    """Say whether a request was sent to this machine, by its own page or by no page."""
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
    if len(hosts) != 1 or _host_name(f"//{hosts[0]}") not in LOCAL_HOSTS:
        return False
    return all(origin == f"http://{hosts[0]}" for origin in origins)


def _host_name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:  # such as an open bracket
        return None


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder that is removed at the end, also when SIGTERM or SIGHUP ends the program."""
    # nohup ignores SIGHUP, and that holds.
    handled = [number for number in ENDING_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, _exit) for number in handled}
    try:
        # A worker thread may still be writing.
        with tempfile.TemporaryDirectory(
            prefix="v2s_jax-demo-", ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Ended(BaseException):
    """A signal ended the program."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _exit(signum: int, frame: FrameType | None) -> None:
    raise Ended(SHELL_SIGNAL_CODE + signum)


def start_cleaning(folder: Path, keep: Callable[[], Collection[str]]) -> None:
    """Remove old files of a folder from now on, in a thread that ends with the program.

    `keep` returns the paths that stay.
    """

    def clean() -> None:
        while True:
            time.sleep(CLEANING_SEC)
            remove_old_files(folder, keep(), MAX_AGE_SEC)

    threading.Thread(target=clean, daemon=True).start()


def remove_old_files(folder: Path, keep: Collection[str], max_age_sec: int) -> None:
    """Remove files that were not written for some time, and folders that are then empty."""
    oldest = time.time() - max_age_sec
    for path in sorted(folder.rglob("*"), reverse=True):  # files before their folders
        with suppress(OSError):  # gone, or in use
            if path.lstat().st_mtime >= oldest or str(path) in keep:
                continue
            path.rmdir() if path.is_dir() else path.unlink()


def page_message(message: str, folder: Path) -> str:
    """Return a message as HTML, with the names of files in the temporary folder, not their paths.

    The page renders messages as HTML, and a file's name may contain some.
    """
    without_paths = re.sub(rf"{re.escape(str(folder))}/(?:[\w-]+/)*", "", message)
    return html.escape(without_paths, quote=False)
