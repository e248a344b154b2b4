"""No loop of a coroutine may wait by what gives no other task a turn.

`asyncio.gather` of tasks that are done returns at once from Python 3.12 on, and their callbacks, which take them out of
what the loop looks at, never run: it spins for ever. `asyncio.wait` always gives a turn.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from peerpost.net.tcp.transport import LibP2PTransport
from tests.support.net_rig import LOOPBACK, PROTOCOLS, everybody, on_loop, seed

ROOT = Path(__file__).parents[1]

GATHER = {"gather", "asyncio.gather"}
PLANTED = """
async def stop(tasks):
    while tasks:
        await asyncio.gather(*tasks)
async def fine(tasks):
    while tasks:
        await asyncio.gather(*(task.close() for task in tasks))
        await asyncio.wait(tasks)
"""


def spinning(tree: ast.AST) -> Iterator[int]:
    """Yield the lines at which a `while` gathers what exists already: coroutines made there are new tasks."""
    for loop in ast.walk(tree):
        if not isinstance(loop, ast.While):
            continue
        for call in ast.walk(loop):
            gathers = isinstance(call, ast.Call) and ast.unparse(call.func) in GATHER
            if gathers and not all(map(is_made_here, call.args)):
                yield call.lineno


def is_made_here(argument: ast.expr) -> bool:
    value = argument.value if isinstance(argument, ast.Starred) else argument
    return isinstance(value, ast.Call) or (
        isinstance(value, ast.GeneratorExp | ast.ListComp) and isinstance(value.elt, ast.Call)
    )


@pytest.mark.slow
def test_no_loop_gathers_what_may_be_done() -> None:
    assert list(spinning(ast.parse(PLANTED))) == [4]
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for folder in ("messenger", "cli")
        for path in (ROOT / folder).rglob("*.py")
        for line in spinning(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set()


class Ending(LibP2PTransport):
    """A transport one of whose connections ends in the moment in which it is stopped."""

    ended: asyncio.Task[None]

    def _unlisten(self) -> None:
        super()._unlisten()
        self._watchers.add(self.ended)
        self.ended.add_done_callback(self._watchers.discard)


@on_loop
async def test_a_transport_stops_over_a_connection_that_has_just_ended() -> None:
    transport = Ending(seed("ends"), [LOOPBACK], everybody, PROTOCOLS)
    await transport.start()
    transport.ended = asyncio.get_running_loop().create_task(asyncio.sleep(0))
    await transport.ended
    await transport.stop()
    assert not transport._watchers
