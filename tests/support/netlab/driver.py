"""The process that holds both namespaces and carries packets between them (`python -m tests.support.netlab.driver`).

One object in JSON a line on stdin, one in answer on stdout. It leaves at the end of stdin, and the namespaces with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from dataclasses import asdict
from typing import Any

from tests.support.netlab import namespaces
from tests.support.netlab.link import Quality, Way
from tests.support.netlab.priority import before_others

PACKETS_AT_ONCE = 64
"""How many packets are read from one device before it is the other's turn."""


class Driver:
    """Two devices, and a way in each direction: the first from the left one to the right one."""

    def __init__(self, addresses: list[str], congestion: str) -> None:
        self.namespaces: list[int] = []
        self._tuns: list[int] = []
        for address in addresses:
            self.namespaces.append(namespaces.new_namespace())
            self._tuns.append(namespaces.open_tun(address, congestion))
        self._congestion = congestion
        self._ways = [Way(Quality(), seed) for seed in (1, 2)]

    def run(self) -> None:
        """Carry packets and answer commands until stdin ends."""
        stdin = sys.stdin.fileno()
        unread = b""
        while True:
            due = [way.due_s for way in self._ways if way.due_s is not None]
            # Not epoll: its timeout is in milliseconds, and a packet takes a tenth of one.
            timeout_s = max(0.0, min(due) - time.monotonic()) if due else None
            ready, _, _ = select.select([stdin, *self._tuns], [], [], timeout_s)
            for side, way in enumerate(self._ways):
                if self._tuns[side] in ready:
                    self._read(self._tuns[side], way)
                self._write(self._tuns[1 - side], way)
            if stdin in ready:
                data = os.read(stdin, 65536)
                if not data:
                    return
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    tell(self.answer(json.loads(line)))

    def _read(self, tun: int, way: Way) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(PACKETS_AT_ONCE):
                packet = os.read(tun, 65536)
                way.offer(packet, time.monotonic())

    def _write(self, tun: int, way: Way) -> None:
        for packet in way.take(time.monotonic()):
            # A device without its address, for a moment, refuses packets; so would any line.
            with contextlib.suppress(OSError):
                os.write(tun, packet)

    def answer(self, command: dict[str, Any]) -> object:
        """Carry out one command."""
        if "qualities" in command:
            for way, fields in zip(self._ways, command["qualities"], strict=True):
                way.change(Quality(**fields), time.monotonic())
        if "address" in command:
            with namespaces.within(self.namespaces[command["side"]]):
                namespaces.readdress(command["address"], self._congestion)
        return [asdict(way.counts) for way in self._ways]


def tell(answer: object) -> None:
    """Answer with one line."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Make the lab, tell where its namespaces are, and carry."""
    wanted = json.loads(sys.argv[1])
    try:
        driver = Driver(wanted["addresses"], wanted["congestion"])
    except OSError as error:
        tell({"error": str(error)})
        return
    before_others(os.getpid())
    tell({"namespaces": driver.namespaces})
    driver.run()


if __name__ == "__main__":
    main()
