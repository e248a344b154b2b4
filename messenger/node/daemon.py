"""The node's process: its arguments, its home, its lock, its signals, and the line that says it is ready."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from peerpost.errors import PeerpostError
from peerpost.stdio import OutputError
from peerpost.store.homelock import HomeLock
from peerpost.system import keep_freed_memory, private_dir
from peerpost.wire import address

from . import config as configuration
from . import logs
from .encoded import encoded
from .logfile import LogFile
from .node import Node
from .paths import HomePaths

__all__ = ["main"]

log = logging.getLogger(__name__)


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m peerpost.node")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the node in the foreground")
    run.add_argument("--home", type=Path, required=True)
    run.add_argument("--listen", action="append", default=[], metavar="MULTIADDR")
    run.add_argument("--idle-exit", action="store_true", help="leave when idle with an empty queue")
    run.add_argument("--json", action="store_true", help="print the ready event on stdout")
    run.add_argument("--log-level")
    run.add_argument("--log-format", choices=["text", "json"])
    return parser.parse_args(argv)


def _runner() -> asyncio.Runner:
    """Make a runner on uvloop, or on the standard loop where uvloop is not to be had."""
    if os.environ.get("PEERPOST_LOOP") == "asyncio" or sys.platform == "win32":
        return asyncio.Runner()
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def main(argv: list[str], node_class: type[Node] = Node) -> int:
    """Run the node until it is told to stop. Return the exit code."""
    arguments = _arguments(argv)
    try:
        keep_freed_memory()
        private_dir(arguments.home)
        with HomeLock(arguments.home) as lock, _runner() as runner:
            return runner.run(_serve(arguments, node_class, lock))
    except PeerpostError as error:
        _complain(error, as_json=arguments.json)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


async def _serve(arguments: argparse.Namespace, node_class: type[Node], lock: HomeLock) -> int:
    for text in arguments.listen:
        address.parse(text, listen=True)
    config = configuration.load(arguments.home)
    log_file = LogFile.of_stderr(
        HomePaths(arguments.home).node_log, limit_bytes=config.log.size, kept=config.log.kept
    )
    level, format_ = arguments.log_level or config.log.level, arguments.log_format
    logs.setup(level, format_ or config.log.format, log_file)
    node = node_class(
        arguments.home,
        config,
        listen=arguments.listen,
        idle_exit_s=config.node.idle_exit if arguments.idle_exit else None,
        lock=lock,
    )
    code = 0
    loop = asyncio.get_running_loop()
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        node.stop_soon(signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    await node.run(on_ready=lambda: _announce(node, as_json=arguments.json))
    if received:
        code = 128 + received[0]
    return code


def _announce(node: Node, *, as_json: bool) -> None:
    """Say that the node listens: one line on stderr, or one object on stdout."""
    ready = node.ready_event()
    if as_json:
        try:
            print(encoded(ready).decode(), flush=True)  # noqa: T201
        except OutputError as error:
            log.warning("nobody hears that the node is ready: %s", error.message)
    else:
        where = ", ".join(ready["addresses"]) or "nowhere yet"
        sys.stderr.write(f"peerpost: ready as {ready['peer_id']}, listening on {where}\n")


def _complain(error: PeerpostError, *, as_json: bool) -> None:
    if as_json:
        body = {"code": error.code, "message": error.message, "hint": error.hint}
        sys.stderr.write(encoded({"error": body}).decode() + "\n")
        return
    sys.stderr.write(f"error: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"hint:  {error.hint}\n")
