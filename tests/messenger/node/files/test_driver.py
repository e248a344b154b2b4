"""The driver of a transfer: both machines are real, and the disk, the session and the store are in memory."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, cast

import pytest

from peerpost.node.duties import Duties
from peerpost.node.files import driver as driver_module
from peerpost.node.files.driver import Driver
from peerpost.node.files.meter import Meter
from peerpost.protocol import transfer as commands
from peerpost.protocol.patience import ReceivePolicy
from peerpost.protocol.receiving import Receiving, State
from peerpost.protocol.sending import Sending, SendState
from peerpost.protocol.waiting import Trouble
from peerpost.store.tables import transfers as rows
from peerpost.wire import inner as wire
from tests.messenger.protocol.test_receiving import CHUNK, LOG2, POLICY, Content
from tests.support.virtual_time import on_virtual_time, running

WAIT_S = 10.0
"""How long a side waits after an error of its own."""
ASK_S = ReceivePolicy().ask_timeout_s


def row_of(content: Content, *, incoming: bool) -> rows.Transfer:
    row: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(rows.Transfer))
    known = {"file_id": content.file_id, "size": content.size, "chunk_log2": LOG2, "id": "T1"}
    return rows.Transfer(**row | known | {"incoming": incoming, "progress_bytes": 0})


class Side(Driver[Any, Any]):
    """What both sides in memory have: commands that fail, work that is held, and what was done when."""

    _what = "side"
    works_on: tuple[type, ...]
    """The commands whose outcome is an event that comes later."""

    def __init__(self, content: Content, machine: Any, *, incoming: bool) -> None:
        clock = running().clock
        super().__init__(
            row_of(content, incoming=incoming),
            machine,
            duties=Duties(clock=clock),
            clock=clock,
            meter=Meter(clock=clock),
        )
        self.content = content
        self.steps: list[str] = []
        self.fails: dict[type, Exception] = {}
        """What carrying out a command of a kind raises, once."""
        self.held: dict[type, asyncio.Event] = {}
        """What the work for a command of a kind waits for."""
        self.is_open = False
        self.ends = 0
        self.clears_up = True

    def begin(self, session: object) -> None:
        self.start(self._count_end)
        self.session_up(cast("Any", session))

    def _count_end(self) -> None:
        self.ends += 1

    @property
    def machine(self) -> Any:
        return self._machine

    def tell(self, event: Callable[..., object], *arguments: object) -> None:
        event(*arguments)
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    @property
    def moving(self) -> bool:
        return not self._machine.ended

    @property
    def progress_bytes(self) -> int | None:
        return None

    async def _carry_out(self, command: Any) -> None:
        self.steps.append(type(command).__name__)
        if isinstance(command, (commands.SendControl, commands.Failed)):
            self._may_fail(command)
        if isinstance(command, commands.SendControl):
            self._send(command)
        elif isinstance(command, commands.LetGo):
            self._let_go(command)
        elif isinstance(command, self.works_on):
            self._do(type(command).__name__, self._work_on(command))

    async def _work_on(self, command: Any) -> None:
        self._may_fail(command)
        if (held := self.held.get(type(command))) is not None:
            await held.wait()
        assert self.is_open or isinstance(command, commands.Prepare)
        self.perform(command)
        self._wake.set()

    def perform(self, command: Any) -> None:
        raise NotImplementedError

    def _may_fail(self, command: Any) -> None:
        if (error := self.fails.pop(type(command), None)) is not None:
            raise error

    def _trouble(self, error: BaseException) -> Trouble:
        return Trouble(cause=str(error), told="later", next_try_s=self._now_s() + WAIT_S)

    async def _note_trouble(self, cause: str) -> None:
        self.steps.append(f"noted: {cause}")

    async def _settle(self) -> None:
        if not self.clears_up:
            raise OSError("it cannot be removed")

    def _close_file(self) -> None:
        if self.is_open:
            assert not len(self._work)
            self.steps.append("closed")
        self.is_open = False


class Taking(Side):
    """Receives a file into memory."""

    works_on = (commands.Prepare, commands.Verify, commands.Finalize)

    def __init__(self, content: Content) -> None:
        machine = Receiving(
            file_id=content.file_id, chunk_log2=LOG2, size=content.size, policy=POLICY
        )
        super().__init__(content, machine, incoming=True)
        self.disk: dict[int, bytes] = {}

    def _begin_session(self) -> None:
        self._machine.session_up(self._now_s())

    def _failed(self, error: BaseException) -> None:
        self.tell(self._machine.broken, self._trouble(error))

    def hear(self, message: object) -> None:
        now_s, machine = self._now_s(), self._machine
        match message:
            case wire.Leaves():
                machine.on_leaves(message)
            case wire.Finish():
                machine.on_finish(message)
            case wire.Pause():
                machine.on_pause(message, now_s)
            case wire.Cancel():
                machine.on_cancel(message.reason)
            case commands.SendChunk():
                for segment in self.content.segments(message.index):
                    machine.on_segment(segment, now_s)
        self.wake()

    async def _carry_out(self, command: Any) -> None:
        await super()._carry_out(command)
        if isinstance(command, commands.TryAgain):
            self.tell(self._machine.try_again, self._now_s())

    def perform(self, command: Any) -> None:
        machine, now_s = self._machine, self._now_s()
        match command:
            case commands.Prepare():
                self.is_open = True
                have = sum(1 << index for index in self.disk).to_bytes(8, "little")
                machine.prepared(have, None, now_s)
            case commands.Verify():
                self.disk |= {chunk.index: bytes(chunk.sealed) for chunk in command.chunks}
                machine.verified([chunk.index for chunk in command.chunks], [], now_s)
            case commands.Finalize():
                machine.finalized()


class Giving(Side):
    """Sends a file from memory."""

    works_on = (commands.ReadChunks, commands.FindEnd)

    def __init__(self, content: Content) -> None:
        machine = Sending(file_id=content.file_id, chunk_log2=LOG2, size=content.size)
        super().__init__(content, machine, incoming=False)
        self.is_open = True

    def _begin_session(self) -> None:
        self._machine.session_up()

    def _failed(self, error: BaseException) -> None:
        self.tell(self._machine.source_waits, self._trouble(error))

    def hear(self, message: object) -> None:
        machine = self._machine
        match message:
            case wire.Accept():
                machine.on_accept()
            case wire.Pull():
                machine.on_pull(message, self._now_s())
            case wire.Pause():
                machine.on_pause(message)
            case wire.Complete():
                machine.on_complete()
        self.wake()

    async def _carry_out(self, command: Any) -> None:
        await super()._carry_out(command)
        if isinstance(command, commands.TryAgain):
            self.is_open = True
            self.tell(self._machine.try_again)
        elif isinstance(command, commands.SendChunk) and self._session is not None:
            cast("Link", self._session).carry(command)
            self.tell(self._machine.chunk_sent, command.index)

    def perform(self, command: Any) -> None:
        content, machine = self.content, self._machine
        match command:
            case commands.ReadChunks():
                run = slice(command.first, command.first + command.count)
                sealed = [memoryview(chunk) for chunk in content.sealed[run]]
                leaves = content.page(command.first, command.count).leaves
                machine.chunks_read(command.first, leaves, sealed)
            case commands.FindEnd():
                machine.finished(content.finish())


class Link:
    """A session: what one side says, the other one hears in a later turn of the loop. Without one, nobody does."""

    def __init__(self, other: Taking | Giving | None = None) -> None:
        self.other = other
        self.said: list[tuple[float, wire.Inner]] = []

    def send(self, _lane: wire.Lane, inner: bytes) -> None:
        message = wire.decode(inner)
        self.said.append((running().passed_s, message))
        self.carry(message)

    def carry(self, message: object) -> None:
        if self.other is not None:
            asyncio.get_running_loop().call_soon(self.other.hear, message)

    def all(self, kind: type) -> list[Any]:
        return [message for _, message in self.said if isinstance(message, kind)]

    def when(self, kind: type) -> list[float]:
        return [at_s for at_s, message in self.said if isinstance(message, kind)]


async def both(content: Content) -> tuple[Taking, Giving]:
    """Return both sides of a file, of which only that is begun which receives."""
    taking, giving = Taking(content), Giving(content)
    taking.begin(Link(giving))
    return taking, giving


async def over(*sides: Side) -> None:
    async with asyncio.timeout(600):
        for side in sides:
            await side.ended.wait()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(600):
        while not holds():  # noqa: ASYNC110 - what is looked at has no events
            await asyncio.sleep(0.01)


@on_virtual_time
async def test_a_file_goes_from_one_machine_to_the_other() -> None:
    content = Content(20 * CHUNK - 5)
    taking, giving = await both(content)
    giving.begin(Link(taking))
    await over(taking, giving)
    assert [taking.disk[index] for index in range(20)] == content.sealed
    assert (taking.machine.state, giving.machine.state) == (State.DONE, SendState.DELIVERED)
    assert (taking.ends, giving.ends) == (1, 1)
    assert (taking.steps[-1], giving.steps[-1]) == ("closed", "closed")
    assert running().passed_s < ASK_S


@on_virtual_time
async def test_its_timer_asks_again_and_later_each_time() -> None:
    taking, link = Taking(Content(CHUNK)), Link()
    taking.begin(link)
    await asyncio.sleep(7 * ASK_S + 1)
    first_s, *later_s = sorted(set(link.when(wire.Pull)))
    assert [round(at_s - first_s) for at_s in later_s] == [ASK_S, 3 * ASK_S, 7 * ASK_S]
    await taking.close()


@on_virtual_time
async def test_its_timer_is_postponed_by_what_comes() -> None:
    content = Content(4 * CHUNK)
    taking, link = Taking(content), Link()
    taking.begin(link)
    await asyncio.sleep(0.1)
    asked = len(link.all(wire.Pull))
    for segment in (*content.segments(0), *content.segments(1)):
        await asyncio.sleep(ASK_S - 1)
        taking.tell(taking.machine.on_segment, segment, running().time())
    ranges = [pull for pull in link.all(wire.Pull)[asked:] if pull.ranges]
    assert ranges == []
    await asyncio.sleep(4 * ASK_S)  # The sender is slow, so it is waited for longer than usual.
    assert [pull for pull in link.all(wire.Pull)[asked:] if pull.ranges]
    await taking.close()


@on_virtual_time
async def test_an_error_in_one_command_does_not_lose_the_others() -> None:
    giving = Giving(Content(CHUNK))
    giving.begin(Link())
    giving.fails[commands.SendControl] = RuntimeError("a mistake")
    giving.tell(giving.machine.source_failed, "it is gone")
    await over(giving)
    assert giving.steps == ["SendControl", "Failed", "closed"]


@on_virtual_time
async def test_after_an_error_the_file_is_let_go_and_opened_again() -> None:
    content = Content(20 * CHUNK - 5)
    taking, giving = await both(content)
    link = taking._session
    assert isinstance(link, Link)
    held = taking.held[commands.Verify] = asyncio.Event()
    giving.begin(Link(taking))
    await until(lambda: "Verify" in taking.steps)
    failed_s = running().passed_s
    taking._failed(OSError("the disk has gone"))
    await until(lambda: link.all(wire.Pause))
    assert (taking.machine.state, taking.is_open) == (State.PREPARING, True)
    held.set()
    await until(lambda: not taking.is_open)
    await over(taking, giving)
    at = taking.steps.index("LetGo")
    end = taking.steps.index("Prepare", at) + 1
    assert taking.steps[at:end] == [
        "LetGo", "closed", "noted: the disk has gone", "TryAgain", "Prepare",
    ]  # fmt: skip
    assert running().passed_s - failed_s == pytest.approx(WAIT_S, abs=0.1)
    assert [taking.disk[index] for index in range(20)] == content.sealed
    assert taking.ends == 1


@pytest.mark.parametrize("where", ["open", "check", "finish", "take"])
def test_an_error_anywhere_is_waited_for_and_said(where: str) -> None:
    @on_virtual_time
    async def work() -> None:
        content = Content(20 * CHUNK - 5)
        taking, giving = Taking(content), Giving(content)
        link = Link(giving)
        if where == "take":
            take = taking.machine.take

            def fails_once(now_s: float) -> object:
                taking.machine.take = take
                raise RuntimeError("a mistake")

            taking.machine.take = fails_once
        else:
            kind = {
                "open": commands.Prepare,
                "check": commands.Verify,
                "finish": commands.Finalize,
            }[where]
            taking.fails[kind] = RuntimeError("a mistake")
        taking.begin(link)
        giving.begin(Link(taking))
        await over(taking, giving)
        assert [pause.reason for pause in link.all(wire.Pause)] == ["later"]
        assert WAIT_S <= running().passed_s < WAIT_S + ASK_S
        assert [taking.disk[index] for index in range(20)] == content.sealed
        assert (taking.ends, giving.ends) == (1, 1)

    work()


@pytest.mark.parametrize("hurries", [False, True])
def test_a_source_is_tried_again_in_time_or_at_once(hurries: bool) -> None:
    @on_virtual_time
    async def work() -> None:
        taking, giving = await both(Content(20 * CHUNK - 5))
        link = Link(taking)
        giving.fails[commands.ReadChunks] = OSError("the source does not answer")
        giving.begin(link)
        await until(lambda: giving.machine.trouble)
        began_s = running().passed_s
        if hurries:
            giving.tell(giving.machine.hurry)
        await over(taking, giving)
        assert running().passed_s - began_s == pytest.approx(0 if hurries else WAIT_S, abs=0.1)
        assert [pause.reason for pause in link.all(wire.Pause)] == ["later", ""]
        assert giving.steps.index("closed") < giving.steps.index("TryAgain")
        assert len(taking.disk) == 20

    work()


@on_virtual_time
async def test_who_closes_it_waits_for_what_uses_the_file_and_ends_nothing() -> None:
    taking, giving = await both(Content(20 * CHUNK - 5))
    held = taking.held[commands.Verify] = asyncio.Event()
    giving.begin(Link(taking))
    await until(lambda: "Verify" in taking.steps)
    closing = asyncio.ensure_future(taking.close())
    await asyncio.sleep(1)
    assert (closing.done(), taking.is_open) == (False, True)
    held.set()
    await closing
    assert (taking.is_open, taking.ended.is_set(), taking.ends) == (False, True, 0)
    assert not taking.machine.ended
    await giving.close()


@on_virtual_time
async def test_a_session_is_told_once_and_after_it_the_next() -> None:
    taking = Taking(Content(CHUNK))
    first, second = Link(), Link()
    taking.begin(first)
    await asyncio.sleep(1)
    asked = len(first.said)
    taking.session_up(cast("Any", first))
    await asyncio.sleep(1)
    assert len(first.said) == asked > 0
    taking.session_down()
    await asyncio.sleep(60)
    assert len(first.said) == asked
    taking.session_up(cast("Any", second))
    await asyncio.sleep(1)
    assert (len(first.said), len(second.said)) == (asked, asked)
    await taking.close()


@on_virtual_time
async def test_what_cannot_be_cleared_up_ends_all_the_same() -> None:
    taking, giving = await both(Content(CHUNK))
    taking.clears_up = False
    giving.begin(Link(taking))
    await over(taking, giving)
    assert (taking.ends, taking.is_open) == (1, False)


@on_virtual_time
async def test_how_it_ended_is_recorded_as_soon_as_that_succeeds() -> None:
    taking, tries = Taking(Content(CHUNK)), list[float]()

    async def record() -> None:
        tries.append(running().passed_s)
        if len(tries) < 8:
            raise OSError("the disk is full")

    assert await taking._recorded(record)
    first_s, longest_s = driver_module.RETRY_S
    waits = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert waits == pytest.approx([min(first_s * 2**n, longest_s) for n in range(7)])


@on_virtual_time
async def test_it_is_tried_once_if_nobody_waits_for_it() -> None:
    taking, tries = Taking(Content(CHUNK)), list[float]()

    async def record() -> None:
        tries.append(running().passed_s)
        raise OSError("the disk is full")

    recording = asyncio.ensure_future(taking._recorded(record))
    await asyncio.sleep(0.5)
    taking._given_up.set()
    assert not await recording
    assert len(tries) == 2
    assert running().passed_s < 1
