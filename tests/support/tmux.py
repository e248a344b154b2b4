"""A pane of tmux: a program on a real terminal of a given size, and what is left on that."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["Pane"]

WAIT_S = 30.0


class Pane:
    """One server of tmux with one pane, in which a shell runs."""

    def __init__(self, folder: Path, columns: int, lines: int, env: Mapping[str, str]) -> None:
        """Start it; its socket lies in a folder."""
        self._socket = folder / f"tmux-{columns}-{os.urandom(4).hex()}"
        self._env = dict(env) | {"TERM": "xterm-256color"}
        self._env |= {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
        size = ["-x", str(columns), "-y", str(lines)]
        cwd = ["-c", self._env["HOME"]]
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, *cwd, "exec sh")
        self.keys("PS1='$ '; clear", "Enter")

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", str(self._socket), *arguments]
        return subprocess.run(
            command, env=self._env, capture_output=True, text=True, check=True
        ).stdout

    def keys(self, *keys: str) -> None:
        """Press keys, by the names that tmux has for them; what is no such name is typed."""
        self._tmux("send-keys", "-t", ":0", *keys)

    def type(self, text: str) -> None:
        """Type a text as it stands."""
        self._tmux("send-keys", "-t", ":0", "-l", text)

    def paste(self, text: str) -> None:
        """Paste a text, bracketed as a terminal does."""
        self._tmux("set-buffer", text)
        self._tmux("paste-buffer", "-p", "-t", ":0")

    def shown(self, *, styled: bool = False) -> str:
        """Return what is on the screen; with `styled`, and the codes that tmux would draw it by."""
        return self._tmux("capture-pane", "-p", *(["-e", "-N"] if styled else []), "-t", ":0")

    def value(self, name: str) -> str:
        """Return a variable of tmux: `alternate_on`, `cursor_flag`, `pane_title`."""
        return self._tmux("display-message", "-p", "-t", ":0", f"#{{{name}}}").strip()

    def until(self, *texts: str, gone: Sequence[str] = ()) -> str:
        """Wait until all these are on the screen, and none of `gone`; return what is on it."""
        deadline_s = time.monotonic() + WAIT_S
        while True:
            shown = self.shown()
            if all(text in shown for text in texts) and not any(text in shown for text in gone):
                return shown
            assert time.monotonic() < deadline_s, f"{texts} did not come:\n{shown}"
            time.sleep(0.05)

    def until_true(self, condition: Callable[[str], bool]) -> str:
        """Wait until something holds of what is on the screen; return that."""
        deadline_s = time.monotonic() + WAIT_S
        while not condition(shown := self.shown()):
            assert time.monotonic() < deadline_s, shown
            time.sleep(0.05)
        return shown

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size."""
        self._tmux("resize-window", "-t", ":0", "-x", str(columns), "-y", str(lines))

    def close(self) -> None:
        """End what runs in it."""
        subprocess.run(
            ["tmux", "-S", str(self._socket), "kill-server"],
            env=self._env,
            capture_output=True,
            check=False,
        )
