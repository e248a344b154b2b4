"""`peerpost chat --linear` as a process between two pipes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

__all__ = ["LinearChat"]

WAIT_S = 60.0


class LinearChat:
    """A chat: what is typed goes in, and all that it prints is kept, both streams in one."""

    def __init__(self, home: Path, *arguments: str, cwd: Path | None = None) -> None:
        command = [sys.executable, "-m", "peerpost.cli", "--home", str(home), "chat", "--linear"]
        self._process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=os.environ | {"TZ": "UTC"},
        )
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := os.read(self._process.stdout.fileno(), 65536):
            self._written += data

    @property
    def printed(self) -> str:
        """Return all that was printed."""
        return self._written.decode()

    @property
    def pid(self) -> int:
        return self._process.pid

    def type(self, *lines: str) -> None:
        """Type lines."""
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self._process.stdin.flush()

    def until(self, text: str, *, times: int = 1) -> str:
        """Wait until a text was printed; return all that was printed."""
        deadline_s = time.monotonic() + WAIT_S
        while self.printed.count(text) < times:
            assert time.monotonic() < deadline_s, f"{text!r} did not come:\n{self.printed}"
            assert self._process.poll() is None or text in self.printed, self.printed
            time.sleep(0.02)
        return self.printed

    def end(self) -> int:
        """End the input, and return the exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        code = self._process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        return code

    def close(self) -> None:
        """End it whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
