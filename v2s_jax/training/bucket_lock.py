"""The lock of a run in a bucket, where no file can be locked.

The holder renews WORKDIR/lock.json as long as it lives. A lock that is not renewed any more is
taken over: after a minute, or at once if its process ran on this machine and is gone. Two that take
over in the same instant may both believe that they hold it; the one whose lock was replaced finds
out when it renews it, stops, and writes nothing more.
"""

import json
import os
import secrets
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from v2s_jax.bucket import Bucket, wrap_bucket_errors
from v2s_jax.errors import InputError
from v2s_jax.json_text import parse_json

LOCK_FILE = "lock.json"
RENEW_SEC = 15.0
"""Google allows one write of a file per second."""
LEASE_SEC = 60.0
"""Silence after which a lock is taken over: three renewals may fail."""
SETTLE_SEC = 1.0
"""After this time a lock that was taken over is read again."""


class BucketLock(ExitStack):
    """Holds the lock of a run until its `with` block ends; a thread renews it.

    Raises InputError when another process holds it, or it cannot be written.
    """

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self._bucket = bucket
        self._token = secrets.token_hex(8)
        self._renewals = 0
        self._stop = threading.Event()
        self._renewed_at = time.monotonic()
        self.lost_to: str | None = None
        """Who has taken the lock over."""
        with wrap_bucket_errors(bucket.url, "written"):
            self._acquire()
        thread = threading.Thread(target=self._keep, daemon=True)
        thread.start()
        self.callback(self._release)
        self.callback(thread.join)
        self.callback(self._stop.set)

    def _content(self) -> bytes:
        fields = {
            "token": self._token,
            "renewals": self._renewals,
            "machine": _machine(),
            "process": os.getpid(),
            "host": socket.gethostname(),
        }
        return json.dumps(fields).encode()

    def _read(self) -> dict[str, Any] | None:
        """Return the fields of the lock; none of them if it is corrupt."""
        text = self._bucket.read(LOCK_FILE)
        if text is None:
            return None
        try:
            fields = parse_json(text)
        except ValueError:
            fields = {}
        return fields if isinstance(fields, dict) else {}

    def _acquire(self) -> None:
        while True:
            holder = self._read()
            if holder is not None:
                self._wait_until_silent(holder)
                if self._read() != holder:
                    continue
                self._bucket.remove([LOCK_FILE])
            try:
                self._bucket.write(LOCK_FILE, self._content(), is_new=True)
            except FileExistsError:
                continue
            if holder is not None:
                time.sleep(SETTLE_SEC)
            if self._is_ours(self._read()):
                return

    def _is_ours(self, fields: dict[str, Any] | None) -> bool:
        return fields is not None and fields.get("token") == self._token

    def _wait_until_silent(self, holder: dict[str, Any]) -> None:
        """Return when the holder is gone; raise InputError when it renews its lock."""
        if _is_dead(holder):
            return
        who = _name(holder)
        print(f"{self._bucket.url}: locked by {who}: waiting {LEASE_SEC:.0f} s for a sign of it")
        end = time.monotonic() + LEASE_SEC
        while time.monotonic() < end:
            time.sleep(min(1.0, LEASE_SEC / 10))
            now = self._read()
            if now is None:
                return
            if now != holder:
                raise InputError(
                    f"{self._bucket.url}: {_name(now)} is writing there: wait for it or choose "
                    "another --workdir"
                )

    def _keep(self) -> None:
        """Renew the lock, until it is released or lost."""
        while not self._stop.wait(RENEW_SEC):
            try:
                now = self._read()
                if now is not None and not self._is_ours(now):
                    self.lost_to = _name(now)
                    return
                self._renewals += 1
                self._bucket.write(LOCK_FILE, self._content())
                self._renewed_at = time.monotonic()
            except Exception:  # the store cannot be reached now: try again
                continue

    def check(self) -> None:
        """Raise InputError when another process has taken the lock over.

        Raises what the store raises if the lock may have been taken over, and cannot be read.
        """
        if self.lost_to is None and time.monotonic() - self._renewed_at > LEASE_SEC:
            now = self._read()
            if now is not None and not self._is_ours(now):
                self.lost_to = _name(now)
        if self.lost_to is not None:
            raise InputError(
                f"{self._bucket.url}: {self.lost_to} has taken the run over, because this process "
                f"could not reach the bucket for {LEASE_SEC:.0f} s: leave the run to it"
            )

    def _release(self) -> None:
        with suppress(Exception):  # the lock also ends by silence
            if self.lost_to is None and self._is_ours(self._read()):
                self._bucket.remove([LOCK_FILE])


def _machine() -> str:
    """Identify the running system within which process numbers are unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether the holder ran on this machine and does not any more."""
    machine, process = holder.get("machine"), holder.get("process")
    if not machine or machine != _machine() or not isinstance(process, int) or process < 1:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _name(holder: dict[str, Any]) -> str:
    return f"process {holder.get('process')} on {holder.get('host')}"
