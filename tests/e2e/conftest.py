"""Friends in a folder of their own, which leave neither a process nor a file."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.nodes import Friend, leave_nothing, meet

# They stop and kill processes by signals and name pipes, which a system without Unix sockets has not either.
collect_ignore_glob = [] if hasattr(socket, "AF_UNIX") else ["test_*.py"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, because control sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="pp-e2e-") as name:
        stubborn: list[str] = []
        try:
            yield Path(name)
        finally:
            stubborn = leave_nothing(Path(name))
        assert not stubborn, f"had to be killed: {stubborn}"


MakeFriend = Callable[..., Friend]


@pytest_asyncio.fixture
async def friend(folder: Path) -> AsyncIterator[MakeFriend]:
    """Make people; their nodes end with the test, and what they logged is shown if it failed."""
    made: list[Friend] = []

    def make(name: str, *, idle_exit: str = "60s") -> Friend:
        made.append(Friend(name, folder, idle_exit=idle_exit))
        return made[-1]

    yield make
    await asyncio.gather(*(one.close() for one in made))
    for one in made:
        print(f"--- what {one.name}'s nodes logged\n{one.log_text()}")  # noqa: T201


@pytest_asyncio.fixture
async def pair(friend: MakeFriend) -> tuple[Friend, Friend]:
    """Alice and Bob, each with a running node behind a link, who know each other."""
    alice, bob = friend("alice"), friend("bob")
    await asyncio.gather(alice.start(), bob.start())
    await asyncio.gather(alice.create(), bob.create())
    await meet(bob, alice)
    return alice, bob
