"""`send-net`: queue a text or a file for a contact, and wait for its receipt if asked to."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from peerpost.client.rpc import Answer, Events, Final, Request
from peerpost.errors import (
    ExpiredError,
    PeerpostError,
    RefusedError,
    SourceChangedError,
    TimedOutError,
    UnavailableError,
    UsageError,
)
from peerpost.node.events import Subscription
from peerpost.node.files.pipes import NODE_ENDED, cause_of_failure
from peerpost.store.db.ballast import SHORT_BYTES
from peerpost.store.tables import contacts as store_contacts
from peerpost.store.tables import outbox as store_outbox
from peerpost.wire import inner as wire
from peerpost.wire import limits

from .discover import WITH_FILE
from .numbers import Bytes, Duration, Index, Wait
from .queue import describe, describe_all
from .read_stream import read_stream
from .waiting import Deadline

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = ["confirm", "send_net", "wait"]

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_AGAIN_S = 1.0
PROGRESS_S = 0.5
"""How often to report the progress of a file."""
DELAYED_S = 2.0
"""After this time, a row reports the state even if nothing has changed, so that the user knows why it takes long."""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    fd_index: Index = 0
    path_hint: str | None = None
    path_hex: str | None = None
    """The bytes of the path in hex, because `path_hint` can hold only a path that is text."""
    size: Bytes | None = None


class _Token(msgspec.Struct, forbid_unknown_fields=True):
    token: str


class _Queued(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    timeout_s: Wait | None = None


class _Folder(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    path_hex: str
    fd_index: Index = 0


_WITH_FILE = msgspec.Meta(extra_json_schema=WITH_FILE)
_Key = Annotated[
    str, msgspec.Meta(min_length=1, max_length=200, description="Nothing is sent twice under one.")
]
_LaneName = Annotated[str, msgspec.Meta(description="urgent or bulk")]


class _Send(msgspec.Struct, forbid_unknown_fields=True):
    contact: str
    folder: Annotated[_Folder | None, _WITH_FILE] = None
    spool: Annotated[bool, _WITH_FILE] = False
    confirm_end: Annotated[bool, _WITH_FILE] = False
    """For a stream: its end counts only after `send-net.confirm` was called."""
    text: str | None = None
    file: Annotated[_File | None, _WITH_FILE] = None
    stream: Annotated[_File | None, _WITH_FILE] = None
    lane: _LaneName | None = None
    expires_s: Duration | None = None
    wait: bool = False
    timeout_s: Wait | None = None
    """How long to wait; without it, as long as something moves (`Deadline`)."""
    once: _Key | None = None
    """A key: what was sent to this contact under it before is not sent again, whatever has become of it."""


def send_net(opened: Opened, request: Request[_Send]) -> Awaitable[Answer]:
    """Queue, and return the entry; with `wait`, yield the entry, its progress and how it ends."""
    params = request.params_as(_Send)
    parts = (params.text, params.file, params.stream, params.folder)
    if sum(part is not None for part in parts) != 1:
        raise UsageError("give a text, a --file or '-'", hint="see: peerpost send --help")
    if params.once is not None and _short_text(params) is None:
        raise UsageError("--once is for texts of up to 60 KiB", hint="nothing was sent")
    contact = opened.network.named(params.contact)
    data = None if params.wait or contact is None else _short_text(params)
    if contact is None or data is None:
        return _send(opened, params, request)
    # Short texts may come in thousands a second, so only the store is awaited.
    _require_unblocked(contact)
    return _queue_text(opened, contact.id, data, params, lambda entry: _row(opened, params, entry))


async def _send(opened: Opened, params: _Send, request: Request[_Send]) -> Answer:
    contact = await opened.network.find(params.contact)
    _require_unblocked(contact)
    if params.stream is not None and not params.spool and _is_stream(request, params.stream):
        return _send_stream(opened, contact.id, params, params.stream, request)
    skipped: list[str] = []
    try:
        entry = await _queue(opened, contact, params, request, skipped)
    except asyncio.CancelledError:
        # The client has left, perhaps while the entry was being stored. If it was stored, it is sent all the same.
        opened.network.poke_soon(contact.id)
        raise
    row = _row(opened, params, entry)
    if params.folder is not None:
        row["skipped"] = skipped
    return _wait(opened, entry, row, params.timeout_s) if params.wait else row


def _row(opened: Opened, params: _Send, entry: store_outbox.Entry) -> dict[str, Any]:
    row = describe(opened, entry)
    return row if params.once is None else row | {"repeated": entry.repeated}


def _require_unblocked(contact: store_contacts.Contact) -> None:
    if contact.state == "blocked":
        raise UsageError(
            f"{contact.name} is blocked", hint=f"peerpost contacts unblock {contact.name}"
        )


async def _wait(
    opened: Opened, entry: store_outbox.Entry, row: dict[str, Any], timeout_s: float | None
) -> AsyncIterator[object]:
    with opened.events.subscribe(entry.id) as events:
        yield row
        async for told in _until_delivered(opened, entry, events, timeout_s):
            yield told


async def confirm(opened: Opened, request: Request[_Token]) -> dict[str, Any]:
    """Confirm that the source of a stream has come to its end and was not cut off."""
    opened.transfers.pipes.confirm(request.params_as(_Token).token)
    return {}


async def wait(opened: Opened, request: Request[_Queued]) -> Events:
    """Wait until an entry is delivered, as `send-net` does, for a command whose first node has ended meanwhile."""
    params = request.params_as(_Queued)
    entry = await opened.store.read(store_outbox.find, params.id)
    return _wait(opened, entry, describe(opened, entry), params.timeout_s)


async def _send_stream(
    opened: Opened, contact_id: str, params: _Send, stream: _File, request: Request[_Send]
) -> AsyncIterator[object]:
    """Queue a stream, and report its progress until it has ended."""
    reading = read_stream(
        opened,
        os.dup(request.fd(stream.fd_index)),
        contact_id=contact_id,
        name=stream.name,
        lane=_lane(params.lane, wire.Lane.BULK),
        expires_ms=_expires_ms(opened, params),
        confirm_end=params.confirm_end,
    )
    async with contextlib.aclosing(reading) as rows:
        async for told in rows:
            if not isinstance(told, store_outbox.Entry):
                yield told
            elif params.wait:
                row = describe(opened, told)
                async for later in _wait(opened, told, row, params.timeout_s):
                    yield later
            else:
                yield Final(describe(opened, told))


def _is_stream(request: Request[_Send], stream: _File) -> bool:
    """Return whether the length of the source that came with the request is unknown."""
    return not stat.S_ISREG(os.fstat(request.fd(stream.fd_index)).st_mode)


def _expires_ms(opened: Opened, params: _Send) -> int | None:
    if params.expires_s is None:
        return None
    return opened.clock.now_ms() + int(params.expires_s * 1000)


async def _queue(
    opened: Opened,
    contact: store_contacts.Contact,
    params: _Send,
    request: Request[_Send],
    skipped: list[str],
) -> store_outbox.Entry:
    """Store what is to be sent, and begin to send it. `skipped` gets what is left out of a folder."""
    expires_ms = _expires_ms(opened, params)
    if (data := _short_text(params)) is not None:
        return await _queue_text(opened, contact.id, data, params, lambda entry: entry)
    if params.text is not None:
        data, lane = params.text.encode(), _lane(params.lane, wire.Lane.BULK)
        entry = await opened.transfers.queue.put_text(
            contact.id, data, lane=lane, expires_ms=expires_ms
        )
    elif params.folder is not None:
        entry, left_out = await opened.transfers.queue.put_folder(
            contact.id,
            request.fd(params.folder.fd_index),
            name=params.folder.name,
            path=_unhexed(params.folder.path_hex),
            lane=_lane(params.lane, wire.Lane.BULK),
            expires_ms=expires_ms,
            copy=params.spool,
        )
        skipped += left_out
    else:
        file = params.file or params.stream
        if file is None:  # excluded by the caller
            raise UsageError("nothing to send")
        entry = await opened.transfers.queue.put(
            contact.id,
            request.fd(file.fd_index),
            name=file.name,
            path_hint=None if params.file is None or params.spool else _path(file),
            lane=_lane(params.lane, wire.Lane.BULK),
            expires_ms=expires_ms,
        )
    _let_go(opened, entry)
    return entry


def _let_go(opened: Opened, entry: store_outbox.Entry) -> None:
    """Begin to send an entry. It is on the disk, so the command has succeeded even if something here fails."""
    try:
        opened.network.queued(entry)
    except Exception:
        log.exception("%s is queued, and cannot be sent now", entry.id)


def _path(file: _File) -> bytes | None:
    if file.path_hex is not None:
        return _unhexed(file.path_hex)
    return None if file.path_hint is None else file.path_hint.encode()


def _unhexed(path_hex: str) -> bytes:
    try:
        return bytes.fromhex(path_hex)
    except ValueError:
        raise UsageError("the path is not hexadecimal") from None


def _lane(given: str | None, default: wire.Lane) -> wire.Lane:
    if given is None:
        return default
    try:
        return wire.Lane[given.upper()]
    except KeyError:
        raise UsageError(f"no lane {given!r}", hint="--lane urgent or --lane bulk") from None


def _short_text(params: _Send) -> bytes | None:
    """Return the text if it fits into one message."""
    if params.text is None or len(params.text) > limits.INLINE_TEXT_MAX:
        return None
    data = params.text.encode()
    return data if len(data) <= limits.INLINE_TEXT_MAX else None


def _queue_text(
    opened: Opened,
    contact_id: str,
    data: bytes,
    params: _Send,
    answer: Callable[[store_outbox.Entry], T],
) -> asyncio.Future[T]:
    """Queue a text that fits into one message, and begin to send it even if nobody waits for the answer any more."""
    lane, at_ms = _lane(params.lane, wire.Lane.URGENT), opened.clock.now_ms()

    def queued(entry: store_outbox.Entry) -> T:
        if not entry.repeated:
            _let_go(opened, entry)
        return answer(entry)

    draft = store_outbox.Draft(
        contact_id=contact_id,
        lane=lane,
        message_kind=wire.Kind.TEXT,
        body=data,
        size=len(data),
        now_ms=at_ms,
        expires_ms=_expires_ms(opened, params),
        from_reserve=len(data) <= SHORT_BYTES,
        once=params.once,
    )
    return opened.store.write_together(store_outbox.enqueue_many, draft, queued)


async def _next_state(
    opened: Opened, entry: store_outbox.Entry, events: Subscription, look_again_s: float
) -> store_outbox.Entry:
    """Wait for an event of the entry; also check now and then, because it may have ended before we listened."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(look_again_s):
            event = await events.next()
        # For a text, the event itself says all that has changed, which saves reading the store each time.
        if entry.file_id is None and event.kind == "entry":
            if event.state == "delivered":
                return dataclasses.replace(entry, state="delivered", delivered_ms=event.at_ms)
            if event.state in ("queued", "sent"):
                return dataclasses.replace(entry, state=event.state)
    return await opened.store.read(store_outbox.find, entry.id)


async def _until_delivered(
    opened: Opened, entry: store_outbox.Entry, events: Subscription, timeout_s: float | None
) -> AsyncIterator[object]:
    """Report the progress of a file when it changes, and at last how the entry ended."""
    told = describe(opened, entry)
    look_again_s = LOOK_AGAIN_S if entry.file_id is None else PROGRESS_S
    patience = Deadline(opened, entry, timeout_s)
    delayed_s: float | None = opened.clock.monotonic_s() + DELAYED_S
    try:
        while entry.state in ("queued", "sent"):
            next_look_s = look_again_s
            if delayed_s is not None:
                next_look_s = min(look_again_s, max(0.0, delayed_s - opened.clock.monotonic_s()))
            async with asyncio.timeout(patience.left_s()):
                entry = await _next_state(opened, entry, events, next_look_s)
            if delayed_s is not None and opened.clock.monotonic_s() >= delayed_s:
                delayed_s = None
                if entry.state in ("queued", "sent"):
                    yield (await describe_all(opened, [entry]))[0] | {"delayed": True}
            row = await _how_far(opened, entry, told)
            patience.note(row)
            if row != told and row["state"] in ("queued", "sent"):
                told = row
                yield row
    except TimeoutError:
        raise await _not_yet(opened, entry, patience.within) from None
    if entry.state == "expired":
        raise ExpiredError(
            f"{entry.id} was not delivered in time", hint="give it longer: --expires"
        )
    if entry.state != "delivered":
        raise _undelivered(entry)
    yield Final(describe(opened, entry))


def _undelivered(entry: store_outbox.Entry) -> PeerpostError:
    """Return the error for an entry that has ended undelivered. If it failed here, nobody has refused it."""
    cause = cause_of_failure(entry.last_error)
    if cause is None:
        why = entry.last_error or "no reason given"
        return RefusedError(f"{entry.id} was {entry.state}: {why}")
    if cause == NODE_ENDED:
        return UnavailableError(f"{entry.id} failed: {cause}", hint="send it again")
    return SourceChangedError(
        f"{entry.id} failed: {cause}",
        hint="send it again; with --spool it may change or go while it waits",
    )


async def _how_far(
    opened: Opened, entry: store_outbox.Entry, told: dict[str, Any]
) -> dict[str, Any]:
    """Describe a file as it is now. (A text only changes its state, and there are events for that.)"""
    return told if entry.file_id is None else (await describe_all(opened, [entry]))[0]


async def _not_yet(opened: Opened, entry: store_outbox.Entry, within: str) -> TimedOutError:
    """Return the error for an entry that still waits: its state, and the cause if it is known."""
    (row,) = await describe_all(opened, [entry])
    cause = f": {row['last_error']}" if row["last_error"] else ""
    when = "as soon as that is possible"
    if str(row["last_error"]).startswith("asking:"):
        when = f"once {row['contact']} has accepted it"
    elif row["progress"] and not cause:
        return TimedOutError(
            f"{entry.id} is on its way, {row['progress']:.0%} of it, and not whole {within}",
            hint="it goes on by itself; see: peerpost transfers list --follow",
        )
    return TimedOutError(
        f"{entry.id} is {row['state']}, and not delivered {within}{cause}",
        hint=f"it stays queued, and is sent {when}; see: peerpost queue show {entry.id}",
    )
