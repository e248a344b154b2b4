"""The control socket for a program that has only its standard streams: requests in, answers and events out.

The node's own JSON-RPC goes through, so nothing here is about a single method. Each request is answered, whatever
becomes of the node: with an error where that ends before it has answered. The next request finds the next node.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from peerpost.errors import BadInputError, PeerpostError, UsageError

from .connection import NodeConnection, UnreadError
from .looking import ENDLESS
from .rpc import INVALID_PARAMS, INVALID_REQUEST, MAX_REQUEST_BYTES, PARSE_ERROR, error_object

__all__ = ["MOST_OPEN", "Relay"]

MOST_OPEN = 32
"""Requests of which no answer has come; more have to wait. The node takes 64, so that neither side waits in vain."""
_TRIES = 4
"""How often a request is handed to the next node because one has left before it read it."""


class Relay:
    """Passes on requests, each a line, and hands answers and events to `write`, each an object."""

    def __init__(
        self, connect: Callable[[], NodeConnection], write: Callable[[dict[str, Any]], object]
    ) -> None:
        """`connect` returns a connection to a node, with the home unlocked if that is possible."""
        self._connect = connect
        self._write = write
        self._node: NodeConnection | None = None
        self._answers: Iterator[tuple[int, str, Any]] = iter(())
        self._open: dict[int, tuple[str, Any]] = {}
        """What the node was asked and has not answered: the method and the caller's id, _NO_ID of a notification."""
        self._partial = b""
        self._lines: deque[bytes] = deque()
        """Requests that were read and have to wait."""

    def close(self) -> None:
        """Hang up."""
        if self._node is not None:
            self._node.close()
            self._node = None

    def fileno(self) -> int | None:
        """Return the descriptor to wait for, if there is a node."""
        return None if self._node is None else self._node.fileno()

    @property
    def takes_more(self) -> bool:
        """Whether more may be read."""
        return not self._lines

    @property
    def is_owed(self) -> bool:
        """Whether an answer is to come: not counting events that go on for ever."""
        return bool(self._lines) or any(method not in ENDLESS for method, _ in self._open.values())

    def feed(self, data: bytes) -> None:
        """Take what was read, and hand over each whole line of it, as far as there is room."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        self._lines.extend(line for line in lines if line.strip())
        self._next()
        if len(self._partial) > MAX_REQUEST_BYTES:
            raise BadInputError(f"a request of more than {MAX_REQUEST_BYTES} bytes")

    def end(self) -> None:
        """Take the end of the input: what stands there without a line end is a request too."""
        self.feed(b"\n")

    def hear(self) -> None:
        """Take what the node has sent: wait for one answer or event at least, and pass on all that are here."""
        node = self._node
        if node is None:
            return
        try:
            self._pass_on(next(self._answers))
            while self._node is node and node.has_line:
                self._pass_on(next(self._answers))
        except PeerpostError as error:
            self._lost(error)
        self._next()

    def _next(self) -> None:
        while self._lines and len(self._open) < MOST_OPEN:
            self._request(self._lines.popleft())

    def _pass_on(self, answer: tuple[int, str, Any]) -> None:
        number, kind, value = answer
        if number not in self._open:
            return
        method, id_ = self._open[number]
        if kind != "event":
            del self._open[number]
        if id_ is _NO_ID:
            return
        if kind == "event":
            params = {"id": id_, "event": value}
            self._write({"jsonrpc": "2.0", "method": f"{method}.event", "params": params})
        else:
            self._write({"jsonrpc": "2.0", "id": id_, kind: value})

    def _request(self, line: bytes) -> None:
        try:
            asked = json.loads(line)
        except (ValueError, RecursionError) as error:
            self._refuse(None, PARSE_ERROR, f"not JSON: {error}")
            return
        id_ = asked.get("id", _NO_ID) if isinstance(asked, dict) else None
        if not isinstance(asked, dict) or not isinstance(asked.get("method"), str):
            what = "a request is an object with a method; batches are not taken"
            self._refuse(id_, INVALID_REQUEST, what)
        elif not (id_ is _NO_ID or id_ is None or type(id_) in (int, str)):
            self._refuse(None, INVALID_REQUEST, "an id is a number or a string")
        elif not isinstance(params := asked.get("params", {}), dict):
            self._refuse(id_, INVALID_PARAMS, "'params' is an object")
        elif asked.get("fds") or asked.get("files"):
            self._refuse(id_, INVALID_REQUEST, "no files can come along here: peerpost send --file")
        else:
            self._hand_over(asked["method"], params, id_)

    def _refuse(self, id_: Any, code: int, message: str) -> None:
        self._answer(id_, {"code": code, "message": message})

    def _answer(self, id_: Any, error: dict[str, Any]) -> None:
        if id_ is not _NO_ID:
            self._write({"jsonrpc": "2.0", "id": id_, "error": error})

    def _hand_over(self, method: str, params: dict[str, Any], id_: Any) -> None:
        for tried in range(_TRIES):
            try:
                if self._node is None:
                    self._node = self._connect()
                    self._answers = self._node.answers()
                number = self._node.begin(method, params)
            except UnreadError as error:
                self._lost(error)
                if tried == _TRIES - 1:
                    self._answer(id_, error_object(error))
            except RecursionError:
                self._refuse(id_, INVALID_PARAMS, "'params' is too deep")
                return
            except (BadInputError, UsageError) as error:
                self._answer(id_, error_object(error))
                return
            except PeerpostError as error:
                self._lost(error)
                self._answer(id_, error_object(error))
                return
            else:
                self._open[number] = (method, id_)
                return

    def _lost(self, error: PeerpostError) -> None:
        """Answer all that this node has not answered with the error that ended it."""
        self.close()
        left, self._open = self._open, {}
        for _, id_ in left.values():
            self._answer(id_, error_object(error))


_NO_ID: Any = object()
