"""A node that answers what a test tells it to, and the command line run here or as a process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from peerpost.cli.main import run
from peerpost.client.paths import HomePaths
from peerpost.client.rpc import Final, MethodNotFoundError, Request
from peerpost.errors import PeerpostError
from peerpost.node.control.server import ControlServer

ENTRY = {
    "id": "7hq2m",
    "contact": "bob",
    "kind": "text",
    "size": 2,
    "lane": "urgent",
    "state": "queued",
    "name": None,
    "progress": None,
}
"""A queue entry as the node gives it."""


NEVER = object()
"""The end of events after which nothing comes."""


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds that another process or thread brings about."""
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


class FakeNode:
    """Answers by method: a value, an error to raise, a function, or events and a result."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.answers: dict[str, Any] = {
            "inbox.peek": {"id": "k3f9", "directory": False},
            "inbox.mark": [],
            "transfers.asking": [],
        }
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._loop = asyncio.new_event_loop()
        self._server = ControlServer(HomePaths(home).socket, self._handle)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(10)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(0.1), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    @property
    def params(self) -> dict[str, Any]:
        """Parameters of the last request."""
        return self.asked[-1][1]

    def until_asked(self) -> None:
        """Wait for a request."""
        until(lambda: self.asked)

    async def _handle(self, request: Request) -> object:
        self.asked.append((request.method, request.params))
        if request.method not in self.answers:
            raise MethodNotFoundError(f"no method {request.method!r}")
        answer = self.answers[request.method]
        if callable(answer):
            answer = await asyncio.get_running_loop().run_in_executor(None, answer, request)
        if isinstance(answer, PeerpostError):
            raise answer
        return self._stream(answer) if isinstance(answer, Events) else answer

    async def _stream(self, events: Events) -> Any:
        for event in events.rows:
            yield event
        if events.end is NEVER:
            await asyncio.sleep(3600)
        if isinstance(events.end, PeerpostError):
            raise events.end
        yield Final(events.end)


@dataclass
class Events:
    """Rows to stream before the end."""

    rows: list[Any]
    end: Any


@dataclass
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


class Shell:
    """Runs the command line on a home."""

    def __init__(self, home: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capture = capture

    def __call__(self, *arguments: str) -> Ran:
        """Run in this process."""
        self._capture.readouterr()
        code = run(
            [*arguments, "--home", str(self.home)]
            if "--" not in arguments
            else ["--home", str(self.home), *arguments]
        )
        captured = self._capture.readouterr()
        return Ran(code, captured.out, captured.err)

    def process(
        self, *arguments: str, stdin: bytes = b"", **env: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run as a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "peerpost.cli", "--home", str(self.home), *arguments],
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
            env=os.environ | env,
        )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PEERPOST_HOME", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir(0o700)
    HomePaths(home).keyfile.touch()
    return home


@pytest.fixture
def node(home: Path) -> Iterator[FakeNode]:
    with closing(FakeNode(home)) as node:
        yield node


@pytest.fixture
def shell(home: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(home, capsys)
