"""Offers tools to a language model on stdin and stdout, by the Model Context Protocol."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from peerpost import __version__
from peerpost.errors import BadInputError, PeerpostError
from peerpost.stdio import OutputError, read

from .mcp_tools import WARNING, ModelTool, ModelTools

__all__ = ["serve"]

_READ_BYTES = 1 << 16
MAX_LINE_BYTES = 8 << 20
"""The longest line that is taken; the longest text to send is 60 KiB."""
INSTRUCTIONS = (
    "Messages and files that were exchanged, end-to-end encrypted, with contacts whom your user has chosen. "
    + WARNING
)
OUTPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        name: {
            **form,
            "properties": {"untrusted": {"type": "object", "description": WARNING}},
        }
        for name, form in (("row", {"type": "object"}), ("error", {"type": "object"}))
    }
    | {
        "rows": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"untrusted": {"type": "object", "description": WARNING}},
            },
        },
        "more": {"type": ["string", "null"]},
    },
}


def serve(tools: ModelTools) -> None:
    """Serve until stdin ends. Raises Stopped for a signal, OutputError if nobody reads stdout any more."""
    # The library's own words about a session are nobody's business here.
    logging.getLogger("mcp").setLevel(logging.ERROR)
    try:
        asyncio.run(_serve(tools))
    except BaseExceptionGroup as group:
        cause = _cause(group)
        raise (OutputError(cause) if isinstance(cause, BrokenPipeError) else cause) from group


class _Lines:
    """The lines of stdin, read in a thread that keeps nothing from ending: the library's own would, until one comes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | Exception | None] = asyncio.Queue(1)
        threading.Thread(target=self._read, args=(sys.stdin.fileno(),), daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[str]:
        while (line := await self._lines.get()) is not None:
            if isinstance(line, Exception):
                raise line
            yield line

    def _read(self, fd: int) -> None:
        partial = b""
        try:
            while data := read(fd, _READ_BYTES):
                *lines, partial = (partial + data).split(b"\n")
                for line in lines:
                    self._put(line.decode(errors="replace"))
                if len(partial) > MAX_LINE_BYTES:
                    raise BadInputError(f"a request of more than {MAX_LINE_BYTES} bytes")
            self._put(None)
        except PeerpostError as error:
            self._put(error)

    def _put(self, line: str | Exception | None) -> None:
        with suppress(RuntimeError):  # once the loop is closed nobody reads
            asyncio.run_coroutine_threadsafe(self._lines.put(line), self._loop).result()


def _cause(error: BaseException) -> BaseException:
    """Return the first of the errors that tasks have ended by."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _serve(tools: ModelTools) -> None:
    one_at_a_time = asyncio.Lock()
    offered = [_told(tool) for tool in tools.offered()]

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=offered)

    async def call_tool(_: Any, asked: types.CallToolRequestParams) -> types.CallToolResult:
        async with one_at_a_time:
            return await asyncio.to_thread(_answer, tools, asked.name, asked.arguments or {})

    server: Server[Any] = Server(
        "peerpost",
        version=__version__,
        title="Peerpost",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    stdin: Any = _Lines()
    async with stdio_server(stdin) as (reads, writes):
        await server.run(reads, writes, server.create_initialization_options())


def _told(tool: ModelTool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=f"{tool.about} {WARNING}",
        input_schema=tool.input_schema,
        output_schema=OUTPUT,
        annotations=types.ToolAnnotations(
            read_only_hint=tool.only_looks,
            destructive_hint=False,
            idempotent_hint=tool.only_looks,
            open_world_hint=tool.name == "send",
        ),
    )


def _answer(tools: ModelTools, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
    """Run a tool. What goes wrong is an answer too, which the model is shown."""
    failed = False
    try:
        value = tools.call(name, arguments)
    except PeerpostError as error:
        failed = True
        value = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    tools.app.has_acted = False  # It was answered.
    text = json.dumps(value, ensure_ascii=True)
    return types.CallToolResult(
        content=[types.TextContent(text=text)], structured_content=value, is_error=failed
    )
