"""The node: serves the control socket of a home, has the home open, and leaves when it should.

A home without an identity, or one that is locked, is served too, but only by those methods that need no open home
(`HOST_METHODS`): the command line is always a client, even for the first command.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from peerpost import __version__
from peerpost.client.config import Config
from peerpost.client.looking import ENDLESS
from peerpost.client.paths import HomePaths
from peerpost.client.rpc import Answer, MethodNotFoundError, Request
from peerpost.errors import (
    AlreadyRunningError,
    LockedError,
    PeerpostError,
    UnavailableError,
)
from peerpost.node.control.methods import HOST_METHODS, METHODS
from peerpost.node.control.server import DRAIN_S, ControlServer
from peerpost.node.files.transfers import Transfers
from peerpost.store import disk
from peerpost.store.db.rekey import OnProgress
from peerpost.store.files.backup import Manifest
from peerpost.store.homelock import HomeLock
from peerpost.system.processes import niceness

from . import surroundings
from .causes import cause_of
from .clock import SYSTEM, rfc3339
from .home import Home
from .logs import Reason
from .new_home import ChosenSecrets
from .opened import Opened
from .tasks import EndsNode, Tasks

__all__ = ["Node"]

log = logging.getLogger(__name__)

IDLE_CHECK_S = 1.0
USES = frozenset(
    {*METHODS, *(name for name in HOST_METHODS if name.startswith("identity."))} - ENDLESS
)
"""Methods that use the home: while one runs, and for some time afterwards, it does not lock itself."""
LOCK_DRAIN_S = 0.5
"""How long running requests may still take when the home is locked."""
HAND_OVER_DRAIN_S = 0.5
"""How long running requests may still take when another node takes over; it should have the home within two seconds."""


class Node:
    """The process that serves one home."""

    transfers_class: type[Transfers] = Transfers
    """The class that transfers files; the lying sender of the demonstration has its own."""

    def __init__(
        self,
        home: Path,
        config: Config,
        *,
        listen: list[str] | None = None,
        idle_exit_s: float | None = None,
        closed: bool = False,
        lock: HomeLock | None = None,
        stalls: Callable[[], dict[str, Any] | None] = lambda: None,
    ) -> None:
        """Prepare to serve a home. The caller holds its `lock` for as long as this runs.

        A home that stays `closed` can be deleted, also if it cannot be opened.
        `stalls` describes when the event loop was blocked.
        """
        self._stalls = stalls
        self.config = config
        self._clock = SYSTEM
        self._started_s = self._clock.monotonic_s()
        self._idle_exit_s = idle_exit_s
        self._closed = closed
        self._stopping = asyncio.Event()
        self._drain_s = DRAIN_S
        self._control = ControlServer(HomePaths(home).socket, self._handle)
        self._home = Home(
            home,
            config,
            clock=self._clock,
            control=self._control,
            lock=lock,
            listen=listen or (),
            transfers_class=self.transfers_class,
            on_lost=self._fail,
            end_requests=self._end_requests,
        )
        self._why_locked = "no passphrase was given when the node started"
        self._asked_s = self._clock.monotonic_s()
        """When something of the open home was last asked for."""
        self._busy_s = self._asked_s
        """When there was last something to do: short requests count too, which nobody sees who only looks at times."""
        self._tasks = Tasks()
        self._failure: BaseException | None = None

    # -- the home

    def opened(self) -> Opened:
        """Return the open home. Raises NoIdentityError while there is no identity, LockedError while it is locked."""
        return self._home.opened()

    @property
    def locked(self) -> bool:
        """Whether the home has an identity, and its key is not here."""
        return self._home.locked

    @property
    def protected(self) -> bool:
        """Whether the home has a passphrase."""
        return self._home.protected

    async def settled(self) -> None:
        """Wait, for a limited time, until it listens or has said why not. Without an identity, return at once."""
        await self._home.open_home.settled()

    async def create_identity(self, name: str, chosen: ChosenSecrets | None = None) -> None:
        """Make the identity of an empty home and go online: it listens, or has said why not. Raises ExistsError."""
        await self._home.create_identity(name, chosen)

    def restoring(
        self, source_fd: int, secret: bytes
    ) -> AsyncGenerator[tuple[int, int] | Manifest, None]:
        """Put an empty home back from a backup. Yield (bytes done, of how many), and at last what was put back."""
        return self._home.restoring(source_fd, secret)

    async def delete_identity(self) -> list[str]:
        """Make the keyfile unreadable, and delete what is in the home; return in words what stays.

        Raises NoIdentityError, StorageError.
        """
        return await self._home.delete_identity()

    async def unlock(self, secrets: Sequence[bytes]) -> None:
        """Open a locked home by one of these; of an open one they are only tried. Raises LockedError, StorageError."""
        await self._home.unlock(secrets)

    async def lock(self, why: str) -> None:
        """Close the home and forget its key; the node stays. Raises UsageError if it has no passphrase."""
        if not self._home.locked:
            self._why_locked = why
        await self._home.lock(why)

    async def check_secrets(self, secrets: Sequence[bytes]) -> None:
        """Return if one of these opens the home; nothing changes. Raises LockedError, UsageError."""
        await self._home.check_secrets(secrets)

    async def change_secrets(self, secrets: Sequence[bytes], chosen: ChosenSecrets) -> None:
        """Give it another passphrase, by one of the secrets that it has. Raises LockedError, UsageError."""
        await self._home.change_secrets(secrets, chosen)

    async def keep_in_keyring(self, secrets: Sequence[bytes], kept: bytes | None) -> None:
        """Let a secret of the keyring open it too, or none any more. Raises LockedError, UsageError."""
        await self._home.keep_in_keyring(secrets, kept)

    async def rekey(
        self, secrets: Sequence[bytes], chosen: ChosenSecrets, on_progress: OnProgress
    ) -> None:
        """Encrypt the store anew, for a first passphrase or, with nothing chosen, for none.

        Raises LockedError, UsageError, StorageError.
        """
        await self._home.rekey(secrets, chosen, on_progress)

    def lock_soon(self, why: str) -> None:
        """Begin to lock the home, if it has a passphrase and is open."""
        if self._home.open_now is None:
            return
        if not self.protected:
            log.warning("not locked (%s): the home has no passphrase", why)
            return
        self._tasks.spawn(self.lock(why), name="lock", on_failure=EndsNode(self._fail))

    async def _end_requests(self) -> None:
        """End what works with the open home: a command that waits or follows is told that it was locked."""
        await self._control.end_requests(ENDLESS, LockedError("the home was locked"), 0)
        error = UnavailableError(
            "the home was locked before this was answered",
            hint="what was queued stays queued; look whether it was done once it is unlocked:"
            " peerpost identity unlock",
        )
        await self._control.end_requests(METHODS, error, LOCK_DRAIN_S)

    # -- life

    async def run(self, on_ready: Callable[[], None], secret: bytes | None = None) -> None:
        """Serve until `stop_soon`; a home with a passphrase stays locked without the `secret`.

        Raises PeerpostError if the home cannot be opened, or a failure ends the node.
        """
        try:
            await self._home.open(secret, closed=self._closed)
            with disk.errors("cannot make the control socket"):
                await self._control.start()
            await self._home.open_home.go_online()
            on_ready()
            self._keep("watch-idle", self._watch_idle)
            if self.config.security.lock_after != "off":
                self._keep("lock-when-idle", self._lock_when_idle)
            await self._stopping.wait()
        except UnavailableError:
            # Told to leave before it had opened the home.
            if not self._stopping.is_set():
                raise
        finally:
            await self._close()
        if isinstance(self._failure, PeerpostError):
            raise self._failure
        if self._failure is not None:
            raise PeerpostError(
                f"the node had to end: {cause_of(self._failure)}"
            ) from self._failure

    def _fail(self, error: BaseException) -> None:
        """End the node because of a failure that leaves it nothing useful to do."""
        self._failure = self._failure or error
        self.stop_soon(cause_of(error))

    def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.keep(name, work, self._home.open_home.duties)

    @property
    def stays(self) -> bool:
        """Whether it was started to stay, or told to since. If not, a command started it, and it leaves when idle."""
        return self._idle_exit_s is None

    def stay(self) -> None:
        """Stay from now on. Raises UnavailableError if it is leaving already."""
        if self._stopping.is_set():
            raise UnavailableError("the node is leaving", hint="try again")
        self._idle_exit_s = None

    def hand_over(self) -> None:
        """Begin to leave for another node of this home. Raises AlreadyRunningError if this one is to stay."""
        if self.stays:
            raise AlreadyRunningError(
                f"the node runs already (process {os.getpid()})",
                hint="stop it first: peerpost node stop",
            )
        self._drain_s = HAND_OVER_DRAIN_S
        # Whoever unlocks the home just now is not answered, and asks the other node.
        self._leave(Reason("another node takes over"))

    def stop_soon(self, reason: str) -> None:
        """Begin to leave. What derives a key is told so at once: that may take longer than anybody waits."""
        self._leave(reason)
        self._home.give_up()

    def _leave(self, reason: str) -> None:
        if not self._stopping.is_set():
            log.info("stopping: %s", reason)
            self._stopping.set()

    async def _close(self) -> None:
        # Before the socket is closed: a stream that is broken off now must not become a file, and there is still a
        # session to tell the contact.
        await self._home.open_home.end_streams()
        await self._control.end_requests(ENDLESS, UnavailableError("the node is stopping"), 0)
        await self._control.stop(self._drain_s)
        await self._tasks.stop()
        await self._home.close()

    # -- idle

    async def _watch_idle(self) -> None:
        while True:
            await asyncio.sleep(IDLE_CHECK_S)
            limit_s = self._idle_exit_s
            if limit_s is None or self._control.requests or await self._home.has_work():
                self._busy_s = self._clock.monotonic_s()
            elif self._clock.monotonic_s() - self._busy_s >= limit_s:
                self.stop_soon(Reason("idle, and nothing is queued"))

    async def _lock_when_idle(self) -> None:
        after_s = float(self.config.security.lock_after)
        while True:
            await asyncio.sleep(min(IDLE_CHECK_S, after_s))
            if self._control.runs(USES):
                self._asked_s = self._clock.monotonic_s()
            elif self._clock.monotonic_s() - self._asked_s >= after_s and self.protected:
                self.lock_soon(Reason("nothing was asked for during lock_after"))

    # -- control socket

    def _handle(self, request: Request) -> Awaitable[Answer]:
        if request.method in USES:
            self._asked_s = self._busy_s = self._clock.monotonic_s()
        if (of_host := HOST_METHODS.get(request.method)) is not None:
            return of_host(self, request)
        if (of_home := METHODS.get(request.method)) is not None:
            return of_home(self._home.opened(), request)
        raise MethodNotFoundError(f"no method {request.method!r}")

    def ready_event(self) -> dict[str, Any]:
        """Describe the node as its ready line does."""
        status = self.status()
        return {
            "event": "ready",
            "state": status["state"],
            "peer_id": status["peer_id"],
            "addresses": status["addresses"],
            "control": str(self._control.path),
            "metrics": None,
        }

    def status(self) -> dict[str, Any]:
        """Describe the node for `node status`."""
        home, open_home = self._home, self._home.open_home
        opened = home.open_now
        peers = tuple(opened.network.peers.values()) if opened else ()
        unreachable = opened.network.unreachable if opened else None
        listen_errors = "; ".join(open_home.listen_errors.values())
        return {
            "state": _state(home),
            "protected": home.protected,
            "pid": os.getpid(),
            "stays": self.stays,
            "version": __version__,
            "home": str(home.path),
            "uptime_s": round(self._clock.monotonic_s() - self._started_s, 1),
            "peer_id": opened.me.peer_id if opened else None,
            "addresses": list(opened.network.reach.bound) if opened else [],
            "online": sum(peer.online for peer in peers),
            "contacts": len(peers),
            "error": self._locked_error()
            or open_home.network_error
            or unreachable
            or listen_errors
            or None,
            "not_listening": dict(open_home.listen_errors),
            "copies": [
                {"contact": peer.contact.name, "side": side, "noticed": rfc3339(at_ms)}
                for peer in peers
                for side, at_ms in peer.copied.items()
                if not peer.is_quiet_since(at_ms)
            ],
            "older_keyfile": open_home.older_keyfile,
            "unwell": dict(open_home.unwell),
            "failing": open_home.duties.failing(),
            "stalls": self._stalls(),
            "niceness": niceness(),
            "held_back": surroundings.held_back(),
        }

    def _locked_error(self) -> str | None:
        if not self._home.locked or self._home.locking:
            return None
        return f"locked ({self._why_locked}); to unlock it: peerpost identity unlock"


def _state(home: Home) -> str:
    if home.encrypting:
        return "encrypting"
    if home.locking:
        return "locking"
    if home.locked:
        return "locked"
    return "no identity" if home.open_now is None else "running"
