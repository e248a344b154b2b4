"""A peer of another make in a process of its own, which tells what it does in lines of JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

__all__ = ["peer_process", "said"]


@contextlib.asynccontextmanager
async def peer_process(
    *command: str | Path, cwd: Path | None = None, quiet: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    peer = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL if quiet else None,
    )
    try:
        yield peer
    finally:
        with contextlib.suppress(ProcessLookupError):
            peer.kill()
        await peer.wait()


async def said(peer: asyncio.subprocess.Process, timeout_s: float = 50) -> Any:
    assert peer.stdout is not None
    return json.loads(await asyncio.wait_for(peer.stdout.readline(), timeout_s))
