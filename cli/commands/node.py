"""`peerpost node run|start|status|stop`."""

from __future__ import annotations

import os
import signal
import time

import click

from peerpost.errors import AlreadyRunningError, UnavailableError

from ..app import App, Group, pass_app
from ..process import become, wait_for_exit

__all__ = ["node"]

STOP_TIMEOUT_S = 30.0
"""A node that stops lets running requests end, closes its connections and writes its store."""


@click.group(
    cls=Group,
    examples="""
    peerpost node start
    peerpost node status
    peerpost node run --listen /ip4/0.0.0.0/tcp/4001
    peerpost node stop
    """,
)
def node() -> None:
    """Run the node: the one process that holds a home, listens and delivers.

    Any command starts it for as long as there is something to do. Start it yourself to be reachable
    at all times.
    """


@node.command(
    examples="""
    peerpost node run
    peerpost node run --listen /ip4/0.0.0.0/tcp/4001 --listen /ip6/::/tcp/4001
    peerpost node run --json | jq .addresses
    """
)
@click.option("--listen", multiple=True, metavar="MULTIADDR", help="Where to listen, this time.")
@pass_app
def run(app: App, listen: tuple[str, ...]) -> None:
    """Run the node in the foreground until it is stopped, as a service manager wants it."""
    _need_identity(app)
    become(
        "peerpost.node",
        "run",
        "--home",
        os.fspath(app.home),
        *(part for address in listen for part in ("--listen", address)),
        *(["--json"] if app.terminal.json else []),
        *app.node_args(),
    )


@node.command(examples="peerpost node start")
@click.option("--listen", multiple=True, metavar="MULTIADDR", help="Where to listen, this time.")
@pass_app
def start(app: App, listen: tuple[str, ...]) -> None:
    """Start the node in the background, where it stays until it is stopped."""
    from peerpost.node.client import dial
    from peerpost.node.paths import HomePaths
    from peerpost.node.spawn import start as spawn

    _need_identity(app)
    found = dial(app.home)
    if found is not None:
        with found:
            if listen:
                raise AlreadyRunningError(
                    "the node runs already", hint="stop it first: peerpost node stop"
                )
            found.call("node.stay")
        app.terminal.note("The node runs already.")
    else:
        listen_args = [part for address in listen for part in ("--listen", address)]
        spawn(
            HomePaths(app.home),
            dial=lambda: dial(app.home),
            idle_exit=False,
            extra=(*listen_args, *app.node_args()),
        ).close()
        app.has_acted = True
    app.terminal.record(app.call("node.status", spawn=False))


def _need_identity(app: App) -> None:
    from peerpost.node.paths import HomePaths

    paths = HomePaths(app.home)
    if not paths.keyfile.exists():
        raise paths.no_identity()


@node.command(examples="peerpost node status\npeerpost --json node status")
@pass_app
def status(app: App) -> None:
    """Show whether the node runs, where it listens and who is connected."""
    from peerpost.node.holder import holder_of

    row = app.call("node.status", spawn=False)
    holder = holder_of(app.home)
    if holder is not None:
        # Of one in another container: its number there is the number of somebody else here.
        row["pid"] = holder.pid
    app.terminal.record(row)


@node.command(examples="peerpost node stop")
@pass_app
def stop(app: App) -> None:
    """Stop the node and wait until it is gone. What is queued stays queued."""
    from peerpost.node.client import dial
    from peerpost.node.holder import holder_of

    found, holder = dial(app.home), holder_of(app.home)
    if found is None and holder is None:
        app.terminal.note("The node is not running.")
        return
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    # A process id of another container means another process here: there the socket alone can tell.
    pid = None if holder is None else holder.pid
    if found is not None:
        with found:
            found.call("node.stop")
            gone = pid is not None or found.wait_closed(STOP_TIMEOUT_S)
    elif holder is not None and holder.is_here:
        from peerpost.system import signal_process

        # Its socket is gone, but it is surely this process: nothing else of this machine has its mark.
        signal_process(holder.mark, signal.SIGTERM)
        gone = True
    else:
        raise UnavailableError(
            f"a node in another container or on another machine holds {app.home}",
            hint="stop it there; its control socket cannot be reached from here",
        )
    if not gone or (pid is not None and not wait_for_exit(pid, deadline_s)):
        raise UnavailableError(
            f"the node ({'elsewhere' if pid is None else f'process {pid}'}) is still stopping",
            hint="look at it where it runs" if pid is None else f"end it by force: kill -9 {pid}",
        )
    app.has_acted = True
    app.terminal.record({"state": "stopped", "pid": pid}, human="stopped")
