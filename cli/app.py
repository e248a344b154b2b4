"""What every command shares: the global options, its help page, and the way to the node."""

from __future__ import annotations

import errno
import importlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peerpost import __version__
from peerpost.errors import PeerpostError, ReaderLeftError, UnprintedError
from peerpost.stdio import OutputError
from peerpost.stopping import Stopped
from peerpost.system import reader_has_left

from .terminal import Terminal

if TYPE_CHECKING:
    from peerpost.client.connection import NodeConnection

__all__ = [
    "App",
    "Command",
    "Group",
    "LazyGroup",
    "pass_app",
]

_WHERE_TO_LOOK = "peerpost sent list, peerpost inbox list, peerpost contacts list"
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Folder(click.Path):
    """A folder given by name. An empty name would mean the current folder, and is most often a mistake."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """Return the path. Fails for an empty one."""
        if not os.fspath(value):
            self.fail("it is empty: name a folder", param, ctx)
        return super().convert(value, param, ctx)


class App:
    """The options in force, the terminal, and the node of the home."""

    def __init__(self) -> None:
        self.terminal = Terminal()
        self.given_home: Path | None = None
        self.verbose = 0
        self.log_level: str | None = None
        self.log_format: str | None = None
        self.debug = False
        self.spawn = True
        self.has_acted = False
        """Whether something was done that a second run would do again."""
        self.variable: str | None = None
        """What `PEERPOST_PASSPHRASE` was: it is taken out of the environment, for the sake of child processes."""
        self._has_started_node = False
        self.code = 0
        """The exit code if everything was done and not everything could be printed."""

    @property
    def home(self) -> Path:
        """The folder with all state of one identity. Raises LockedError if it is somebody else's."""
        from peerpost.client.paths import HomePaths, default_home
        from peerpost.system import check_owner

        home = HomePaths(self.given_home or default_home()).home
        check_owner(home)
        return home

    def call(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        fds: Sequence[int] = (),
        spawn: bool | None = None,
        unlocks: bool = True,
        node_args: Sequence[str] = (),
        on_event: Callable[[Any], None] | None = None,
    ) -> Any:
        """Ask the node, which `unlocks` the home on the way if it can. Raises the PeerpostError that it raised.

        `node_args` go to a node that is started for it.
        """
        from peerpost.client.ask import call
        from peerpost.client.looking import only_looks

        answer = call(
            self.home,
            method,
            params,
            fds=fds,
            spawn=self.spawn if spawn is None else spawn,
            node_args=(*self.node_args(), *node_args),
            on_event=on_event,
            on_wait=self.waits,
            on_start=self._node_started,
            on_locked=self.unlocks if unlocks else None,
        )
        self.has_acted = self.has_acted or not only_looks(method, params)
        return answer

    def unlocks(self, node: NodeConnection) -> bool:
        """Unlock the home of a node, if it is locked and there is a passphrase to be had. Return whether it was done.

        Raises LockedError if the passphrase is wrong.
        """
        from peerpost.client import keyring

        nobody = self.variable is None and (self.terminal.json or not self.terminal.can_ask())
        if nobody and not keyring.has_slot(self.home):
            return False
        if node.call("node.status")["state"] != "locked":
            return False
        from peerpost.client.secrets import Secrets

        from .unlocking import unlock

        return unlock(self, node, Secrets(variable=self.variable)) is not None

    def _node_started(self) -> None:
        self._has_started_node = True

    @property
    def has_started_node(self) -> bool:
        """Whether this command has started the node."""
        return self._has_started_node

    def say_just_started(self) -> None:
        """If this command has started the node, say that nothing can have arrived from the contacts yet."""
        if self._has_started_node:
            self.terminal.note(
                "Your node was started only now and calls your contacts: look again in a moment."
            )

    def other_version(self) -> PeerpostError | None:
        """Return the error for a running node of another version than this command; None if there is none."""
        from peerpost.client.connection import dial

        try:
            node = dial(self.home)
            if node is None:
                return None
            with node:
                return node.other_version()
        except PeerpostError:
            return None

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Go on if stdout accepts no more rows: what is still to be done does not depend on who reads the output."""
        try:
            yield
        except OutputError as error:
            self.code = self.unprinted(error)

    def require_reader(self, stdout: int) -> None:
        """Raise OutputError if nobody reads stdout any more: a command that waits would go on for nobody."""
        if reader_has_left(stdout):
            raise OutputError(BrokenPipeError(errno.EPIPE, "the reader has left"))

    def unprinted(self, error: OutputError) -> int:
        """Say that the result of a command could not be printed. Return the exit code for it.

        If the command only looked and the reader of stdout has left, say nothing.
        """
        if self.has_acted:
            cause = "the reader of stdout has left" if error.reader_left else error.message
            done = UnprintedError(f"it was done, and could not be printed ({cause}): {error.line}")
            self.terminal.error(done.code, done.message, done.hint)
            return ReaderLeftError.exit_code if error.reader_left else done.exit_code
        if error.reader_left:
            return ReaderLeftError.exit_code
        self.terminal.error(error.code, error.message, error.hint)
        return error.exit_code

    @contextmanager
    def so_far(self, sentence: str) -> Iterator[None]:
        """Give the sentence to say if a signal, or the end of input at a question, ends the command."""
        try:
            yield
        except Stopped as stopped:
            stopped.tell(sentence)
            raise
        except click.Abort as at_end:
            raise Stopped(signal.SIGINT, in_doubt=False).tell(sentence) from at_end

    def stopped(self, by: Stopped) -> int:
        """Say what is known about a command that a signal has ended. Return the exit code."""
        if by.in_doubt and not by.told:
            by.tell("It may have been done: the node had not answered", _WHERE_TO_LOOK)
        elif self.has_acted and not by.told:
            by.tell("It may have been done, in part or as a whole", _WHERE_TO_LOOK)
        elif not by.has_asked and not by.told:
            by.tell("Nothing was done")
        self.terminal.leave_question()
        for sentence, hint in by.told:
            self.terminal.stopped(by.word, sentence, hint)
        if self.terminal.json and not by.told:
            self.terminal.error(by.word, by.word.replace("_", " "), None)
        return int(str(by.code))

    def waits(self, pid: int | None) -> None:
        """Say that the node does not answer, and that we wait for it."""
        if self.terminal.json and not self.terminal.quiet:
            self.terminal.event({"event": "waiting", "pid": pid})
        elif not self.terminal.json:
            who = "" if pid is None else f" (process {pid})"
            self.terminal.note(f"Waiting for the node{who}: it is stopped, or too busy to answer.")

    def node_args(self) -> list[str]:
        """Options that a node we start takes over."""
        level = self.log_level or (
            "debug" if self.verbose > 1 else "info" if self.verbose else None
        )
        return [
            *(["--log-level", level] if level else []),
            *(["--log-format", self.log_format] if self.log_format else []),
        ]


pass_app = click.make_pass_decorator(App)


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        source = ctx.get_parameter_source(param.name or "")
        app = ctx.find_object(App)
        if app is None or source is not click.core.ParameterSource.COMMANDLINE:
            return
        match name:
            case "json" | "quiet" | "color":
                setattr(app.terminal, name, value)
            case "verbose":
                app.verbose += value
            case "no_spawn":
                app.spawn = False
            case _:
                setattr(app, name, value)

    return callback


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    app = ctx.find_object(App)
    if value and app is not None:
        app.terminal.record({"version": __version__}, human=f"peerpost {__version__}")
        ctx.exit()


def _global_options(*, hidden: bool) -> list[click.Option]:
    def option(*names: str, name: str, **more: Any) -> click.Option:
        return click.Option(
            [*names, name], callback=_set(name), expose_value=False, hidden=hidden, **more
        )

    levels = click.Choice(["debug", "info", "warning", "error"])
    # Whether it may be read is checked later, together with its owner, so that this covers a home from the environment.
    home = _Folder(path_type=Path, file_okay=False, readable=False)
    return [
        option("--home", name="given_home", type=home, metavar="DIR", help="Where all state lies."),
        option("--json", name="json", is_flag=True, help="One JSON object per line."),
        option("-q", "--quiet", name="quiet", is_flag=True, help="Only data and errors."),
        option("-v", name="verbose", count=True, help="A node started here logs more; -vv: all."),
        option("--log-level", name="log_level", type=levels, help="What a node started here logs."),
        option(
            "--log-format",
            name="log_format",
            type=click.Choice(["text", "json"]),
            help="How a node started here logs.",
        ),
        option(
            "--color",
            name="color",
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            help="When to colour; auto: on a terminal.",
        ),
        option("--no-spawn", name="no_spawn", is_flag=True, help="Start no node; exit 69 instead."),
        option("--debug", name="debug", is_flag=True, help="Show tracebacks."),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            hidden=hidden,
            help="Show the version.",
        ),
    ]


_SHOWN = _global_options(hidden=False)
_HIDDEN = _global_options(hidden=True)


CLICKS_LEAST_COLUMNS = 52
_LEAST_COLUMNS = 24
"""In fewer, no text can be read beside the name of an option."""


class _Page:
    """A help page that ends with examples, for a command that takes the global options too."""

    examples: str = ""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        options = _HIDDEN if ctx.parent is not None else _SHOWN
        return [*super().get_params(ctx), *options]  # type: ignore[misc]

    def get_help(self, ctx: click.Context) -> str:
        """Return the page as click does, but in no more columns than there are: click takes 50 at least."""
        import shutil

        columns = shutil.get_terminal_size().columns
        if _LEAST_COLUMNS <= columns < CLICKS_LEAST_COLUMNS:
            ctx.terminal_width = columns - 1
        page: str = super().get_help(ctx)  # type: ignore[misc]
        return page

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)  # type: ignore[misc]
        if ctx.parent is not None:
            formatter.write_paragraph()
            formatter.write_text("Global options (--home, --json, --quiet ...): peerpost --help")
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"  {line.strip()}\n")


class Command(_Page, click.Command):
    """A command."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does. Raises UsageError for an option that is given twice and counts once.

        Click would take the last one: of two contacts, the first would get nothing, and nobody would notice.
        """
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            for param in set(order):
                once = isinstance(param, click.Option) and not (param.multiple or param.is_flag)
                if once and order.count(param) > 1:
                    raise click.UsageError(f"{param.opts[0]} is given twice", ctx=ctx)
        return super().parse_args(ctx, args)


class Group(_Page, click.Group):
    """A command with commands of its own, which stand in the same file."""

    command_class = Command

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """List them in the order of the file, which is the order of use."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its exact name. Raises UsageError naming the nearest."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            from .guesses import UnknownCommandError

            raise UnknownCommandError(name, self, ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """The root: each command's module is imported when it runs, and not for a help page."""

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        """Take a table of name to ("module:attribute", one line of help)."""
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """List the table."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        found = self.lazy.get(cmd_name)
        if found is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = found[0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the table without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.lazy.items() if text])

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Complete the names of the table."""
        items = [
            click.shell_completion.CompletionItem(name, help=text)
            for name, (_, text) in self.lazy.items()
            if text and name.startswith(incomplete)
        ]
        return items or super().shell_complete(ctx, incomplete)
