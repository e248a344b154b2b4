"""A command's end of the control socket: blocking, standard library only, quick to import.

`call` is all that most commands need. It finds the node of a home, starts one where none runs,
asks, and raises what the node raised. A request that no node has read is sent again. One that was
read and not answered is sent again only if it changes nothing, so that nothing is done twice.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from peerpost.errors import LockedError, UnavailableError

from .connection import NodeConnection, OnEvent, OnWait, UnansweredError, UnreadError, dial
from .looking import may_be_repeated
from .paths import HomePaths

__all__ = ["ANSWERED_LOCKED", "STARTS_WITHOUT_IDENTITY", "call", "connect"]

_TRIES = 4
"""How often a request is sent again because the node left before it read the request. Each time, that
is a node that was idle."""
_PAUSE_S = 0.05
"""The pause before such a try: a node that is leaving needs a moment to remove its socket."""

ANSWERED_LOCKED = frozenset(
    {
        *(
            "identity.new",
            "identity.unlock",
            "identity.lock",
            "identity.delete",
            "identity.keyring",
        ),
        *("identity.passphrase.check", "identity.passphrase.set"),
        *("identity.passphrase.change", "identity.passphrase.remove"),
        *(
            "backup.restore",
            "node.status",
            "node.ready",
            "node.stay",
            "node.hand_over",
            "node.stop",
        ),
        *("node.reload", "log.set", "log.show", "doctor", "config.show", "rpc.discover"),
    }
)
"""Methods that a locked home answers too: one that is refused was given a wrong passphrase, and no unlocking helps."""
STARTS_WITHOUT_IDENTITY = frozenset(
    {"identity.new", "identity.delete", "backup.restore", "doctor", "rpc.discover"}
)
"""Methods that make sense in a home that has no identity yet, or whose deletion was cut off."""


def connect(
    home: str | os.PathLike[str],
    *,
    spawn: bool = True,
    identity: bool = True,
    node_args: Sequence[str] = (),
    on_wait: OnWait | None = None,
    patience_s: float | None = None,
    on_start: Callable[[], None] | None = None,
) -> NodeConnection:
    """Connect to the node of a home, and start one if none runs and `spawn` allows it.

    With `identity`, a home that has none raises NoIdentityError and starts nothing. `node_args` go
    to a node that is started here, and then `on_start` is called; `on_wait` and `patience_s` are those
    of `dial`. Raises UnavailableError when no node runs and none may be started, and what keeps the node from starting.
    """
    paths = HomePaths(home)
    node = dial(paths.home, on_wait=on_wait, patience_s=patience_s)
    if node is not None:
        return node
    if identity and not paths.has_identity:
        raise paths.no_identity()
    if not spawn:
        raise _not_there(paths)
    from .spawn import start

    dials = functools.partial(dial, paths.home, on_wait=on_wait, patience_s=patience_s)
    node = start(paths, dial=dials, extra=tuple(node_args))
    if on_start is not None:
        on_start()
    return node


def _not_there(paths: HomePaths) -> UnavailableError:
    # Imported only if something is wrong, because every command pays for an import.
    from .holder import holder_of

    holder = holder_of(paths.home)
    if holder is None:
        return UnavailableError("the node is not running", hint="start it: peerpost node start")
    if holder.pid is None:
        return UnavailableError(
            f"a node in another container or on another machine holds {paths.home}",
            hint="ask it there; its control socket cannot be reached from here",
        )
    return UnavailableError(
        f"the node (process {holder.pid}) runs, but does not answer at its control socket",
        hint="try again: it makes a deleted socket anew; or end it: peerpost node stop",
    )


def call(
    home: str | os.PathLike[str],
    method: str,
    params: dict[str, Any] | None = None,
    *,
    fds: Sequence[int] = (),
    spawn: bool = True,
    node_args: Sequence[str] = (),
    on_event: OnEvent | None = None,
    on_wait: OnWait | None = None,
    on_start: Callable[[], None] | None = None,
    on_locked: Callable[[NodeConnection], bool] | None = None,
) -> Any:
    """Ask the node of a home, start it if needed, and return the result.

    `on_wait` is called if it does not answer, `on_start` if one was started. `on_locked` is called
    if a request needs the home open and it is locked, and may unlock it over this connection; if it
    returns True, the request is made again. Raises what `connect` and `NodeConnection.call` raise.
    """
    identity = method not in STARTS_WITHOUT_IDENTITY
    for _ in range(_TRIES):
        try:
            connected = connect(
                home,
                spawn=spawn,
                identity=identity,
                node_args=node_args,
                on_wait=on_wait,
                on_start=on_start,
            )
            with connected as node:
                try:
                    return node.call(method, params, fds=fds, on_event=on_event)
                except LockedError:
                    # A locked home refuses a request before anything of it is done.
                    if method in ANSWERED_LOCKED or on_locked is None or not on_locked(node):
                        raise
                    return node.call(method, params, fds=fds, on_event=on_event)
        except UnreadError:
            time.sleep(_PAUSE_S)
        except UnansweredError:
            if not may_be_repeated(method, params):
                raise
    raise UnavailableError(
        "the node keeps leaving before it answers", hint="see node.log in the home folder"
    )
