"""Write the manual pages, from the commands themselves: `python3 dev.py man FOLDER`; `dev.py install` does it too.

`peerpost(1)` has what holds for all commands, and each command a page of its own with its subcommands in it. The text
is that of the help pages; exit codes are those of docs/cli.md.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from peerpost import __version__
from peerpost.cli.main import root

__all__ = ["main", "pages", "write"]

CLI_MD = Path(__file__).with_name("cli.md")
EXIT_CODES = re.compile(r"^\| ([\d, ]+) \| (.+?) \|", re.MULTILINE)
PROGRAM = "peerpost"
ENVIRONMENT = (
    ("PEERPOST_HOME", "Where all state of one identity lies, unless --home says so."),
    ("PEERPOST_PASSPHRASE", "The passphrase of the home; any other source of it comes before."),
    ("PEERPOST__SECTION__KEY", "Takes the place of a key of config.toml."),
    ("NO_COLOR, FORCE_COLOR", "Whether there is colour, where --color does not say so."),
)
FILES = (
    ("config.toml", "In the home: the settings, with all defaults and what they mean."),
    ("node.log", "In the home: what a node in the background logs."),
)


def pages(day: str) -> dict[str, str]:
    """Return each page under the name of its file; `day` stands at its foot."""
    context = root.make_context(PROGRAM, [], resilient_parsing=True)
    names = [name for name in root.list_commands(context) if name != "send-net"]
    found = {f"{PROGRAM}.1": _page(context, names, day)}
    for name in names:
        command = root.get_command(context, name)
        assert command is not None
        child = click.Context(command, parent=context, info_name=name)
        found[f"{PROGRAM}-{name}.1"] = _page(child, names, day)
    return found


def write(folder: Path) -> list[Path]:
    """Write all pages into a folder, which is made; return their paths."""
    epoch_s = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())  # noqa: TID251 - the day alone
    day = time.strftime("%Y-%m-%d", time.gmtime(epoch_s))
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in pages(day).items():
        written.append(folder / name)
        written[-1].write_text(text, encoding="utf-8", newline="\n")
    return written


def _page(context: click.Context, names: Sequence[str], day: str) -> str:
    whole = context.parent is None
    name = context.command_path.replace(" ", "-")
    lines = [
        f'.TH {name.upper()} 1 "{day}" "Peerpost {__version__}" "Peerpost"',
        *(".nh", ".ad l"),
        *(".SH NAME", f"{_text(name)} \\- {_text(_summary(context))}"),
        *(".SH SYNOPSIS", *_synopsis(context)),
        *(".SH DESCRIPTION", *_paragraphs(context.command)),
    ]
    options = list(_options(context))
    lines += [".SH OPTIONS", *options] if options else []
    if whole:
        lines += [".SH COMMANDS", *_table_of_commands(context, names)]
    else:
        lines += _subcommands(context)
    lines += _examples(context.command, [".SH EXAMPLES"])
    if whole:
        codes = EXIT_CODES.findall(CLI_MD.read_text(encoding="utf-8"))
        lines += [".SH EXIT STATUS", *_tagged((code, _plain(meaning)) for code, meaning in codes)]
        lines += [".SH ENVIRONMENT", *_tagged(ENVIRONMENT), ".SH FILES", *_tagged(FILES)]
    others = [f"{PROGRAM}-{other}" for other in names] if whole else [PROGRAM]
    lines += [".SH SEE ALSO", *_see_also([other for other in others if other != name])]
    return "\n".join(lines) + "\n"


def _summary(context: click.Context) -> str:
    """Return the first sentence of a command's help, as a line that says what it is for."""
    first = _help(context.command).partition("\n\n")[0]
    sentence = " ".join(first.split()).partition(". ")[0].rstrip(".")
    return sentence[:1].lower() + sentence[1:]


def _help(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "")


def _paragraphs(command: click.Command) -> Iterator[str]:
    for number, paragraph in enumerate(_help(command).split("\n\n")):
        if number:
            yield ".PP"
        yield from _filled(" ".join(paragraph.split()))


def _synopsis(context: click.Context) -> Iterator[str]:
    usage = " ".join(context.command.collect_usage_pieces(context))
    yield f"\\fB{_text(context.command_path)}\\fR {_text(usage)}"


def _options(context: click.Context) -> Iterator[str]:
    """Return the options that have a line on the help page; that they have one is said once."""
    rows = [
        parameter.get_help_record(context)
        for parameter in context.command.get_params(context)
        if isinstance(parameter, click.Option)
        and (parameter.name != "help" or context.parent is None)
    ]
    return _tagged([row for row in rows if row is not None])


def _table_of_commands(context: click.Context, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        command = root.get_command(context, name)
        assert command is not None
        about = _summary(click.Context(command, parent=context, info_name=name))
        yield from (".TP", f".BR {_text(f'{PROGRAM}-{name}')} (1)", *_filled(f"{about}."))


def _subcommands(context: click.Context) -> list[str]:
    """Return a section for each command of a group, and of groups in it."""
    lines: list[str] = []
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            inner = click.Context(command, parent=context, info_name=name)
            lines += [f'.SH "{_text(inner.command_path)}"', *_synopsis(inner), ".PP"]
            lines += [*_paragraphs(command), *_options(inner), *_subcommands(inner)]
            lines += _examples(command, [".PP", "Examples:", ".PP"])
    return lines


def _examples(command: click.Command, head: Sequence[str]) -> list[str]:
    examples = inspect.cleandoc(getattr(command, "examples", "")).splitlines()
    if not examples:
        return []
    return [*head, ".nf", ".RS 4", *map(_line, examples), ".RE", ".fi"]


def _see_also(names: Sequence[str]) -> Iterator[str]:
    for number, name in enumerate(names, 1):
        yield f".BR {_text(name)} (1){',' if number < len(names) else ''}"


def _tagged(rows: Iterator[tuple[str, str]] | Sequence[tuple[str, str]]) -> Iterator[str]:
    for tag, text in rows:
        yield from (".TP", f"\\fB{_text(tag)}\\fR", *_filled(text))


def _plain(markdown: str) -> str:
    return re.sub(r"[`*]", "", markdown)


def _text(text: str) -> str:
    """Return text for roff: no backslash is a command, and a hyphen can be copied."""
    return text.replace("\\", "\\e").replace("-", "\\-")


def _filled(text: str) -> Iterator[str]:
    yield from map(_line, textwrap.wrap(text, 72, break_long_words=False, break_on_hyphens=False))


def _line(text: str) -> str:
    """Return text for the beginning of a line, where a full stop or an apostrophe would begin a command."""
    escaped = _text(text)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def main(arguments: list[str]) -> int:
    """Write the pages into the folder given; return the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python3 dev.py man FOLDER\n")
        return 2
    for path in write(Path(arguments[0])):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
