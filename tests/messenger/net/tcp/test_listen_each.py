"""Each address is listened on by itself: a bad one holds up nothing, and is tried again."""

from __future__ import annotations

import asyncio
import socket

import pytest

from peerpost.errors import UnavailableError
from peerpost.net.interface import Admission
from peerpost.net.tcp import transport as libp2p
from peerpost.net.tcp.transport import LibP2PTransport
from tests.support.network_rig import until

NOWHERE = "/ip4/192.0.2.1/tcp/0"
"""An address of documentation (RFC 5737), which this machine does not have."""


def make(name: int, listen: list[str], *, patient: bool = True) -> LibP2PTransport:
    return LibP2PTransport(
        bytes([name]) * 32, listen, lambda _: Admission.KNOWN, {}, patient=patient
    )


@pytest.mark.parametrize("listen", [[NOWHERE, "/ip4/127.0.0.1/tcp/0"], [NOWHERE]])
def test_a_bad_address_holds_up_neither_listening_nor_dialling(listen: list[str]) -> None:
    async def scenario() -> None:
        ours, other = make(1, listen), make(2, ["/ip4/127.0.0.1/tcp/0"])
        await ours.start()
        await other.start()
        try:
            assert len(ours.addresses) == len(listen) - 1
            assert list(ours.listen_errors) == [NOWHERE]
            await ours.dial(other.peer_id, other.addresses, timeout_s=5)
            if ours.addresses:
                await other.dial(ours.peer_id, ours.addresses, timeout_s=5)
        finally:
            await ours.stop()
            await other.stop()

    asyncio.run(scenario())


def test_a_port_that_comes_free_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p, "LISTEN_AGAIN_S", 0.05)

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            wanted = f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"
            ours = make(1, [wanted])
            await ours.start()
            assert len(ours.addresses) == 1
            assert "another port" in ours.listen_errors[wanted]
        try:
            await until(lambda: wanted in ours.addresses)
            assert not ours.listen_errors
        finally:
            await ours.stop()

    asyncio.run(scenario())


def test_one_that_is_not_patient_says_so() -> None:
    with pytest.raises(UnavailableError):
        asyncio.run(make(1, [NOWHERE], patient=False).start())
