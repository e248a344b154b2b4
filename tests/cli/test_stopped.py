"""A command that a signal ends: quiet from the first moment, once, and honest about what was done."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peerpost import cli

from .conftest import ENTRY, NEVER, Events, FakeNode, until

PEERPOST = [sys.executable, "-m", "peerpost.cli"]
AGAIN_S = 10.0
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung_up"}


@contextlib.contextmanager
def started(home: Path, *arguments: str, **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [*PEERPOST, "--home", str(home), *arguments]
    process = subprocess.Popen(command, **{**pipes, **how})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.slow
@pytest.mark.parametrize("number", WORDS)
@pytest.mark.parametrize(
    "modules", [("peerpost.cli", "click"), ("peerpost.cli", "json"), ("peerpost.node", "argparse")]
)
@pytest.mark.parametrize(
    "options",
    [("--help",), ("--json", "inbox", "list"), ("send", "--json"), ("send", "--", "--json")],
)
def test_no_traceback_while_modules_are_loaded(
    tmp_path: Path, number: signal.Signals, modules: tuple[str, str], options: tuple[str, ...]
) -> None:
    # A module that takes as long to load as a cold disk makes it.
    program, slow = modules
    mark = tmp_path / "loading"
    (tmp_path / f"{slow}.py").write_text(
        f"import pathlib, time\npathlib.Path({str(mark)!r}).touch()\nwhile True: time.sleep(0.05)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", program, *options],
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    try:
        until(mark.exists)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    if program == "peerpost.node":
        assert err == b""
    elif "--json" in options and "--" not in options:
        said = {"code": WORDS[number], "message": "Nothing was done", "hint": None}
        assert json.loads(err) == {"error": said}
    else:
        assert err == b"Interrupted. Nothing was done\n"


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--json",), ()])
def test_a_command_that_has_asked_for_nothing_says_so(
    home: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    # The module of the command takes as long to load as a cold disk makes it.
    mark = tmp_path / "loading"
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, pathlib, time\n"
        "class Slow:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'peerpost.cli.commands.inbox':\n"
        f"            pathlib.Path({str(mark)!r}).touch()\n"
        "            while True: time.sleep(0.05)\n"
        "sys.meta_path.insert(0, Slow())\n"
    )
    path = os.environ | {"PYTHONPATH": str(tmp_path)}
    with started(home, *options, "inbox", "list", env=path) as process:
        until(mark.exists)
        process.send_signal(signal.SIGTERM)
        code, _, err = ended(process)
    assert code == 143
    if options:
        assert json.loads(err)["error"]["message"] == "Nothing was done"
    else:
        assert err == "Interrupted. Nothing was done\n"


@pytest.mark.slow
def test_the_installed_command_begins_where_signals_are_heeded_first() -> None:
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="peerpost")
    assert script.value == "peerpost.cli.entry:main"
    question = (
        "import sys, peerpost.cli.entry; print('click' in sys.modules, 'json' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", question], capture_output=True, check=True)
    assert done.stdout == b"False False\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", WORDS)
@pytest.mark.parametrize("options", [(), ("-q",), ("--json",), ("--json", "-q")])
def test_whoever_is_typing_hears_that_nothing_was_sent(
    home: Path, number: signal.Signals, options: tuple[str, ...]
) -> None:
    with started(home, *options, "send", "-c", "bob", "-") as process:
        assert process.stdin is not None
        process.stdin.write(b"half a wo")
        process.stdin.flush()
        pipe = process.stdin.fileno()
        until(lambda: fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)) == bytes(4))
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(AGAIN_S)
        process.send_signal(number)
        code, out, err = ended(process)
    assert (code, out) == (128 + number, "")
    if "--json" in options:
        said = {"code": WORDS[number], "message": "Nothing was sent", "hint": None}
        assert json.loads(err) == {"error": said}
    else:
        assert err == "Interrupted. Nothing was sent\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", WORDS)
@pytest.mark.parametrize("options", [(), ("--json",), ("-q", "--json")])
def test_whoever_stops_waiting_is_told_what_goes_on(
    node: FakeNode, number: signal.Signals, options: tuple[str, ...]
) -> None:
    node.answers["send-net"] = Events([ENTRY], NEVER)
    with started(node.home, *options, "send", "-c", "bob", "hi", "--wait") as process:
        assert process.stdout is not None
        assert b"7hq2m" in process.stdout.readline()
        process.send_signal(number)
        code, _, err = ended(process)
    assert code == 128 + number
    if "--json" in options:
        hint = "see: peerpost queue show 7hq2m"
        said = {"code": WORDS[number], "message": "7hq2m stays queued", "hint": hint}
        assert json.loads(err) == {"error": said}
    else:
        assert err == "Interrupted. 7hq2m stays queued; see: peerpost queue show 7hq2m\n"


def at_terminal(home: Path, question: bytes, keys: bytes, *arguments: str) -> tuple[int, str]:
    """Run a command on a terminal; press keys at its question. Return its exit code and what is shown from then on."""
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    command = [*PEERPOST, "--home", str(home), *arguments]
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen(command, preexec_fn=take_terminal, **streams)  # noqa: PLW1509
    shown = b""
    try:
        while question not in shown:
            shown += os.read(ours, 4096)
        os.write(ours, keys)
        shown = b""
        while True:
            ended = process.poll() is not None
            if select.select([ours], [], [], 0.2)[0]:
                shown += os.read(ours, 4096)
            elif ended:
                break
        return process.wait(60), shown.decode()
    finally:
        process.kill()
        os.close(ours)
        # Open until here: what is shown last is else lost now and then.
        os.close(theirs)


@pytest.mark.slow
@pytest.mark.parametrize("keys", [b"\x03", b"\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_a_question_that_is_not_answered(node: FakeNode, keys: bytes) -> None:
    node.answers["contacts.show"] = {"id": "x", "name": "bob"}
    node.answers["inbox.older"] = {"count": 2, "size": 9}
    for question, said, arguments in (
        (b"Remove bob? [y/N]: ", "removed", ("contacts", "remove", "bob")),
        (b"Delete 2 messages", "deleted", ("inbox", "delete", "--older-than", "1d")),
    ):
        code, shown = at_terminal(node.home, question, keys, *arguments)
        assert code == 130
        assert shown.replace("^C", "").endswith(f"\r\nInterrupted. Nothing was {said}\r\n")
    assert {method for method, _ in node.asked} == {"contacts.show", "inbox.older"}


@pytest.mark.slow
def test_typing_a_text_on_a_terminal(home: Path) -> None:
    code, shown = at_terminal(home, b"Ctrl-D on", b"half a wo\x03", "send", "-c", "bob", "-")
    assert (code, shown.rpartition("^C")[2]) == (130, "\r\nInterrupted. Nothing was sent\r\n")
    code, shown = at_terminal(home, b"Ctrl-D on", b"PP1\x03", "contacts", "add", "bob", "-")
    assert (code, shown.rpartition("^C")[2]) == (130, "\r\nInterrupted. Nobody was added\r\n")


def slowly(answer: Any, seconds: float) -> Callable[[Any], Any]:
    def give(_: Any) -> Any:
        time.sleep(seconds)
        return answer

    return give


@pytest.mark.slow
@pytest.mark.parametrize("number", WORDS)
def test_an_answer_that_is_due_is_waited_for(node: FakeNode, number: signal.Signals) -> None:
    node.answers["send-net"] = slowly(ENTRY, 0.8)
    node.answers["contacts.remove"] = slowly({"id": "x", "name": "bob"}, 0.8)
    for arguments, row in (
        (("send", "-c", "bob", "hi"), "7hq2m"),
        (("contacts", "remove", "bob", "--yes"), "x"),
    ):
        node.asked.clear()
        with started(node.home, *arguments, "--json") as process:
            node.until_asked()
            process.send_signal(number)
            process.send_signal(number)  # As timeout(1) does.
            code, out, err = ended(process)
        assert (code, json.loads(out)["id"]) == (128 + number, row)
        said = {"code": WORDS[number], "message": "It was done by then", "hint": None}
        assert json.loads(err) == {"error": said}


@pytest.mark.slow
@pytest.mark.parametrize("number", WORDS)
def test_what_was_not_answered_is_said_to_be_unknown(
    node: FakeNode, number: signal.Signals
) -> None:
    node.answers["send-net"] = slowly(ENTRY, 20)
    node.answers["contacts.remove"] = slowly({"id": "x", "name": "bob"}, 20)
    for arguments, said in (
        (("send", "-c", "bob", "hi"), "It may be queued: the node had not answered"),
        (("contacts", "remove", "bob", "--yes"), "It may have been done: the node had not"),
    ):
        node.asked.clear()
        with started(node.home, *arguments) as process:
            node.until_asked()
            process.send_signal(number)
            code, out, err = ended(process)
        assert (code, out) == (128 + number, "")
        assert err.startswith(f"Interrupted. {said}")
        assert "peerpost sent list" in err


@pytest.mark.slow
def test_a_second_signal_that_is_meant_ends_the_waiting_for_an_answer(node: FakeNode) -> None:
    node.answers["send-net"] = slowly(ENTRY, 20)
    with started(node.home, "send", "-c", "bob", "hi") as process:
        node.until_asked()
        process.send_signal(signal.SIGINT)
        began_s = time.monotonic()
        while process.poll() is None and time.monotonic() - began_s < 60:
            time.sleep(1.05)
            process.send_signal(signal.SIGINT)
        code, _, err = ended(process)
    assert code == 130
    assert err.startswith("Interrupted. It may be queued")


@pytest.mark.slow
def test_signals_that_are_ignored_stay_ignored(node: FakeNode) -> None:
    node.answers["contacts.list"] = slowly([], 1.0)
    script = f"trap '' INT TERM HUP; exec {' '.join(PEERPOST)} --home {node.home} contacts list"
    process = subprocess.Popen(["/bin/sh", "-c", script], stderr=subprocess.PIPE)
    try:
        node.until_asked()
        for number in WORDS:
            process.send_signal(number)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses at once")
def test_a_full_queue_of_connections_is_waited_for_and_said(home: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(home / "control.sock"))
    listener.listen(0)
    waiting = []
    while True:
        one = socket.socket(socket.AF_UNIX)
        waiting.append(one)
        one.setblocking(False)
        try:
            one.connect(str(home / "control.sock"))
        except BlockingIOError:
            break
    try:
        with started(home, "--json", "inbox", "list") as process:
            assert process.stderr is not None
            began_s = time.monotonic()
            assert json.loads(process.stderr.readline()) == {"event": "waiting", "pid": None}
            assert time.monotonic() - began_s >= 5
            process.send_signal(signal.SIGTERM)
            assert ended(process)[0] == 143
        # Who is at a prompt is not kept from it.
        complete = {"COMP_WORDS": "peerpost inbox show ", "COMP_CWORD": "3"}
        subprocess.run(
            PEERPOST,
            env=os.environ | complete | {"_PEERPOST_COMPLETE": "bash_complete"}
            | {"PEERPOST_HOME": str(home)},
            check=False, timeout=20, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    finally:
        for one in (*waiting, listener):
            one.close()


@pytest.mark.slow
def test_a_node_that_serves_as_many_as_it_can_says_so(node: FakeNode) -> None:
    node.answers["contacts.list"] = []
    node._server._max_connections = 0
    for _ in range(8):  # Its word may come before or after the request has left.
        with started(node.home, "--json", "contacts", "list") as process:
            code, _, err = ended(process)
        assert (code, json.loads(err)["error"]["code"]) == (69, "unavailable")
        assert json.loads(err)["error"]["message"] == "the node serves 0 commands already"


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--json",), ()])
def test_progress_is_no_answer(node: FakeNode, tmp_path: Path, options: tuple[str, ...]) -> None:
    """What is under way may be done, whatever was told of it: here, the recovery code would be lost without a word."""
    row = {"id": "store.db", "state": "active", "size": 100, "done_bytes": 10, "progress": 0.1}
    node.answers["identity.passphrase.set"] = Events([row], NEVER)
    secret = tmp_path / "secret"
    secret.write_text("four words make a sentence")
    secret.chmod(0o600)
    command = ("identity", "passphrase", "set", "--passphrase-file", str(secret))
    with started(node.home, *options, *command) as process:
        node.until_asked()
        time.sleep(0.5)  # The progress has come by then.
        process.send_signal(signal.SIGINT)
        code, out, err = ended(process)
    assert (code, out) == (130, "")
    assert "may have done it" in err
    assert "--new-recovery-code" in err


def test_questions_are_asked_by_their_owner_alone() -> None:
    """input() drops what a signal raises while it prints the question, and click asks by input()."""
    asks = {"input", "click.confirm", "click.prompt"}
    found = [
        f"{path.name}:{call.lineno}"
        for path in Path(cli.__file__).parent.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in asks
    ]
    assert found == []
