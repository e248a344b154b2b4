"""The manual pages: each command and option is in them, and man and mandoc read them without a complaint."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from docs import man
from peerpost.cli.main import COMMANDS, root

PAGES = man.pages("2026-11-30")


def commands(context: click.Context) -> Iterator[click.Context]:
    """Yield each command below another one."""
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            inner = click.Context(command, parent=context, info_name=name)
            yield inner
            yield from commands(inner)


def read(roff: str) -> str:
    """Return what a page says, without what it says to roff."""
    return roff.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "").replace("\\e", "\\")


def test_each_command_has_a_page_or_a_section_with_all_its_options() -> None:
    assert set(PAGES) == {
        "peerpost.1",
        *(f"peerpost-{name}.1" for name in COMMANDS if name != "send-net"),
    }
    seen = 0
    for context in commands(click.Context(root, info_name="peerpost")):
        words = context.command_path.split()
        if words[1] == "send-net":
            continue
        page = read(PAGES[f"peerpost-{words[1]}.1"])
        section = page if len(words) == 2 else page.partition(f'.SH "{context.command_path}"')[2]
        assert section, context.command_path
        for option in context.command.params:
            if isinstance(option, click.Option) and not option.hidden:
                seen += 1
                assert option.opts[-1] in section.partition('\n.SH "')[0], (
                    context.command_path,
                    option,
                )
    assert seen > 80


def test_nothing_in_the_text_is_a_command_of_roff() -> None:
    known = {"TH", "SH", "PP", "TP", "BR", "nf", "fi", "RS", "RE", "nh", "ad"}
    for name, page in PAGES.items():
        used = set(re.findall(r"^[.'](\S*)", page, re.MULTILINE))
        assert used <= known, name
        assert set(re.findall(r"\\(.)", page)) <= set("-e&f"), name
    assert man._line(".so /etc/passwd") == "\\&.so /etc/passwd"
    assert man._line("'a' \\n") == "\\&'a' \\en"


def test_exit_codes_are_those_of_the_page_of_the_command_line() -> None:
    page = read(PAGES["peerpost.1"])
    for code in ("0", "2", "65", "77", "129, 130, 143", "141"):
        assert f".TP\n{code}\n" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    "lint",
    [
        ("mandoc", "-Tlint", "-W", "warning"),
        ("man", "--warnings", "-l", "-E", "UTF-8", "-P", "cat"),
    ],
    ids=["mandoc", "man"],
)
def test_who_reads_them_has_nothing_to_complain_of(lint: tuple[str, ...], tmp_path: Path) -> None:
    if shutil.which(lint[0]) is None:
        pytest.skip(f"there is no {lint[0]} here")
    for path in man.write(tmp_path / "man1"):
        done = subprocess.run([*lint, path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), (path.name, done)
        if lint[0] == "mandoc":
            assert done.stdout == "", path.name
        else:
            assert "SYNOPSIS" in done.stdout
    (tmp_path / "bad.1").write_text(".XX nonsense\n")
    done = subprocess.run([*lint, tmp_path / "bad.1"], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr != ""


def test_an_argument_is_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert man.main([]) == 2
    assert man.main(["--to"]) == 2
    assert man.main([str(tmp_path / "a" / "man1")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(PAGES)
