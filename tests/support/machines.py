"""Machines that are a HOME each, with bash as a person uses it: the pages of docs/ and the README are run on them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Block", "Machine", "blocks"]

BLOCK = re.compile(r"^```(\w+) (\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LOOPBACK = '["/ip4/127.0.0.1/tcp/0"]'
PEERPOST = Path(sys.executable).with_name("peerpost")


@dataclass(frozen=True, slots=True)
class Block:
    """Commands of a page, marked with whose shell runs them: "```sh db3" by bash, "```cron db3" as cron does."""

    shell: str
    whose: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the commands of a page, in their order."""
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


class Machine:
    """A HOME of its own, with peerpost where `dev.py install` links it."""

    def __init__(self, folder: Path, name: str, listen: str | None = LOOPBACK) -> None:
        self.name = name
        self.home = folder / name
        linked = self.home / ".local" / "bin" / "peerpost"
        linked.parent.mkdir(parents=True)
        linked.symlink_to(PEERPOST)
        path = os.pathsep.join((str(linked.parent), os.environ["PATH"]))
        self.env = {"HOME": str(self.home), "PATH": path, "LANG": "C.UTF-8"}
        small = {
            "STORAGE__BALLAST": '"64KiB"',
            "STORAGE__MIN_FREE": "0",
            "NODE__IDLE_EXIT": '"60s"',
        }
        if listen is not None:
            small["NETWORK__LISTEN"] = listen
        self.env |= {f"PEERPOST__{key}": value for key, value in small.items()}

    def bash(self, text: str) -> str:
        """Run commands as a person does; return what they print."""
        return self._run(["bash", "-euo", "pipefail", "-c", text], self.env)

    def cron(self, text: str) -> str:
        """Run a line of a crontab as cron does: by /bin/sh, in HOME, with next to no environment."""
        times = 1 if text.startswith("@") else 5
        line = text.rstrip("\n").split(maxsplit=times)[times].replace(r"\%", "%")
        bare = {key: value for key, value in self.env.items() if key != "LANG"}
        return self._run(["/bin/sh", "-c", line], bare | {"PATH": "/usr/bin:/bin"})

    def _run(self, command: list[str], env: dict[str, str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.home,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done
        return done.stdout

    def run(self, block: Block) -> str:
        """Run a block of a page."""
        return {"sh": self.bash, "cron": self.cron}[block.shell](block.text)
