"""A node in the middle and its contacts around it, each a process with a home of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from pair import CONFIG, Client, command


class Star:
    """Their homes, and a connection to each one's control socket."""

    def __init__(self, folder: Path, contacts: int) -> None:
        self.folder = folder
        self.names = [f"c{number}" for number in range(contacts)]
        self.hub: Client
        self.ends: dict[str, Client] = {}


@asynccontextmanager
async def star(folder: Path, contacts: int) -> AsyncIterator[Star]:
    """Start the nodes and make them known to each other."""
    made = Star(folder, contacts)
    async with AsyncExitStack() as stack:
        names = ["hub", *made.names]
        await asyncio.gather(*(start(stack, folder / name, name) for name in names))
        clients = [await stack.enter_async_context(Client(folder / name)) for name in names]
        made.hub, made.ends = clients[0], dict(zip(made.names, clients[1:], strict=True))
        for name, end in made.ends.items():
            ticket = (await made.hub.call("contacts.invite", name=name, expires_s=3600))["ticket"]
            await end.call("contacts.add", name="hub", ticket=ticket)
            while not (await end.call("contacts.show", name="hub"))["online"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        yield made


async def start(stack: AsyncExitStack, home: Path, name: str) -> None:
    home.mkdir(mode=0o700)  # noqa: ASYNC240
    (home / "config.toml").write_text(CONFIG)
    await run(home, "identity", "new", "--name", name, "--no-passphrase")
    stack.push_async_callback(run, home, "node", "stop")


async def run(home: Path, *arguments: str) -> None:
    """Run a command of the command line."""
    process = await asyncio.create_subprocess_exec(
        *command(home, "--quiet", *arguments), stdout=asyncio.subprocess.DEVNULL
    )
    if await process.wait():
        raise RuntimeError(f"peerpost {' '.join(arguments)} failed")
