"""The run of trio that libp2p lives in ends or breaks: the node listens and dials again, and says so meanwhile."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from peerpost.net.tcp import transport as libp2p
from peerpost.net.tcp.guest import Guest
from peerpost.net.tcp.transport import LibP2PTransport
from tests.support.network_rig import acquainted, until


def breaks() -> None:
    raise RuntimeError("a fault in trio")


def end(guest: Guest) -> None:
    """Have the run end as if it had nothing more to do."""
    guest._token.run_sync_soon(guest._nursery.cancel_scope.cancel)


def crash(guest: Guest) -> None:
    """Have the run end by an error that nobody catches."""
    guest._token.run_sync_soon(breaks)


@pytest.mark.slow
@pytest.mark.parametrize("die", [end, crash])
def test_the_node_goes_on_over_another(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    die: Callable[[Guest], None],
) -> None:
    async def scenario() -> None:
        async with acquainted(tmp_path, "alice", "bob", make=LibP2PTransport) as (alice, bob):
            before = list(alice.transport.addresses)
            dead = alice.transport._guest  # type: ignore[attr-defined]
            real, failing = Guest.acquire, True

            async def acquire() -> Guest:
                if failing:
                    raise OSError("no descriptor is left")
                return await real()

            monkeypatch.setattr(Guest, "acquire", acquire)
            die(dead)
            duties = alice.home.services.duties
            await until(lambda: "accept" in [found["name"] for found in duties.failing()])
            # One guest serves both, who are in one process.
            await until(lambda: not alice.peer.online and not bob.peer.online)
            await until(lambda: alice.home.network.unreachable)
            failing = False
            await until(lambda: alice.peer.online and bob.peer.online)
            assert alice.home.network.unreachable is None
            assert list(alice.transport.addresses) == before
            for somebody in (alice, bob):
                entry = await somebody.queue("over another run")
                await until(functools.partial(somebody.delivered, entry))

    with caplog.at_level(logging.CRITICAL, libp2p.log.name):
        asyncio.run(scenario())
