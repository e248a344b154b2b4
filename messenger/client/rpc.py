"""What the control socket speaks: JSON-RPC 2.0, one object per line, in UTF-8.

A request may carry open files: they travel beside its first byte (SCM_RIGHTS) and the member
`"fds": N` says how many of them are its own. On the loopback none can travel, and `"files": [...]`
says where they are instead (`handover`). A streaming method sends notifications `{"method":
"<method>.event", "params": {"id", "event"}}` before its result. This module is shared by both ends
and imports nothing that would slow a command down.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from peerpost import errors
from peerpost.errors import BadInputError, PeerpostError, UnavailableError, UsageError
from peerpost.raw_bytes import shown

__all__ = [
    "CURSOR",
    "INBOX_CURSOR",
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "MAX_FDS",
    "MAX_REQUEST_BYTES",
    "METHOD_NOT_FOUND",
    "PARSE_ERROR",
    "PEERPOST_ERROR",
    "READER",
    "Answer",
    "Events",
    "Final",
    "Handler",
    "InvalidParamsError",
    "MethodNotFoundError",
    "P",
    "Request",
    "RpcError",
    "encode_request",
    "error_from",
    "error_object",
    "too_many_open",
]

P = TypeVar("P")

MAX_REQUEST_BYTES = 1 << 20
"""Longest request line. A long text is at most 60 KiB here and files come as descriptors, so 1 MiB
is ample."""
CURSOR = r"m?[0-9]{1,18}(-[a-z0-9]{1,32})?"
"""The form of a cursor, the position at which a list goes on."""
INBOX_CURSOR = r"[0-9]{1,18}"
"""That of a message."""
READER = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""The form of a reader's name."""
MAX_FDS = 8
"""Open files that one connection may have handed over and not yet used; commands send one at a
time."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
PEERPOST_ERROR = -32000
"""An error of the hierarchy in `peerpost.errors`: `data` holds its code, exit code and hint."""


class RpcError(Exception):
    """The request itself is at fault (JSON-RPC 2.0, section 5.1)."""

    number = INVALID_REQUEST


class MethodNotFoundError(RpcError):
    """No method of that name."""

    number = METHOD_NOT_FOUND


class InvalidParamsError(RpcError):
    """The parameters do not fit the method."""

    number = INVALID_PARAMS


class Request(Generic[P]):
    """One call: its method, its parameters, and the open files that came with it.

    `P` is the Struct that its method takes them as, or None if it takes none. A method says it by the type of its
    argument, and `rpc.discover` tells programs what is said there.

    The server closes the files when the call ends; a handler that needs one for longer duplicates it.
    """

    __slots__ = ("_fds", "_files", "method", "params")

    def __init__(
        self,
        method: str,
        params: dict[str, Any],
        fds: Iterable[int] = (),
        files: Sequence[object] = (),
    ) -> None:
        """Take the descriptors that came; or descriptions of `files`, which are opened here when they are needed."""
        self.method = method
        self.params = params
        self._fds = dict(enumerate(fds))
        self._files = files

    def fd(self, index: int, *, writes: bool = False) -> int:
        """Return descriptor `index`, which stays the request's. Raise InvalidParamsError if there
        is none, NoInputError or StorageError if the file cannot be opened here, to write to it or to read.
        """
        if index not in self._fds and 0 <= index < len(self._files):
            from .handover import taken_over

            try:
                self._fds[index] = taken_over(self._files[index], writes=writes)
            except ValueError as error:
                raise InvalidParamsError(f"file {index}: {error}") from None
        if index not in self._fds:
            raise InvalidParamsError(f"no file {index} came with this request")
        return self._fds[index]

    def close(self) -> None:
        """Close every descriptor."""
        self._files = ()
        while self._fds:
            os.close(self._fds.popitem()[1])

    def require_no_params(self: Request[None]) -> None:
        """Raise InvalidParamsError naming a parameter, if there is one: this method takes none."""
        for name in self.params:
            raise InvalidParamsError(f"{self.method}: it takes no parameters, not {name!r}")

    def params_as(self, type_: type[P]) -> P:
        """Return the parameters as a msgspec Struct. Raise InvalidParamsError naming what does not
        fit.
        """
        import msgspec

        try:
            return msgspec.convert(self.params, type_)
        except msgspec.ValidationError as error:
            raise InvalidParamsError(f"{self.method}: {error}") from None


class Final:
    """The last thing a streaming method yields: its result. Without one the result is null."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


Events: TypeAlias = AsyncIterator[object]
"""What a method answers that only tells events, which may end in a `Final`."""
Answer: TypeAlias = dict[str, Any] | list[dict[str, Any]] | Events
"""What a method answers: a result, or events that may end in a `Final`."""
Handler = Callable[[Request[Any]], Awaitable[Answer]]
"""Answers a request. One that returns a future costs no task."""


def encode_request(request: dict[str, Any]) -> bytes:
    """Return a request as its line. Raises BadInputError for invalid text, UsageError if it is too long."""
    try:
        line = json.dumps(request, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        raise _no_text(request["params"]) from None
    if len(line) > MAX_REQUEST_BYTES:
        raise UsageError(
            "the request is too long", hint="pass a long text with --file, or with '-' from stdin"
        )
    return line


def _no_text(params: dict[str, Any]) -> BadInputError:
    """Return the error for parameters of which one is no valid text."""
    for name, value in params.items():
        for part in value if isinstance(value, list) else [value]:
            if name != "text" and isinstance(part, str) and shown(part) != part:
                return BadInputError(
                    f"{part[:100]} is not valid UTF-8", hint="names and ids are text"
                )
    return BadInputError(
        "the text is not valid UTF-8",
        hint="send bytes that are no text with --file, or with '-' from stdin",
    )


def error_object(error: BaseException) -> dict[str, Any]:
    """Return the JSON-RPC error object for an exception; of an unexpected one it shows only the
    type.
    """
    if isinstance(error, PeerpostError):
        data = {"code": error.code, "exit_code": error.exit_code, "hint": error.hint}
        return {"code": PEERPOST_ERROR, "message": error.message, "data": data}
    if isinstance(error, RpcError):
        return {"code": error.number, "message": str(error)}
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return error_object(too_many_open())
    return {"code": INTERNAL_ERROR, "message": f"unexpected {type(error).__name__} in the node"}


def too_many_open() -> UnavailableError:
    """Return the error for a file that cannot be opened because no descriptor is left."""
    return UnavailableError(
        "the node, or this machine, has as many files open as it may",
        hint="try again in a moment; or start the node with a higher limit (ulimit -n)",
    )


def error_from(answer: object) -> PeerpostError:
    """Return the exception that an error object stands for, of the class with its `code`."""
    answer = answer if isinstance(answer, dict) else {}
    number, message = answer.get("code"), str(answer.get("message", "the node gave no reason"))
    data = answer.get("data")
    if number == PEERPOST_ERROR and isinstance(data, dict):
        return _known(message, data)
    if number == METHOD_NOT_FOUND:
        hint = "it may be another version: stop it with 'peerpost node stop' and try again"
        return UnavailableError(f"the running node cannot do this: {message}", hint=hint)
    if number in (INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR):
        return UsageError(message)
    error = PeerpostError(
        message, hint="the node's log has the details: node.log in the home folder"
    )
    error.code = "internal"
    return error


def _known(message: str, data: dict[str, Any]) -> PeerpostError:
    code, exit_code, hint = data.get("code"), data.get("exit_code"), data.get("hint")
    for name in errors.__all__:
        class_ = getattr(errors, name)
        if class_.code == code:
            known: PeerpostError = class_(message, hint=hint)
            return known
    # The class is not known here (a dial error is defined beside its user): keep its code and exit code.
    error = PeerpostError(message, hint=hint)
    error.code = str(code)
    error.exit_code = exit_code if isinstance(exit_code, int) and 0 < exit_code < 256 else 1
    return error
