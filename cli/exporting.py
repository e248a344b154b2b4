"""`inbox export`: the messages of this home as a bundle, as lines of JSON, or as a page to read."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from peerpost.bundle.record import Owner, Record, body_of
from peerpost.bundle.writing import BundleWriter
from peerpost.client.moments import rfc3339
from peerpost.errors import NotFoundError, PeerpostError, StorageError
from peerpost.raw_bytes import encodable

from .app import App
from .history import Held, HomeHistory
from .page import HtmlPage
from .safe import as_json
from .times import ago_ms

__all__ = ["Exporting"]


class Exporting:
    """One export, on its way into an open file."""

    def __init__(self, app: App, history: HomeHistory, on_bytes: Callable[[int], object]) -> None:
        """Prepare; `on_bytes` is told how many bytes more were written of files."""
        self._app = app
        self._history = history
        self._on_bytes = on_bytes
        self.messages = 0
        self.files = 0
        self.missing: list[str] = []
        """The ids of messages whose files could not be read: they are exported without."""

    def bundle(self, out: io.BufferedIOBase, secret: bytes | None) -> None:
        """Write a bundle, sealed under a passphrase if there is one. Raises ShortMemoryError."""
        if secret is None:
            self._bundle(out)
            return
        from peerpost.bundle.sealing import SealingFile

        sealing = SealingFile(out, secret)
        self._bundle(sealing)
        sealing.end()

    def _bundle(self, out: io.RawIOBase | io.BufferedIOBase) -> None:
        owner = msgspec.convert(self._app.call("inbox.owner"), Owner)
        with BundleWriter(out, owner, ago_ms(0)) as writer:
            writer.messages(self._with_digests(self._history.newest_first()))
            writer.contacts(self._history.cards.values())
            for digest, record in writer.files.items():
                with writer.file(digest) as write:

                    def take(piece: bytes, write: Callable[[bytes], object] = write) -> None:
                        write(piece)
                        self._on_bytes(len(piece))

                    self._history.read(record, take)
            manifest = writer.end()
        self.messages, self.files = manifest.messages, manifest.files

    def _with_digests(self, held: Iterator[Held]) -> Iterator[Record]:
        for one in held:
            digest = self._digest(one) if one.has_file else None
            yield msgspec.structs.replace(one.record, file=digest)

    def _digest(self, held: Held) -> str | None:
        try:
            return self._history.digest(held.record)
        except (NotFoundError, StorageError) as error:
            self._miss(held.record, error)
            return None

    def _miss(self, record: Record, error: PeerpostError) -> None:
        self.missing.append(record.id)
        self._app.terminal.note(f"The file of {record.id} is not in it: {error.message}")

    def lines(self, out: io.RawIOBase | io.BufferedIOBase) -> None:
        """Write an object a line, the oldest message first. Files are not in it, long texts are."""
        for held in self._history.oldest_first():
            row = _row(held.record, self._name(held.record))
            if held.has_file and held.record.kind == "text":
                row["body"] = self._long_text(held.record)
            out.write(as_json(row).encode() + b"\n")
            self.messages += 1

    def page(self, out: io.RawIOBase | io.BufferedIOBase) -> None:
        """Write a page of HTML that a person reads or prints, the oldest message first."""
        page = HtmlPage(lambda text: out.write(text.encode()))
        page.begin(str(self._app.call("inbox.owner")["name"]))
        for held in self._history.oldest_first():
            row = _row(held.record, self._name(held.record))
            if held.has_file and held.record.kind == "text":
                row["body"] = self._long_text(held.record)
            page.message(row)
            self.messages += 1
        page.end()

    def _name(self, record: Record) -> str:
        return self._history.cards[record.contact].name

    def _long_text(self, record: Record) -> str | None:
        text = bytearray()
        try:
            self._history.read(record, text.extend)
        except (NotFoundError, StorageError) as error:
            self._miss(record, error)
            return None
        return text.decode(errors="replace")


def _row(record: Record, contact: str) -> dict[str, Any]:
    """Return a message as a program or a person reads it, with the keys of `inbox list` and `sent list`."""
    body = body_of(record)
    is_sent = record.direction == "sent"
    row: dict[str, Any] = {
        "id": record.id,
        "direction": "out" if is_sent else "in",
        "contact": contact,
        "kind": record.kind,
        "size": record.size,
        "name": record.name,
        "body": None if body is None else body.decode(errors="replace"),
    }
    if is_sent:
        times = {"created": record.sent_ms, "delivered": record.at_ms}
        row |= {"state": record.state, "last_error": record.error}
    else:
        times = {"received_at": record.at_ms, "sent_at": record.sent_ms}
        row |= {"unread": record.unread, "gap": record.gap, "files": record.files}
    row |= {key: rfc3339(at_ms) for key, at_ms in times.items()}
    row["directory"] = record.files is not None
    return {key: encodable(value) for key, value in row.items()}
