"""Servers of the S3 and the Google Cloud Storage API on this machine, behind a proxy with faults.

Google's emulator knows no preconditions, so the proxy checks the one that creates new files.
"""

import contextlib
import http.client
import logging
import re
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

import fsspec
import pytest
from gcp_storage_emulator.server import create_server
from moto.moto_api._internal import moto_api_backend
from moto.server import ThreadedMotoServer

BUCKET = "runs"
HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "server", "date"}
MULTIPART_END = b"\n--==0==--"

Fault = int | float | str
"""A status to answer with; seconds to wait; `cut` the request or the `answer`; `stale`: answer a
listing with what the same one said before."""


class Proxy:
    """Forwards HTTP to a server on this machine, except where `fault` says otherwise."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.fault: Callable[[str, str], Fault | None] = lambda method, path: None
        """What to do with a request, by its method and unquoted path."""
        self.requests: list[tuple[str, str]] = []
        self.listings: dict[str, tuple[int, bytes, list[tuple[str, str]]]] = {}
        """The last answer to each listing."""
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(self, fault: Fault, pattern: str, times: int = 10**9) -> None:
        """Apply a fault to the next requests whose "METHOD path" matches."""
        left, lock = [times], threading.Lock()

        def decide(method: str, path: str) -> Fault | None:
            with lock:
                if not left[0] or not re.search(pattern, f"{method} {path}"):
                    return None
                left[0] -= 1
                return fault

        self.fault = decide

    def heal(self) -> None:
        self.fault = lambda method, path: None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def log_message(self, *args: object) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, body: bytes, headers: list[tuple[str, str]], cut: bool) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP_HEADERS or (name, self.command) == (
                "Content-Length",
                "HEAD",
            ):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if cut:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(body)

    def _send_on(self, method: str, path: str, body: bytes = b"") -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.upstream, timeout=60)
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in HOP_HEADERS
        }
        connection.request(method, path, body, headers)
        return connection.getresponse()

    def _name_in_body(self) -> str:
        """Return the name of the file that a request to Google's API uploads."""
        if self.command != "POST" or not self.path.startswith("/upload/"):
            return ""
        name = re.search(rb'"name": *"([^"]*)"', self.rfile.peek(4096))
        return name[1].decode() if name else ""

    def _exists(self, name: str) -> bool:
        folder = self.path.partition("?")[0].removeprefix("/upload")
        return self._send_on("GET", f"{folder}/{quote(name, safe='')}").status == 200

    def handle_any(self) -> None:
        name = self._name_in_body()
        path = f"{unquote(self.path)} {name}"
        self.proxy.requests.append((self.command, path))
        fault = self.proxy.fault(self.command, path)
        if fault == "cut":
            self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
            self.close_connection = True
            return
        body = self._body()
        if isinstance(fault, float):
            time.sleep(fault)
        if isinstance(fault, int):
            self._answer(fault, b"{}", [("Content-Type", "application/json")], False)
            return
        if "ifGenerationMatch=0" in path and name and self._exists(name):
            self._answer(412, b"{}", [("Content-Type", "application/json")], False)
            return
        # The emulator takes a last byte "\r" for a part of the line end that gcsfs sends after it.
        if path.startswith("/upload/") and body.endswith(MULTIPART_END):
            body = body.removesuffix(MULTIPART_END) + b"\r" + MULTIPART_END
        # gcsfs sends the parts of a large file with POST; the emulator knows PUT.
        method = "PUT" if "&upload_id=" in path else self.command
        response = self._send_on(method, self.path, body)
        answer = response.status, response.read(), response.getheaders()
        if "prefix=" in self.path and method == "GET":
            if fault == "stale":
                answer = self.proxy.listings[self.path]
            self.proxy.listings[self.path] = answer
        self._answer(*answer, fault == "answer")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = handle_any  # noqa: N815


@contextmanager
def _s3(patch: pytest.MonkeyPatch) -> Iterator[int]:
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    moto_api_backend.reset()  # its buckets outlive the server
    yield server.get_host_and_port()[1]
    server.stop()


@contextmanager
def _gs(patch: pytest.MonkeyPatch) -> Iterator[int]:
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    server.start()
    yield server._api._httpd.server_address[1]
    server.stop()


@contextmanager
def open_store(scheme: str) -> Iterator[Proxy]:
    """Serve an empty bucket, for this process and the processes that it starts."""
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        # The servers print a traceback when a client closes its connection, into what tests read.
        patch.setattr(socketserver.BaseServer, "handle_error", lambda *_: None)
        proxy = Proxy(stack.enter_context({"s3": _s3, "gs": _gs}[scheme](patch)))
        stack.callback(proxy.close)
        for name, value in {
            "AWS_ENDPOINT_URL": proxy.endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "STORAGE_EMULATOR_HOST": proxy.endpoint,
            "TENSORSTORE_GCS_HTTP_URL": proxy.endpoint,
            "GOOGLE_CLOUD_PROJECT": "project",
            "NO_GCE_CHECK": "true",
            # gcsfs would ask Google what kind of bucket it is, over gRPC.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        }.items():
            patch.setenv(name, value)
        fsspec.get_filesystem_class(scheme).clear_instance_cache()
        if scheme == "s3":
            fsspec.filesystem("s3").mkdir(BUCKET)
        yield proxy
        fsspec.get_filesystem_class(scheme).clear_instance_cache()
