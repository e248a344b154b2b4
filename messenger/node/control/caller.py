"""One client of the control socket: reads its requests with their open files, runs them and writes the answers.

The bytes are read with recvmsg on the bare socket, since asyncio's streams lose the descriptors
that come with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Coroutine
from typing import Any, TypeAlias

import orjson

from peerpost.client.rpc import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    MAX_FDS,
    MAX_REQUEST_BYTES,
    PARSE_ERROR,
    Answer,
    Final,
    Handler,
    InvalidParamsError,
    Request,
    error_object,
    too_many_open,
)
from peerpost.errors import PeerpostError, UnavailableError
from peerpost.node.encoded import encoded
from peerpost.node.tasks import EndsOwner, Tasks
from peerpost.system.sockets import is_hung_up, most_descriptors, passes_files, receive_with_files

__all__ = ["Caller"]

log = logging.getLogger(__name__)

MAX_REQUESTS = 64
"""Requests of one connection at once; more wait unread, since each holds a task and perhaps a
transaction."""
_READ_BYTES = 1 << 16
SHORT_WAIT_S = 30.0
"""How long a request with files may wait, at most, while the process is short of descriptors."""
SHORT_PAUSE_S = 0.05
"""How often to check meanwhile whether others were closed: the system does not report that."""
_HANGUP_CHECK_S = 0.5
"""How often to check whether a client is still there that closed its sending side and waits for answers."""
MAX_UNSENT_BYTES = 1 << 16
"""Bytes of answers that a client may leave unread before its requests have to wait."""

_Id: TypeAlias = int | str | None


class Caller:
    """A connected client."""

    def __init__(
        self,
        sock: socket.socket,
        handler: Handler,
        tasks: Tasks,
        *,
        on_closed: Callable[[Caller], None],
    ) -> None:
        self._socket = sock
        self._passes_files = passes_files(sock)
        self._handler = handler
        self._tasks = tasks
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._fds: deque[int] = deque()
        self._lines: deque[bytes] = deque()
        self._running: dict[asyncio.Future[Any], str] = {}
        """What runs, with the method that it answers."""
        self._broken_off: dict[asyncio.Future[Any], PeerpostError] = {}
        """Requests that were cancelled here, with the error that answers them."""
        self._unsent = bytearray()
        self._writing = False
        self._all_sent = asyncio.Event()
        self._all_sent.set()
        self._reading = False
        self._most_descriptors = most_descriptors()
        self._read_by_s = 0.0
        """When to read at the latest, even if the process is short of descriptors; 0 if it is not waiting for that."""
        self._at_end = False
        self._watching = False
        self._closing = False
        self._closed = asyncio.Event()

    @property
    def requests(self) -> int:
        """Requests running for this client."""
        return len(self._running)

    def running(self, methods: Container[str]) -> list[asyncio.Future[Any]]:
        """Return what runs for requests of these methods."""
        return [one for one, method in self._running.items() if method in methods]

    def break_off(self, running: asyncio.Future[Any], error: PeerpostError) -> None:
        """Cancel a request, and answer it with an error. The connection stays open."""
        if running in self._running and not running.done():
            self._broken_off[running] = error
            running.cancel()

    def open(self) -> None:
        """Begin to read."""
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._socket, self._readable)

    async def drain(self, timeout_s: float) -> None:
        """Read no more, give the running requests `timeout_s` seconds, then close."""
        self._stop_reading()
        self._lines.clear()
        if not self._closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    if self._running:
                        await asyncio.wait(set(self._running))
                    await self._all_sent.wait()
        await self._close()

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._socket)

    def _hang_up(self) -> None:
        """Stop reading and close in the background, cancelling what runs."""
        self._stop_reading()
        if not self._closing:
            self._spawn(self._close(), "close a connection")

    def _spawn(self, coroutine: Coroutine[Any, Any, Any], what: str) -> asyncio.Task[Any]:
        # A failure of a request is its answer. If answering fails, hang up, so that the client does not wait.
        ends = EndsOwner(lambda _: self._hang_up())
        return self._tasks.spawn(coroutine, name=f"control: {what}", on_failure=ends)

    async def _close(self) -> None:
        if self._closing:
            await self._closed.wait()
            return
        self._closing = True
        self._stop_reading()
        running = [one for one in self._running if one is not asyncio.current_task()]
        for one in running:
            one.cancel()
        try:
            # The socket may be closed only after both have let it go.
            await asyncio.gather(*running, return_exceptions=True)
        finally:
            while self._fds:
                os.close(self._fds.popleft())
            if self._writing:
                self._loop.remove_writer(self._socket)
            self._socket.close()
            self._all_sent.set()
            self._closed.set()
            self._on_closed(self)

    # Reading

    def _readable(self) -> None:
        now_s = self._loop.time()
        self._read_by_s = self._read_by_s or now_s + SHORT_WAIT_S
        if now_s < self._read_by_s and self._short_of_descriptors() and self._brings_files():
            # The files that come with a request would be lost. Wait until others are closed.
            self._stop_reading()
            self._loop.call_later(SHORT_PAUSE_S, self._read_on)
            return
        self._read_by_s = 0.0
        try:
            data, fds, cut = receive_with_files(self._socket, _READ_BYTES, MAX_FDS)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._hang_up()
            return
        self._fds.extend(fds)
        if cut and len(self._fds) < MAX_FDS:
            self._hang_up_with(error_object(too_many_open()))
        elif len(self._fds) > MAX_FDS or cut:
            self._reject(INVALID_REQUEST, f"more than {MAX_FDS} open files")
        elif data:
            self._buffer += data
            self._take_lines()
        else:
            self._end_of_input()

    def _short_of_descriptors(self) -> bool:
        """Return whether so few descriptors are left that the files of a request might not fit."""
        try:
            lowest = os.dup(self._socket.fileno())
        except OSError:
            return True
        os.close(lowest)
        return lowest >= self._most_descriptors - min(2 * MAX_FDS, self._most_descriptors // 8)

    def _brings_files(self) -> bool:
        """Return whether the next data to read brings files."""
        try:
            return b'"fds"' in self._socket.recv(_READ_BYTES, socket.MSG_PEEK)
        except OSError:
            return False  # The read that follows will raise the same error.

    def _read_on(self) -> None:
        if not self._closing and not self._lines and not self._at_end:
            self.open()

    def _take_lines(self) -> None:
        *lines, rest = self._buffer.split(b"\n")
        if any(len(line) > MAX_REQUEST_BYTES for line in (*lines, rest)):
            self._reject(INVALID_REQUEST, f"a request of more than {MAX_REQUEST_BYTES} bytes")
            return
        self._buffer = rest
        self._lines.extend(bytes(line) for line in lines if line.strip())
        self._next()

    def _next(self) -> None:
        """Begin the requests that were read, as far as there is room; read on when all of them have begun."""
        while self._lines and len(self._running) < MAX_REQUESTS and not self._closing:
            self._request(self._lines.popleft())
        if self._closing:
            return
        if self._lines:
            self._stop_reading()
            self._watch()
        elif not self._at_end:
            self.open()
        elif not self._busy:
            self._hang_up()

    @property
    def _busy(self) -> bool:
        """Whether the client still expects something from us."""
        return bool(self._running or self._unsent)

    def _end_of_input(self) -> None:
        """Finish for a client that sends no more; with `nc -N` or `socat` it may still listen."""
        self._at_end = True
        self._stop_reading()
        if is_hung_up(self._socket) or not self._busy:
            self._hang_up()
        else:
            self._watch()

    def _watch(self) -> None:
        """While nothing is read, check now and then whether the client has gone."""
        if not self._watching:
            self._watching = True
            self._loop.call_later(_HANGUP_CHECK_S, self._look)

    def _look(self) -> None:
        self._watching = False
        if self._closing or self._reading:
            return
        if is_hung_up(self._socket):
            self._hang_up()
        else:
            self._watch()

    # Requests

    def _request(self, line: bytes) -> None:
        try:
            message = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            self._reject(PARSE_ERROR, f"not JSON: {error}")
            return
        id_ = message.get("id") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            self._reject(
                INVALID_REQUEST, "a request is an object with a method; batches are not taken"
            )
        elif not isinstance(id_, int | str | None):
            self._reject(INVALID_REQUEST, "an id is a number or a string")
        else:
            self._begin(message, id_)

    def _begin(self, message: dict[str, Any], id_: _Id) -> None:
        params, wanted = message.get("params", {}), message.get("fds", 0)
        if type(wanted) is not int or not 0 <= wanted <= len(self._fds):
            # Which files belong to which request is no longer known.
            self._reject(INVALID_REQUEST, "'fds' is not the number of files that came along", id_)
            return
        files = message.get("files", [])
        # If descriptors can be passed, paths are refused: the node may be able to open files that the caller may not.
        if not isinstance(files, list) or len(files) > (0 if self._passes_files else MAX_FDS):
            self._reject(INVALID_REQUEST, "'files' is not for this connection", id_)
            return
        fds = [self._fds.popleft() for _ in range(wanted)]
        given = params if isinstance(params, dict) else {}
        request: Request[Any] = Request(message["method"], given, fds, files)
        silent = "id" not in message  # a notification is answered by nothing
        try:
            if not isinstance(params, dict):
                raise InvalidParamsError("'params' is an object")
            handled = self._handler(request)
        except Exception as error:  # noqa: BLE001 - the client hears of it
            handled = self._loop.create_future()
            handled.set_exception(error)
        if isinstance(handled, asyncio.Future):
            self._answer_later(handled, request, id_, silent=silent)
        else:
            self._answer_by_task(handled, request, id_, silent=silent)

    def _answer_later(
        self, future: asyncio.Future[Any], request: Request[Any], id_: _Id, *, silent: bool
    ) -> None:
        """Answer once a future is done: without a task, and in one write with others that are done by then."""

        def after() -> None:
            request.close()
            self._answer_broken_off(future, request, id_, silent=silent)
            if not future.cancelled():
                line = _line_of(id_, request, future.exception() or future.result())
                if not silent:
                    self._put(line)
                if self._reads_too_little:
                    # It counts as a running request, as one with a task does.
                    wait = self._spawn(self._all_sent.wait(), "wait for a client")
                    self._track(wait, lambda: None)

        self._track(future, after, request.method)

    def _answer_broken_off(
        self, running: asyncio.Future[Any], request: Request[Any], id_: _Id, *, silent: bool
    ) -> None:
        """Answer a request that was cancelled (`break_off`, or what it waited for has ended): its client waits."""
        error = self._broken_off.pop(running, None) or UnavailableError(
            "the request was given up", hint="look whether it was done before trying again"
        )
        if running.cancelled() and not silent:
            self._put(_line_of(id_, request, error))

    def _answer_by_task(
        self,
        handled: Awaitable[Answer],
        request: Request[Any],
        id_: _Id,
        *,
        silent: bool,
    ) -> None:
        async def serve() -> None:
            try:
                outcome = await self._run(handled, request, id_)
            except Exception as error:  # noqa: BLE001 - the client hears of it
                outcome = error
            line = _line_of(id_, request, outcome)
            # Close before the answer: on Windows the client cannot rename a file that is still open here.
            request.close()
            if not silent:
                await self._send(line)

        def after() -> None:
            request.close()
            if isinstance(handled, Coroutine):
                handled.close()  # It was cancelled before it began.
            self._answer_broken_off(task, request, id_, silent=silent)

        task = self._spawn(serve(), request.method[:64])
        self._track(task, after, request.method)

    def _track(
        self, running: asyncio.Future[Any], after: Callable[[], None], method: str = ""
    ) -> None:
        def ended(_: asyncio.Future[Any]) -> None:
            try:
                after()
            except Exception:
                log.exception("a request was not answered")
                self._hang_up()
            self._running.pop(running, None)
            self._next()

        self._running[running] = method
        running.add_done_callback(ended)

    async def _run(self, handled: Awaitable[Answer], request: Request[Any], id_: _Id) -> object:
        outcome = await handled
        if not isinstance(outcome, AsyncIterator):
            return outcome
        result: object = None
        try:
            async for event in outcome:
                if isinstance(event, Final):
                    result = event.value
                    break
                params = {"id": id_, "event": event}
                await self._send(
                    encoded(
                        {"jsonrpc": "2.0", "method": f"{request.method}.event", "params": params}
                    )
                )
        finally:
            close = getattr(outcome, "aclose", None)
            if close is not None:
                await close()
        return result

    # Writing

    def _reject(self, number: int, message: str, id_: _Id = None) -> None:
        """Say what is wrong with a request and hang up."""
        self._hang_up_with({"code": number, "message": message}, id_)

    def _hang_up_with(self, error: dict[str, Any], id_: _Id = None) -> None:
        """Answer with an error and hang up: from here on it is not known which files belong to which line."""
        self._at_end = True
        self._lines.clear()
        self._stop_reading()
        answer = {"jsonrpc": "2.0", "id": id_, "error": error}
        # The connection closes by itself once nothing runs.
        send = self._send(encoded(answer))
        self._track(self._spawn(send, "reject a connection"), lambda: None)

    async def _send(self, line: bytes) -> None:
        """Answer with a line; wait while the client leaves too much unread."""
        self._put(line)
        if self._reads_too_little:
            await self._all_sent.wait()

    @property
    def _reads_too_little(self) -> bool:
        return not self._closing and len(self._unsent) > MAX_UNSENT_BYTES

    def _put(self, line: bytes) -> None:
        """Answer with a line. If several requests run, it is sent with the other lines of this turn of the loop."""
        if self._closing:
            return
        self._unsent += line
        self._unsent += b"\n"
        if self._all_sent.is_set():
            self._all_sent.clear()
            if len(self._running) > 1:
                self._loop.call_soon(self._write)
            else:
                self._write()

    def _write(self) -> None:
        """Send what the socket takes, and the rest when it takes more."""
        if self._closing:
            return
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._hang_up()
            return
        if bool(self._unsent) != self._writing:
            self._writing = not self._writing
            if self._writing:
                self._loop.add_writer(self._socket, self._write)
            else:
                self._loop.remove_writer(self._socket)
        if not self._unsent:
            self._all_sent.set()
            if self._at_end:
                self._next()


def _line_of(id_: _Id, request: Request[Any], outcome: object) -> bytes:
    """Return the line that answers a request: its result or its error."""
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": id_}
    try:
        if isinstance(outcome, BaseException):
            raise outcome
        return encoded({**answer, "result": outcome})
    except Exception as error:
        answer["error"] = error_object(error)
        if answer["error"]["code"] == INTERNAL_ERROR:
            log.exception("%s failed", request.method)
        return encoded(answer)
