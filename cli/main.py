"""`peerpost`: the table of commands, and the one place where a failure becomes an exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import NoReturn

import click

from peerpost import stdio, stopping
from peerpost.client.secrets import take_variable
from peerpost.errors import PeerpostError, ReaderLeftError, StorageError
from peerpost.stdio import OutputError
from peerpost.stopping import Stopped

from .app import CONTEXT, App, LazyGroup

__all__ = ["main", "root", "run"]

INTERRUPTED, PIPE_CLOSED = 130, ReaderLeftError.exit_code

COMMANDS = {
    name: (f"peerpost.cli.commands.{where}", text)
    for name, where, text in (
        ("identity", "identity:identity", "Make, show, protect and lock this home's identity."),
        ("contacts", "contacts:contacts", "Invite, add, list and remove contacts."),
        ("send", "send:send", "Send a text or files to a contact (also: send-net)."),
        ("send-net", "send:send", ""),
        ("notify", "notify:notify", "Send an alert: a title, a body and a type."),
        ("inbox", "inbox:inbox", "Read and save what was received."),
        ("chat", "chat:chat", "Read and write on the whole screen."),
        ("sent", "sent:sent", "See what was sent, with its state."),
        ("queue", "queue:queue", "See, hurry and take back what is not delivered yet."),
        ("transfers", "transfers:transfers", "See files under way; accept or reject them."),
        ("limits", "limits:limits", "See and change how fast the node sends and receives."),
        ("backup", "backup:backup", "Make a backup, and put a home back from one."),
        ("node", "node:node", "Run the node in the foreground or background."),
        ("rpc", "rpc:rpc", "Serve a program on stdin and stdout, by JSON-RPC."),
        ("log", "log:log", "See and change what the running node logs."),
        ("mcp", "mcp:mcp", "Let a language model look at the inbox, by MCP."),
        ("doctor", "doctor:doctor", "Check this installation and this home."),
        ("config", "config:config", "Show and check the configuration."),
        ("demo", "demo:demo", "See two nodes exchange a text and a file."),
        (
            "completion",
            "completion:completion",
            "Print or install the completion script for a shell.",
        ),
        ("help", "help:help_", "Show how a command is used."),
    )
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings=CONTEXT,
    examples="""
    peerpost identity new --name alice --no-passphrase
    peerpost contacts invite bob
    peerpost send --contact bob "hello"
    peerpost send --contact bob --file report.pdf --wait
    peerpost inbox list
    """,
)
def root() -> None:
    """Messages and files between people and machines that know each other, with no server.

    Every command talks to the node of your home folder and starts it where none runs.
    """


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    stdio.take_over()
    code = run(sys.argv[1:], begin=stopping.take)
    stopping.over(code)
    sys.exit(code)


def run(arguments: list[str], *, begin: Callable[[], object] = lambda: None) -> int:
    """Run one command, after `begin`. Return its exit code; errors were printed."""
    app = App()
    app.variable = take_variable()
    _read_ahead(app, arguments)
    try:
        begin()
        code = root.main(args=arguments, prog_name="peerpost", standalone_mode=False, obj=app)
        sys.stdout.flush()
        _end_if_stopped(app)
        return (code if isinstance(code, int) else 0) or app.code
    except BaseException as error:  # noqa: BLE001 - here it becomes an exit code
        return _failed(app, error)


def _end_if_stopped(app: App) -> None:
    """Raise Stopped if a signal came while the last answer was awaited."""
    try:
        stopping.look()
    except Stopped as stopped:
        if app.has_acted and not stopped.told:
            stopped.tell("It was done by then")
        raise


def _read_ahead(app: App, arguments: list[str]) -> None:
    """Apply --json and --debug wherever they are: parsing may fail before it reaches them."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    app.terminal.json = app.terminal.json or "--json" in options
    app.debug = app.debug or "--debug" in options


def _failed(app: App, error: BaseException) -> int:
    """Say what went wrong. Return the exit code for it."""
    terminal = app.terminal
    match error:
        case Stopped():
            return app.stopped(error)
        case SystemExit():
            return error.code if isinstance(error.code, int) else 1
        case KeyboardInterrupt() | click.Abort():
            terminal.leave_question()
            return INTERRUPTED
        case click.exceptions.NoArgsIsHelpError():
            if terminal.json:
                terminal.error("usage", "missing command", _usage_hint(error))
            else:
                # The help page is of more use than an error; it is printed where errors go.
                terminal.trace(error.format_message())
            return 2
        case click.UsageError():
            terminal.error("usage", _sentence(error), _usage_hint(error))
            return 2
        case click.ClickException():
            terminal.error("error", error.format_message(), None)
            return error.exit_code
        case OutputError():
            _trace(app, error)
            return app.unprinted(error)
        case PeerpostError():
            _trace(app, error)
            terminal.error(error.code, error.message, error.hint)
            return error.exit_code
        case OSError() if _of_the_disk(error):
            terminal.error("io", f"cannot write: {error.strerror}", None)
            return StorageError.exit_code
    _trace(app, error)
    if isinstance(error, LookupError | TypeError) and (other := app.other_version()) is not None:
        # The answer has another form than in this version.
        terminal.error(other.code, other.message, other.hint)
        return other.exit_code
    terminal.error(
        "unexpected",
        f"unexpected {type(error).__name__}: {error}",
        None if app.debug else "this is a bug; --debug shows where",
    )
    return 1


def _of_the_disk(error: OSError) -> bool:
    from peerpost.system import DISK_FULL

    return error.errno == errno.EIO or error.errno in DISK_FULL


def _trace(app: App, error: BaseException) -> None:
    if app.debug:
        import traceback

        app.terminal.trace("".join(traceback.format_exception(error)))


def _sentence(error: click.UsageError) -> str:
    message = error.format_message().rstrip(".")
    return message[:1].lower() + message[1:] if message[1:2].islower() else message


def _usage_hint(error: click.UsageError) -> str | None:
    if meant := getattr(error, "meant", None):
        *others, last = map(repr, meant)
        return f"did you mean {', '.join(others)}{' or ' if others else ''}{last}?"
    if error.ctx is None:
        return None
    see = f"see: {error.ctx.command_path} --help"
    if not isinstance(error, click.NoSuchOption):
        return see
    if error.ctx.command_path.endswith("config set"):
        return f"a value that begins with - goes after --; {see}"
    if error.ctx.info_name not in ("send", "send-net"):
        return see
    from .misread import meant_option

    meant_here = meant_option(error.option_name)
    text = f"a text that begins with - goes after --; {see}"
    return text if meant_here is None else f"did you mean {meant_here}? {text}"
