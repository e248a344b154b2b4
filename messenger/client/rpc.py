"""What the control socket speaks: JSON-RPC 2.0, one object per line, in UTF-8.

A request may carry open files: they travel beside its first byte (SCM_RIGHTS) and the member
`"fds": N` says how many of them are its own. A streaming method sends notifications `{"method":
"<method>.event", "params": {"id", "event"}}` before its result. This module is shared by both ends
and imports nothing that would slow a command down.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeAlias, TypeVar

from peerpost import errors
from peerpost.errors import BadInputError, PeerpostError, UnavailableError, UsageError
from peerpost.raw_bytes import shown

__all__ = [
    "CURSOR",
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "MAX_FDS",
    "MAX_REQUEST_BYTES",
    "METHOD_NOT_FOUND",
    "PARSE_ERROR",
    "PEERPOST_ERROR",
    "Answer",
    "Final",
    "Handler",
    "InvalidParamsError",
    "MethodNotFoundError",
    "Request",
    "RpcError",
    "encode_request",
    "error_from",
    "error_object",
    "peer_pid",
    "peer_uid",
]

T = TypeVar("T")

MAX_REQUEST_BYTES = 1 << 20
"""Longest request line. A long text is at most 60 KiB here and files come as descriptors, so 1 MiB
is ample."""
CURSOR = r"[0-9]{1,18}(-[a-z0-9]{1,32})?"
"""What says where a list goes on."""
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


class Request:
    """One call: its method, its parameters, and the open files that came with it.

    The server closes the files when the call ends; a handler that needs one for longer duplicates it.
    """

    __slots__ = ("_fds", "method", "params")

    def __init__(self, method: str, params: dict[str, Any], fds: Iterable[int] = ()) -> None:
        self.method = method
        self.params = params
        self._fds = list(fds)

    def fd(self, index: int) -> int:
        """Return descriptor `index`, which stays the request's. Raise InvalidParamsError if there
        is none.
        """
        if not 0 <= index < len(self._fds):
            raise InvalidParamsError(f"no file {index} came with this request")
        return self._fds[index]

    def close(self) -> None:
        """Close every descriptor."""
        while self._fds:
            os.close(self._fds.pop())

    def params_as(self, type_: type[T]) -> T:
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


Answer: TypeAlias = dict[str, Any] | list[dict[str, Any]] | AsyncIterator[object]
"""What a method answers: a result, or events that may end in a `Final`."""
Handler = Callable[[Request], Awaitable[Answer]]
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
    return {"code": INTERNAL_ERROR, "message": f"unexpected {type(error).__name__} in the node"}


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


def peer_uid(sock: socket.socket) -> int:
    """Return the user id at the other end of a Unix socket. Raise OSError if the system does not
    tell.
    """
    if sys.platform == "linux":
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", raw)[1])
    if sys.platform == "darwin":
        # struct xucred: version, uid, groups (sys/ucred.h); SOL_LOCAL is 0 and LOCAL_PEERCRED 1.
        return int(struct.unpack_from("2I", sock.getsockopt(0, 1, 76))[1])
    raise OSError("this system does not tell who is at the other end of a socket")


def peer_pid(sock: socket.socket) -> int | None:
    """Return the process id at the other end of a Unix socket, if the system tells it; 0 is in another container."""
    if sys.platform == "linux":
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", raw)[0]) or None
    if sys.platform == "darwin":
        # LOCAL_PEERPID (sys/un.h).
        return sock.getsockopt(0, 2) or None
    return None
