"""`peerpost rpc`: the node for a program that speaks JSON-RPC on its standard streams."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from peerpost import system
from peerpost.stdio import read

from ..app import App, Command, pass_app

if TYPE_CHECKING:
    from peerpost.client.connection import NodeConnection

__all__ = ["rpc"]

_READ_BYTES = 1 << 16


@click.command(
    "rpc",
    cls=Command,
    examples="""
    echo '{"jsonrpc": "2.0", "id": 1, "method": "contacts.list"}' | peerpost rpc
    echo '{"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}' | peerpost rpc
    """,
)
@pass_app
def rpc(app: App) -> None:
    """Serve a program on stdin and stdout, by JSON-RPC 2.0.

    A request is a line, and so is an answer. A method is named as a command: `inbox.list` is `inbox
    list`. It ends when stdin has ended and all is answered.
    """
    from peerpost.client.ask import STARTS_WITHOUT_IDENTITY, connect
    from peerpost.client.relay import Relay

    def connected(method: str) -> NodeConnection:
        identity = method not in STARTS_WITHOUT_IDENTITY
        return connect(app.home, spawn=app.spawn, identity=identity, node_args=app.node_args())

    def unlock() -> None:
        # Over another connection: answers may be on their way over that of the program.
        with connected("") as node:
            app.unlocks(node)

    # What is printed here is JSON, and so is an error of the command itself.
    app.terminal.json = True
    relay = Relay(connected, app.terminal.record, unlock=unlock)
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    try:
        reading = True
        while reading or relay.is_owed:
            node = relay.fileno()
            asks = [stdin] if reading and relay.takes_more else []
            heard = [] if node is None else [node]
            system.Ready(reads=[*asks, *heard], ends=[stdout]).wait()
            app.require_reader(stdout)
            if node is not None and system.Ready(reads=[node]).wait(0):
                relay.hear()
            elif asks and system.Ready(reads=asks).wait(0):
                data = read(stdin, _READ_BYTES)
                if data:
                    relay.feed(data)
                else:
                    reading = False
                    relay.end()
    finally:
        relay.close()
