"""Ours against js-libp2p, installed by npm into a temporary folder.

`PEERPOST_JS_MODULES` names a folder where it is installed already, for whoever runs this often.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from peerpost.net.libp2p import LibP2PTransport
from tests.support.net_rig import (
    CHAT,
    LOOPBACK,
    PROTOCOLS,
    everybody,
    on_loop,
    pattern,
    read_all,
    running,
    seed,
    serve_echo,
)
from tests.support.peer_process import peer_process, said

HERE = Path(__file__).parent
SIZE = 10_000_000
INSTALL = ("install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the peer's script, beside all that it needs."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("js-libp2p is not tried: Node.js and npm are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        pytest.skip(f"js-libp2p is not tried: Node.js {version.strip()} is older than 20")
    folder = Path(os.environ.get("PEERPOST_JS_MODULES") or tmp_path_factory.mktemp("js"))
    for name in ("package.json", "peer.mjs"):
        shutil.copy(HERE / name, folder / name)
    if not (folder / "node_modules" / "libp2p").exists():
        try:
            subprocess.run(
                [npm, *INSTALL], cwd=folder, capture_output=True, timeout=150, check=True
            )
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"js-libp2p is not tried: npm cannot install it ({type(error).__name__})")
    return folder / "peer.mjs"


def js(
    script: Path, *arguments: str
) -> contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process]:
    return peer_process("node", script, *arguments)


def transport() -> LibP2PTransport:
    return LibP2PTransport(seed("ours"), [LOOPBACK], everybody, PROTOCOLS)


@on_loop
async def test_ours_dials_js(script: Path) -> None:
    ours = transport()
    async with js(script, "serve") as peer, running(ours):
        peer_id, address = await said(peer)
        connection = await ours.dial(peer_id, [address])
        stream = await connection.open_stream(CHAT)
        data = pattern(SIZE)

        async def send() -> None:
            for at in range(0, SIZE, 100_000):
                await stream.write(data[at : at + 100_000])
            await stream.close_write()

        echoed, _ = await asyncio.gather(read_all(stream), send())
        assert echoed == data
        # It answered our ping of the connection.
        assert connection._yamux.rtt_s is not None


@on_loop
async def test_js_dials_ours(script: Path) -> None:
    ours = transport()
    async with running(ours):
        address = f"{ours.addresses[0]}/p2p/{ours.peer_id}"
        async with js(script, "talk", address, str(SIZE)) as peer:
            connection = await ours.accept()
            serving = asyncio.ensure_future(serve_echo(connection))
            assert await said(peer) is True
            connection.abort()
            await serving
