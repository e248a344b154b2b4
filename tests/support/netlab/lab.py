"""The lab as tests use it: it starts the driver, talks to it, and gives access to both namespaces."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, Self

from tests.support.netlab.link import Counts, Quality

__all__ = ["ADDRESSES", "Lab", "LabError", "Side", "missing"]

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")
ADDRESSES: dict[Side, str] = {"left": "10.77.0.1", "right": "10.77.0.2"}
ROOT = Path(__file__).resolve().parents[3]
AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
LEAVE_S = 5.0


class LabError(Exception):
    """The lab could not be made."""


def missing(congestion: str = "cubic") -> str:
    """Say what is missing here for a lab; empty if nothing is."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun (modprobe tun, or: mknod /dev/net/tun c 10 200)"
    for program, package in (("ip", "iproute2"), ("nsenter", "util-linux")):
        if shutil.which(program) is None:
            return f"there is no {program} (on Debian and Ubuntu: apt install {package})"
    if congestion not in AVAILABLE.read_text(encoding="ascii").split():
        return f"the kernel has no {congestion} (modprobe tcp_{congestion})"
    return ""


class Lab:
    """Two namespaces and the link between them. Raises LabError if it cannot be made."""

    def __init__(
        self, there: Quality, back: Quality | None = None, *, congestion: str = "cubic"
    ) -> None:
        """`there` is from the left to the right; `back` is the same where none is given."""
        self._qualities = [there, back or there]
        self.addresses = dict(ADDRESSES)
        wanted = {"addresses": list(ADDRESSES.values()), "congestion": congestion}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.netlab.driver", json.dumps(wanted)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        made = self._answer()
        if "error" in made:
            self.close()
            raise LabError(f"no network namespaces: {made['error']}")
        folder = f"/proc/{self._process.pid}/fd"
        self._doors = {s: f"{folder}/{fd}" for s, fd in zip(SIDES, made["namespaces"], strict=True)}
        self.change(*self._qualities)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the driver; the namespaces end with the last process in them."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    # -- the link

    def change(self, there: Quality, back: Quality | None = None) -> None:
        """Change the link's properties from now on."""
        self._qualities = [there, back or there]
        self._ask({"qualities": [asdict(quality) for quality in self._qualities]})

    def cut(self) -> None:
        """Let nothing through, without any sign to either side."""
        self.change(*(replace(quality, cut=True) for quality in self._qualities))

    def heal(self) -> None:
        """Let packets through again."""
        self.change(*(replace(quality, cut=False) for quality in self._qualities))

    def counts(self) -> tuple[Counts, Counts]:
        """Return the counts of packets in each direction."""
        there, back = self._ask({})
        return Counts(**there), Counts(**back)

    # -- the sides

    def inside(self, side: Side) -> list[str]:
        """Return what to put before a command that shall run on a side."""
        return ["nsenter", f"--net={self._doors[side]}"]

    def readdress(self, side: Side, address: str) -> None:
        """Give a side another address, 10.77.0.x; what was bound to the old one hears nothing any more."""
        self._ask({"side": SIDES.index(side), "address": address})
        self.addresses[side] = address

    def socket(self, side: Side, kind: socket.SocketKind) -> socket.socket:
        """Return a socket of this process on a side."""
        from tests.support.netlab.namespaces import within

        made: list[socket.socket] = []

        def make() -> None:
            door = os.open(self._doors[side], os.O_RDONLY | os.O_CLOEXEC)
            try:
                with within(door):
                    made.append(socket.socket(socket.AF_INET, kind))
            finally:
                os.close(door)

        # A thread is where it is; this one must stay.
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def _ask(self, command: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise LabError("the link's process has ended; what it said stands above")
        return json.loads(line)
