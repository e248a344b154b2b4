"""`peerpost node run|start|status|reload|sync|stop`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from peerpost.client import keyring
from peerpost.errors import (
    AlreadyRunningError,
    PeerpostError,
    TimedOutError,
    UnavailableError,
    WrongPassphraseError,
)
from peerpost.stopping import Stopped
from peerpost.system.processes import ProcessMark, ask_to_end, wait_for_exit

from ..app import App, Group, pass_app
from ..inputs import Duration
from ..passphrases import NO_ARGUMENTS, with_sources
from ..process import become
from ..reloaded import in_words
from ..unlocking import handed_over, unlock

if TYPE_CHECKING:
    from peerpost.client.connection import NodeConnection
    from peerpost.client.secrets import Secrets

__all__ = ["node"]

_SYNC_COLUMNS = (
    ("NAME", "name"),
    ("REACHED", "reached"),
    ("DELIVERED", "delivered"),
    ("RECEIVED", "received"),
    ("QUEUED", "queued"),
    ("ERROR", "error"),
)

STOP_TIMEOUT_S = 30.0
"""A node that stops lets running requests end, closes its connections and writes its store."""
ANSWER_TIMEOUT_S = 5.0
"""A node that does not answer for this long is told to stop by a signal."""


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
    """Run and stop the node, which listens and delivers.

    It is the one process that holds a home.

    Any command starts it for as long as there is something to do. Start it yourself to be reachable
    at all times.
    """


@node.command(
    context_settings=NO_ARGUMENTS,
    examples="""
    peerpost node run
    peerpost node run --listen /ip4/0.0.0.0/tcp/4001 --listen /ip6/::/tcp/4001
    peerpost node run --json | jq .addresses
    peerpost node run --passphrase-file %d/passphrase
    """,
)
@click.option("--listen", multiple=True, metavar="MULTIADDR", help="Where to listen, this time.")
@with_sources
@pass_app
def run(app: App, listen: tuple[str, ...], secrets: Secrets) -> None:
    """Run the node in the foreground, as systemd wants it.

    A home with a passphrase is unlocked if one is given, and stays locked otherwise.
    """
    _need_identity(app)
    passphrase = handed_over(app, secrets)
    become(
        "peerpost.node",
        "run",
        "--home",
        os.fspath(app.home),
        *(part for address in listen for part in ("--listen", address)),
        *([] if passphrase is None else ["--passphrase-fd", str(passphrase)]),
        *(["--json"] if app.terminal.json else []),
        *app.node_args(),
    )


@node.command(
    context_settings=NO_ARGUMENTS,
    examples="""
    peerpost node start
    peerpost node start --passphrase-file ~/.config/peerpost/passphrase
    """,
)
@click.option("--listen", multiple=True, metavar="MULTIADDR", help="Where to listen, this time.")
@with_sources
@pass_app
def start(app: App, listen: tuple[str, ...], secrets: Secrets) -> None:
    """Start the node in the background, to stay.

    A home with a passphrase is unlocked if one is given, and stays locked otherwise.
    """
    from peerpost.client.paths import HomePaths
    from peerpost.client.spawn import start as spawn

    _need_identity(app)
    extra = (*(part for address in listen for part in ("--listen", address)), *app.node_args())
    runs = _stays_now(app, asked=bool(listen), as_it_is=not extra)
    if not runs:
        try:
            spawn(
                HomePaths(app.home),
                dial=lambda: _dialled(app),
                idle_exit=False,
                takes_over=True,
                extra=extra,
            ).close()
        except AlreadyRunningError:
            # Another command has started a node at the same time, which is what the user wanted.
            if listen:
                raise
            runs = True
    if runs:
        app.terminal.note("The node runs already.")
    else:
        app.has_acted = True
    if keyring.is_protected(app.home):
        with _left_locked():
            was_open = _unlock(app, secrets)
        if was_open and (given := secrets.find()) is not None:
            # A passphrase that does not open it would be noticed only at the next start.
            app.call("identity.unlock", {"passphrase": given.decode()}, spawn=False)
    app.terminal.record(app.call("node.ready", spawn=False))


@contextmanager
def _left_locked() -> Iterator[None]:
    """Say what is left if unlocking fails or is interrupted: the node runs by then, and stays."""
    to_unlock = "to unlock it: peerpost identity unlock"
    try:
        yield
    except Stopped as stopped:
        # An unlock that was not answered may have been done.
        what = "its status: peerpost node status" if stopped.in_doubt else "the home is locked"
        stopped.told[:] = [(f"The node runs; {what}; {to_unlock}", None)]
        raise
    except PeerpostError as error:
        # That nothing was changed is true of the keyfile alone.
        is_wrong = isinstance(error, WrongPassphraseError)
        left = f"the node runs, and the home is locked; {to_unlock}"
        error.hint = left if is_wrong or error.hint is None else f"{error.hint} ({left})"
        raise


def _unlock(app: App, secrets: Secrets) -> bool:
    """Unlock the home if there is a passphrase to be had. Return whether it was open before."""
    from peerpost.client.ask import connect

    with connect(app.home, spawn=False, on_wait=app.waits) as found:
        if found.call("node.status")["state"] != "locked":
            return True
        if unlock(app, found, secrets) is None:
            app.terminal.warn("The home is locked. To unlock it: peerpost identity unlock")
        return False


def _stays_now(app: App, *, asked: bool, as_it_is: bool) -> bool:
    """Return whether a node runs that stays. One that a command has started is told to, if `as_it_is` is enough.

    Its work is not interrupted then. Raises AlreadyRunningError if a node stays and more is `asked` of it.
    """
    from peerpost.client.connection import dial

    found = dial(app.home, on_wait=app.waits)
    if found is None:
        return False
    with found:
        try:
            stays: bool = found.call("node.status").get("stays", True)
            if stays and asked:
                raise AlreadyRunningError(
                    f"the node runs already (process {found.pid})",
                    hint="stop it first: peerpost node stop",
                )
            if not stays and as_it_is:
                found.call("node.stay")
                return True
        except UnavailableError:
            # It is leaving.
            return False
    return stays


def _dialled(app: App) -> NodeConnection | None:
    """Connect to the node, or return None. One that takes no connections cannot be the node that was just started."""
    from peerpost.client.backlog import SilentError
    from peerpost.client.connection import dial

    try:
        return dial(app.home, patience_s=0.0)
    except SilentError:
        return None


def _need_identity(app: App) -> None:
    from peerpost.client.paths import HomePaths

    paths = HomePaths(app.home)
    if not paths.has_identity:
        raise paths.no_identity()


@node.command(examples="peerpost node status\npeerpost --json node status")
@pass_app
def status(app: App) -> None:
    """Show whether it runs, where, and who is connected."""
    from peerpost.client.holder import holder_of

    row = app.call("node.status", spawn=False)
    holder = holder_of(app.home)
    if holder is not None:
        # The node is in another container: its process id there means another process here.
        row["pid"] = holder.pid
    app.terminal.record(row)


@node.command(examples="peerpost node reload\npeerpost config check && peerpost node reload")
@pass_app
def reload(app: App) -> None:
    """Make the running node read config.toml anew.

    A file that is wrong changes nothing. What the node cannot change while it runs waits for a new start.
    """
    found = app.call("node.reload", spawn=False)
    app.terminal.record(found, human=in_words(found))


@node.command(
    examples="""
    peerpost node sync
    peerpost node sync --timeout 2min
    (crontab -l; echo '*/15 * * * * peerpost node sync --timeout 10min > /dev/null') | crontab -
    """
)
@click.option("--timeout", type=Duration(), metavar="DURATION", help="Exit 75 after this long.")
@pass_app
def sync(app: App, timeout: float | None) -> None:
    """Deliver and fetch what can be now, then leave.

    Every contact is called. It ends once nothing more can be done; who cannot be reached is not waited for. A node
    that this command has started leaves then.
    """
    app.call("node.ready")
    rows: dict[str, dict[str, Any]] = {}

    def note(event: dict[str, Any]) -> None:
        rows[event["row"]["id"]] = event["row"]

    params: dict[str, Any] = {"leaves": app.has_started_node}
    if timeout is not None:
        params["timeout_s"] = timeout
    mark = _mark(app)
    found = app.call("node.sync", params, on_event=note)
    if found["leaving"] and mark is not None:
        wait_for_exit(mark, time.monotonic() + STOP_TIMEOUT_S)
    app.terminal.records(list(rows.values()), _SYNC_COLUMNS, empty="You have no contacts yet.")
    if found["timed_out"]:
        raise TimedOutError(
            "not everything could be done in time", hint="what is queued stays queued; run it again"
        )


def _mark(app: App) -> ProcessMark | None:
    """Return what tells the process of the node, if it runs on this machine."""
    from peerpost.client.holder import holder_of

    holder = holder_of(app.home)
    return holder.mark if holder is not None and holder.is_here else None


@node.command(examples="peerpost node stop")
@pass_app
def stop(app: App) -> None:
    """Stop the node and wait until it is gone. What is queued stays queued."""
    from peerpost.client.backlog import SilentError
    from peerpost.client.connection import dial
    from peerpost.client.holder import holder_of

    holder = holder_of(app.home)
    try:
        found = dial(app.home, on_wait=app.waits, patience_s=ANSWER_TIMEOUT_S)
    except SilentError:
        if holder is None or not holder.is_here:
            raise
        found = None
    if found is None and holder is None:
        app.terminal.note("The node is not running.")
        if app.terminal.json:
            app.terminal.record({"state": "stopped", "pid": None})
        return
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    # The process id of another container means another process here, so only the socket can tell.
    mark = holder.mark if holder is not None and holder.is_here else None
    if found is not None:
        gone = _ask_to_stop(found, mark) or mark is not None
    elif mark is not None:
        # Its socket is gone or full, but it is surely this process: nothing else of this machine has its mark.
        ask_to_end(mark)
        gone = True
    else:
        raise UnavailableError(
            f"a node in another container or on another machine holds {app.home}",
            hint="stop it there; its control socket cannot be reached from here",
        )
    if not gone or (mark is not None and not wait_for_exit(mark, deadline_s)):
        raise UnavailableError(
            f"the node ({'elsewhere' if mark is None else f'process {mark.pid}'}) is still stopping",
            hint=_by_force(mark),
        )
    pid = None if mark is None else mark.pid
    app.has_acted = True
    app.terminal.record({"state": "stopped", "pid": pid}, human="stopped")


def _ask_to_stop(found: NodeConnection, mark: ProcessMark | None) -> bool:
    """Make a node stop, by a signal if it does not answer. Return whether its socket shows that it is gone."""
    with found:
        if mark is not None:
            found.give_up_after(ANSWER_TIMEOUT_S)
        try:
            found.call("node.stop")
        except UnavailableError:
            # It is leaving, or does not answer. Even a node whose loop is blocked reacts to a signal.
            if mark is None:
                return found.wait_closed(STOP_TIMEOUT_S)
            ask_to_end(mark)
        return mark is None and found.wait_closed(STOP_TIMEOUT_S)


def _by_force(mark: ProcessMark | None) -> str:
    """Return a hint how to end the node. It names no process id that may mean another process or cannot be killed."""
    if mark is None or not mark.runs:
        return "look at it where it runs"
    if mark.pid == 1:
        # The first process of a container gets no signals from inside for which it has no handler.
        return "it is the first process of its container: stop the container"
    return f"end it by force: kill -9 {mark.pid}"
