"""The command line as such: options anywhere, exit codes, errors, signals, start-up."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from peerpost import errors
from peerpost.cli.app import App, Group
from peerpost.cli.main import COMMANDS, root, run
from peerpost.errors import PeerpostError

from .conftest import NEVER, Events, FakeNode, Shell

PEERPOST = [sys.executable, "-m", "peerpost.cli"]


def pages() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    context = click.Context(root, obj=App())
    for name in COMMANDS:
        command = root.get_command(context, name)
        if name in ("demo", "bench"):
            continue
        found.append((name,))
        if isinstance(command, Group):
            found.extend((name, sub) for sub in command.commands)
    return found


@pytest.mark.parametrize("path", pages(), ids=" ".join)
def test_every_help_page_ends_with_examples(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: {' '.join(('peerpost', *path))}")
    *_, examples = shown.partition("\nExamples:\n")
    assert re.search(r"^  .*peerpost", examples, re.MULTILINE)
    assert run([*path, "-h"]) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "contacts", "list"],
        ["contacts", "--json", "list"],
        ["contacts", "list", "--json"],
    ],
)
def test_global_options_stand_anywhere(
    node: FakeNode, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    node.answers["contacts.list"] = [{"id": "x", "name": "bob"}]
    assert run(["--home", str(node.home), *arguments]) == 0
    assert json.loads(capsys.readouterr().out) == {"id": "x", "name": "bob"}
    assert run([*arguments, "--home", str(node.home)]) == 0


def test_home_from_the_environment(
    node: FakeNode, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEERPOST_HOME", str(node.home))
    node.answers["contacts.list"] = []
    assert run(["contacts", "list"]) == 0


def error_classes() -> list[type[PeerpostError]]:
    return [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("class_", error_classes())
def test_every_error_has_its_exit_code(
    node: FakeNode, shell: Shell, class_: type[PeerpostError]
) -> None:
    node.answers["contacts.list"] = class_("it \x1b[31mfailed", hint="try \u202ethis")
    ran = shell("contacts", "list")
    assert (ran.code, ran.out) == (class_.exit_code, "")
    assert ran.err == "error: it <U+001B>[31mfailed\nhint:  try <U+202E>this\n"
    ran = shell("contacts", "list", "--json")
    error = {"code": class_.code, "message": "it \x1b[31mfailed", "hint": "try \u202ethis"}
    assert json.loads(ran.err) == {"error": error}
    assert ran.err.isascii()


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["contcts"], "there is no command 'contcts'", "did you mean 'contacts'?"),
        (["zzz"], "there is no command 'zzz'", "see: peerpost --help"),
        (["contacts", "lst"], "there is no command 'lst'", "did you mean 'list'?"),
        (["contacts", "show"], "missing argument 'NAME'", "see: peerpost contacts show --help"),
        (["send-net", "hi"], "missing option '--contact'", "send --help"),
        (["send", "-c", "bob", "-hello"], "no such option '-e'", "begins with - goes after --"),
        (["--home", "", "inbox", "list"], "it is empty: name a folder", "see: peerpost --help"),
        (["contacts", "list", "--jsn"], "no such option '--jsn'", "contacts list --help"),
        (["send", "--contact", "b", "--lane", "x", "t"], "'x' is not one of", "--help"),
        (["contacts", "invite", "b", "--expires", "soon"], "'soon' is not a duration", "--help"),
        (["send", "--contact", "b"], "nothing to send", "TEXT"),
        (["send", "--contact", "b", ""], "the text is empty", None),
        (["send", "--contact", "b", "two", "words"], "one argument", 'quote it: "two words"'),
        (["send", "--contact", "b", "x", "--timeout", "3"], "--timeout needs --wait", None),
        (["send", "--contact", "b", "x", "--name", "y"], "--name is for files", None),
        (["contacts", "add", "b"], "needs one ticket", "--ticket-file"),
        (["contacts", "add", "b", "PP1", "--ticket-file", "f"], "needs one ticket", "argument"),
        (["contacts", "add", "b", "--id", "f"], "--id and --address belong together", None),
        (["contacts", "edit", "b"], "nothing to change", "--rename"),
    ],
)
def test_usage(shell: Shell, arguments: list[str], message: str, hint: str | None) -> None:
    ran = shell(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err.splitlines()[0]
    assert hint is None or hint in ran.err.splitlines()[1]
    ran = shell(*arguments, "--json")
    assert json.loads(ran.err)["error"]["code"] == "usage"


def test_nobody_is_there_to_choose_a_passphrase(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Shell(tmp_path / "new", capsys)("identity", "new")
    assert (ran.code, ran.out) == (2, "")
    assert "no passphrase was given" in ran.err
    assert "--no-passphrase" in ran.err
    assert not (tmp_path / "new" / "keyfile").exists()


def test_no_arguments_show_the_help_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Usage: peerpost")


@pytest.mark.parametrize("group", [(), ("inbox",), ("contacts",), ("limits",), ("node",)])
def test_a_program_that_forgets_the_command_gets_an_error(
    capsys: pytest.CaptureFixture[str], group: tuple[str, ...]
) -> None:
    for arguments in (["--json", *group], [*group, "--json"]):
        assert run(arguments) == 2
        captured = capsys.readouterr()
        error = json.loads(captured.err)["error"]
        assert (captured.out, error["code"]) == ("", "usage")
        assert error["message"] == "missing command"
        assert error["hint"] == f"see: {' '.join(('peerpost', *group))} --help"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert re.fullmatch(r"peerpost \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)
    assert run(["--json", "--version"]) == 0
    assert json.loads(capsys.readouterr().out)["version"]


def test_bug_is_one_line_and_a_traceback_with_debug(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(App, "call", broken)
    ran = shell("contacts", "list")
    assert (ran.code, ran.err.splitlines()[0]) == (1, "error: unexpected ZeroDivisionError: oops")
    assert "Traceback" not in ran.err
    assert "Traceback" in shell("contacts", "list", "--debug").err


def test_no_spawn_and_no_identity(home: Path, shell: Shell) -> None:
    assert shell("contacts", "list", "--no-spawn").code == 69
    (home / "keyfile").unlink()
    ran = shell("contacts", "list")
    assert ran.code == 78
    assert "identity new" in ran.err
    assert sorted(home.iterdir()) == []


@pytest.mark.slow
def test_reader_that_leaves_is_no_error(node: FakeNode) -> None:
    node.answers["contacts.list"] = [{"id": str(n), "name": "x" * 100} for n in range(5000)]
    command = [*PEERPOST, "--home", str(node.home), "contacts", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


@pytest.mark.slow
def test_full_disk_behind_stdout(node: FakeNode) -> None:
    node.answers["contacts.list"] = [{"id": "x", "name": "bob"}]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PEERPOST, "--home", str(node.home), "contacts", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=20,
        )
    assert done.returncode == 74
    assert done.stderr == b"error: cannot write: No space left on device\n"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_that_only_looks_without_a_word(
    node: FakeNode, number: int, code: int
) -> None:
    node.answers["contacts.list"] = Events([], NEVER)
    process = subprocess.Popen(
        [*PEERPOST, "--home", str(node.home), "contacts", "list"], stderr=subprocess.PIPE
    )
    node.until_asked()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert err.strip() == b""


HEAVY = {"asyncio", "libp2p", "trio", "rich", "orjson", "msgspec", "logging", "apsw", "segno"}


def loaded(arguments: list[str], home: Path) -> set[str]:
    code = (
        "import sys, json, io\nfrom peerpost.cli.main import run\n"
        f"run({arguments!r})\nprint(json.dumps(list(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        timeout=20,
        env=os.environ | {"PEERPOST_HOME": str(home)},
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.slow
def test_start_up_loads_nothing_heavy(node: FakeNode) -> None:
    node.answers["contacts.list"] = [{"id": "x", "name": "bob", "last_seen": None}]
    node.answers["send-net"] = Events(
        [], {"id": "x", "state": "queued", "kind": "text", "contact": "b"}
    )
    for arguments in (["--help"], ["contacts", "list"], ["send", "--contact", "b", "hi"]):
        assert not HEAVY & loaded(arguments, node.home), arguments


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["contacts", "list"]])
def test_start_up_is_quick(node: FakeNode, arguments: list[str]) -> None:
    node.answers["contacts.list"] = [{"id": "x", "name": "bob"}]
    command = [*PEERPOST, "--home", str(node.home), *arguments]
    bare = [sys.executable, "-c", "import click"]

    def took(what: list[str]) -> float:
        # CPU time, against that of what cannot be done without: the machine is busy with others.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(what, check=True, stdout=subprocess.DEVNULL, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(took(command) for _ in range(5)) <= 3 * min(took(bare) for _ in range(5))


@pytest.mark.slow
def test_help_page_whose_reader_leaves() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run([*PEERPOST, "--help"], check=False, stdout=write_end, timeout=60)
    os.close(write_end)
    assert done.returncode == 141


def test_options_reach_the_node_that_is_started() -> None:
    app = App()
    app.verbose, app.log_format = 1, "json"
    assert app.node_args() == ["--log-level", "info", "--log-format", "json"]
    app.log_level = "error"
    assert app.node_args()[1] == "error"


def test_an_option_that_counts_once_is_not_given_twice(shell: Shell) -> None:
    ran = shell("inbox", "list", "--contact", "bob", "-c", "dave")
    assert ran.code == 2
    assert "--contact is given twice" in ran.err
