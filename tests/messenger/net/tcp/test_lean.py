"""The node loads of py-libp2p what it uses, and whoever wants the rest gets it whole."""

from __future__ import annotations

import subprocess
import sys

NODE = """
import asyncio, sys
from peerpost.net.tcp.transport import LibP2PTransport
from tests.support.net_rig import LOOPBACK, PROTOCOLS, everybody, seed

async def main():
    ends = [LibP2PTransport(seed(name), [LOOPBACK], everybody, PROTOCOLS) for name in ("a", "b")]
    for end in ends:
        await end.start()
    connection = await ends[0].dial(ends[1].peer_id, ends[1].addresses)
    assert connection.peer_id == ends[1].peer_id
    for end in ends:
        await end.stop()

asyncio.run(main())
print(*sorted(sys.modules))
"""
REST = """
import sys
import peerpost.net.tcp.transport as ours
from peerpost.net.tcp.upgrade import ID
assert "libp2p.host" not in sys.modules
import libp2p, libp2p.utils
from libp2p import new_host
from libp2p.network import swarm
import libp2p.transport
libp2p.transport.TransportManager
assert libp2p.peer.id.ID is ID and "libp2p.host.basic_host" in sys.modules
new_host()
try:
    libp2p.no_such_name
except AttributeError:
    print("whole")
"""
ABSENT = """
from peerpost.net.tcp.lean import postpone
postpone("no_such_package", "no_such_package.part")
import no_such_package
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_handshake_loads_no_host_and_no_other_transport() -> None:
    done = run(NODE)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "libp2p.security.noise.transport" in loaded
    rest = ("libp2p.host", "libp2p.network.swarm", "libp2p.transport.manager", "trio_websocket")
    assert not loaded & set(rest)


def test_the_rest_is_there_for_who_asks() -> None:
    done = run(REST)
    assert (done.stdout, done.returncode) == ("whole\n", 0), done.stderr


def test_a_package_that_is_not_installed_is_named_by_its_import() -> None:
    assert "No module named 'no_such_package'" in run(ABSENT).stderr
