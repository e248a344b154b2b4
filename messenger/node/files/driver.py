"""One side of a file transfer, driven: events go into its machine, commands come out, and it has one timer.

    an event      -> a method of the machine, then `wake`
    `wake`        -> the loop takes the machine's commands and has each carried out
    a command     -> is sent at once, or begins work whose outcome is another event
    an error      -> is an event too: the machine holds the file up, and says when to try again

The machine decides everything, and is the only one that keeps a state or a reason. What carries the commands out is
`download` or `upload`.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from peerpost.node.tasks import EndsOwner, Tasks
from peerpost.protocol import transfer as commands
from peerpost.store.tables import transfers as rows
from peerpost.wire import inner as wire

from .alarm import Alarm
from .meter import Meter

if TYPE_CHECKING:
    from peerpost.node.clock import Clock
    from peerpost.node.duties import Duties
    from peerpost.node.session.session import Session

__all__ = ["RETRY_S", "Driver", "Machine"]

log = logging.getLogger(__name__)

RETRY_S = (1.0, 30.0)
"""The first and the longest wait before something that could not be recorded is tried again."""

C_co = TypeVar("C_co", covariant=True)
C = TypeVar("C")
M = TypeVar("M", bound="Machine[Any]")
T = TypeVar("T")


class Machine(Protocol[C_co]):
    """What a driver asks of `Sending` and `Receiving`."""

    @property
    def ended(self) -> bool:
        """Whether the transfer is over."""

    @property
    def finish(self) -> wire.Finish | None:
        """Size, count and root of the file, if they are known."""

    @property
    def peer_pause(self) -> str | None:
        """Why the peer has paused, while it has."""

    @property
    def next_timer_s(self) -> float | None:
        """When to call `take` even if nothing happens."""

    def take(self, now_s: float) -> Sequence[C_co]:
        """Return the commands to carry out now."""

    def session_down(self) -> None:
        """Note that the session is over."""

    def let_go(self) -> None:
        """Note that the file is closed."""


class Driver(ABC, Generic[M, C]):
    """Drives one machine to its end (peerpost.protocol.transfer says how)."""

    _what: ClassVar[str]
    """The name of what it does, for the list of duties."""

    def __init__(
        self, row: rows.Transfer, machine: M, *, duties: Duties, clock: Clock, meter: Meter
    ) -> None:
        """Prepare to drive the transfer `row`."""
        self._row = row
        self._machine = machine
        self._duties = duties
        self._now_s = clock.monotonic_s
        self._meter = meter
        self._session: Session | None = None
        self._wake = asyncio.Event()
        self._alarm = Alarm(lambda: machine.next_timer_s, self._wake.set, clock)
        self._tasks, self._work = Tasks(), Tasks()
        """Work that uses the file in a thread is among the work: the file stays open until it has ended."""
        self._fails = EndsOwner(self._failed)
        self._on_end: Callable[[], object] = lambda: None
        self._given_up = asyncio.Event()
        """Set once nobody waits any more for what could not be recorded."""
        self.ended = asyncio.Event()

    # -- what is known

    @property
    def row(self) -> rows.Transfer:
        """The row of the file, as it was when this began and with the changes made here."""
        return self._row

    @property
    @abstractmethod
    def moving(self) -> bool:
        """Whether the file is moving now."""

    @property
    @abstractmethod
    def progress_bytes(self) -> int | None:
        """How much of the file the receiver has, if that is known."""

    @property
    def size(self) -> int | None:
        """Bytes of the file, if its end is known."""
        finish = self._machine.finish or self._row.finish
        return self._row.size if finish is None else finish.size

    @property
    def rate_bytes_s(self) -> float:
        """How fast the progress grows."""
        return self._meter.rate(self.progress_bytes or 0)

    @property
    def peer_pause(self) -> str | None:
        """Why the peer has paused, while it has."""
        return self._machine.peer_pause

    # -- its life

    def start(self, on_end: Callable[[], object]) -> None:
        """Begin; `on_end` is called when the transfer has ended."""
        self._on_end = on_end
        self._keep(self._what, self._run)

    async def close(self) -> None:
        """Stop, and keep what is there: another driver goes on from it."""
        await self._tasks.stop()
        self._alarm.cancel()
        await self._release()
        self.ended.set()

    async def _run(self) -> None:
        while True:
            await self._obey()
            if self._over:
                break
            self._alarm.look()
            await self._wake.wait()
            self._wake.clear()
        self._alarm.cancel()
        try:
            await self._settle()
        except Exception as error:  # noqa: BLE001 - how it ended is recorded by now
            log.warning("%s: not cleared up: %r", self._row.id, error)
        await self._tasks.stop()
        await self._release()
        self._on_end()
        self.ended.set()

    async def _obey(self) -> None:
        """Carry out what the machine wants now."""
        try:
            taken = self._machine.take(self._now_s())
        except Exception as error:
            log.exception("%s cannot go on", self._row.id)
            self._failed(error)  # A mistake of the machine holds up its file, and no other.
            return
        for command in taken:
            try:
                await self._carry_out(command)
            except Exception as error:
                log.exception("%s cannot go on", self._row.id)
                self._failed(
                    error
                )  # The rest is carried out: it may be the end, which must be recorded.

    @property
    def _over(self) -> bool:
        """Whether nothing more is to be driven."""
        return self._machine.ended

    @abstractmethod
    async def _carry_out(self, command: C) -> None:
        """Do what the machine wants."""

    @abstractmethod
    def _failed(self, error: BaseException) -> None:
        """Tell the machine of an error of ours that nobody has handled."""

    @abstractmethod
    async def _settle(self) -> None:
        """Clear up after the end."""

    @abstractmethod
    def _close_file(self) -> None:
        """Close the file; nothing uses it any more. Closing twice is harmless."""

    # -- events

    def session_up(self, session: Session) -> None:
        """Go on in this session."""
        if self._session is not session:
            self._session = session
            self._begin_session()
            self._wake.set()

    @abstractmethod
    def _begin_session(self) -> None:
        """Tell the machine of a session."""

    def session_down(self) -> None:
        """Wait for the next session."""
        self._session = None
        self._meter.reset()
        self._machine.session_down()
        self._wake.set()

    # -- for those who carry out

    def _send(self, command: commands.SendControl) -> None:
        """Send a message, if there is a session."""
        if self._session is not None:
            self._session.send(command.lane, wire.encode(command.message))

    def _keep(self, what: str, duty: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Begin something that is begun again if it fails."""
        return self._tasks.keep(f"{what}-{self._row.id}", duty, self._duties)

    def _do(self, what: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin work that uses the file, and is never cut short."""
        return self._work.spawn(work, name=f"{what}-{self._row.id}", on_failure=self._fails)

    async def _release(self) -> None:
        """Close the file as soon as nothing uses it any more."""
        await self._work.join()
        self._close_file()

    def _let_go(self, command: commands.LetGo) -> None:
        """Close the file: what was read or written may be wrong, and descriptors may be what is lacking."""

        async def let_go() -> None:
            await self._release()
            await self._note_trouble(command.cause)
            self._machine.let_go()
            self._wake.set()

        self._keep("let-go", let_go)

    async def _note_trouble(self, cause: str) -> None:
        """Record why the file was let go."""

    async def _recorded(self, record: Callable[[], Awaitable[object]]) -> bool:
        """Record how it ended, as soon as the disk allows: nobody will tell us again. False once it is given up."""
        wait_s, longest_s = RETRY_S
        while True:
            try:
                await record()
                return True
            except Exception as error:  # noqa: BLE001 - whatever it was, the end must be recorded
                log.warning("%s: not recorded: %s", self._row.id, error)
            if self._given_up.is_set():
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._given_up.wait()
            wait_s = min(2 * wait_s, longest_s)
