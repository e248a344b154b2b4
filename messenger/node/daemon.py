"""The node's process: its arguments, its home, its lock, its signals, and the line that says it is ready."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

from peerpost.client import config as configuration
from peerpost.client.config import Config
from peerpost.client.logfile import LogFile
from peerpost.client.paths import HomePaths
from peerpost.client.rpc import error_object
from peerpost.client.secrets import Secrets, take_variable
from peerpost.errors import PeerpostError
from peerpost.stdio import OutputError
from peerpost.store import disk
from peerpost.store.homelock import HomeLock
from peerpost.system import guard_memory, private_dir, signals
from peerpost.system.processes import keep_freed_memory, niceness
from peerpost.wire import address

from . import log_levels, logs, surroundings
from .encoded import encoded
from .node import Node
from .takeover import locked_home
from .watchdog import Watchdog, take_signals

__all__ = ["main"]

log = logging.getLogger(__name__)


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m peerpost.node")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the node in the foreground")
    run.add_argument("--home", type=Path, required=True)
    run.add_argument("--listen", action="append", default=[], metavar="MULTIADDR")
    run.add_argument("--idle-exit", action="store_true", help="leave when idle with an empty queue")
    run.add_argument("--closed", action="store_true", help="leave the home closed, to delete it")
    run.add_argument("--background", action="store_true", help="a command has started it")
    run.add_argument("--json", action="store_true", help="print the ready event on stdout")
    run.add_argument("--passphrase-fd", type=int, metavar="N", help="read the passphrase there")
    run.add_argument("--log-level")
    run.add_argument("--log-format", choices=["text", "json"])
    return parser.parse_args(argv)


def _runner() -> asyncio.Runner:
    """Make a runner on uvloop, or on the standard loop if there is none or the environment says so."""
    if os.environ.get("PEERPOST_LOOP") != "asyncio":
        with contextlib.suppress(ImportError):
            import uvloop

            return asyncio.Runner(loop_factory=uvloop.new_event_loop)
    # By name: on Windows the usual loop cannot wait for sockets that it has not made.
    return asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)


def main(argv: list[str], node_class: type[Node] = Node) -> int:
    """Run the node until it is told to stop. Return the exit code."""
    arguments = _arguments(argv)
    watchdog = Watchdog(as_json=arguments.json)
    if arguments.json:
        # Errors before the configuration is known must be objects too.
        logs.setup("warning", "json")
    try:
        surroundings.put_right(in_background=arguments.background)
        keep_freed_memory()
        guard_memory()
        private_dir(arguments.home)
        # Check everything first: a running node must not be made to leave for one that then cannot start.
        config = _prepare(arguments)
        secret = _passphrase(arguments)
        held = locked_home(arguments.home, takes_over=not arguments.idle_exit)
        with held as lock, _runner() as runner:
            return runner.run(_serve(arguments, config, node_class, lock, watchdog, secret))
    except PeerpostError as error:
        _complain(error, as_json=arguments.json)
        _tell_starter(arguments, error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        _tell_starter(arguments, error)
        raise
    finally:
        watchdog.end()


def _passphrase(arguments: argparse.Namespace) -> bytes | None:
    """Return the passphrase that came along, and close its descriptor. Raises NoInputError, BadInputError."""
    fd: int | None = arguments.passphrase_fd
    secret = Secrets(fd=fd, variable=take_variable()).find()
    if fd is not None:
        os.close(fd)
    return secret


def _prepare(arguments: argparse.Namespace) -> Config:
    """Check the arguments, load the configuration, and begin to log."""
    for text in arguments.listen:
        address.parse(text, listen=True)
    config = configuration.load(arguments.home)
    log_file = LogFile.of_stderr(
        HomePaths(arguments.home).node_log, limit_bytes=config.log.size, kept=config.log.kept
    )
    # With --json a program reads stderr, so every line there is an object, unless --log-format asks for text.
    format_ = arguments.log_format or ("json" if arguments.json else config.log.format)
    logs.setup("info", format_, log_file)
    log_levels.choose(arguments.log_level, os.environ, config.log.level)
    return config


async def _serve(
    arguments: argparse.Namespace,
    config: Config,
    node_class: type[Node],
    lock: HomeLock,
    watchdog: Watchdog,
    secret: bytes | None,
) -> int:
    node = node_class(
        arguments.home,
        config,
        listen=arguments.listen,
        idle_exit_s=config.node.idle_exit if arguments.idle_exit else None,
        closed=arguments.closed,
        lock=lock,
        stalls=watchdog.stalls,
    )
    for what in surroundings.held_back():
        log.warning("the node %s: it has that from whoever started it", what)
    if (nice := niceness()) > 0:
        log.warning("the node has niceness %d from whoever started it", nice)
    code = 0
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        node.stop_soon(logs.Reason(signal.Signals(number).name))

    def lock_home(name: str) -> None:
        node.lock_soon(logs.Reason(name))

    # This comes before any thread begins: in a thread that exists already, the signals would not be blocked.
    take_signals(signals.ending(), stop, watchdog, signals.locking(), lock_home)
    watchdog.start(asyncio.get_running_loop())

    def ready() -> None:
        if arguments.background:
            # Whoever has started it reads no more of its stdout.
            os.dup2(2, 1)
        _announce(node, as_json=arguments.json)

    await node.run(ready, secret)
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
    elif ready["state"] == "locked":
        sys.stderr.write("peerpost: ready, and locked; to unlock it: peerpost identity unlock\n")
    elif logs.is_discreet() or ready["peer_id"] is None:
        sys.stderr.write("peerpost: ready\n")
    else:
        where = ", ".join(ready["addresses"]) or "nowhere yet"
        sys.stderr.write(f"peerpost: ready as {ready['peer_id']}, listening on {where}\n")


def _tell_starter(arguments: argparse.Namespace, error: Exception) -> None:
    """Tell the command that starts this node why it does not start, if it still reads what comes on stdout."""
    try:
        with disk.errors("the node cannot start"):
            raise error
    except Exception as explained:  # noqa: BLE001 - it is handed on
        error = explained
    with contextlib.suppress(OSError):
        if arguments.background and not os.path.samestat(os.fstat(1), os.fstat(2)):
            os.write(1, encoded(error_object(error)))


def _complain(error: PeerpostError, *, as_json: bool) -> None:
    if as_json:
        body = {"code": error.code, "message": error.message, "hint": error.hint}
        sys.stderr.write(encoded({"error": body}).decode() + "\n")
        return
    sys.stderr.write(f"error: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"hint:  {error.hint}\n")
