"""`inbox watch|ack|readers` and `send --once`: what they print, how they end, and what they do not take."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.rpc import Request
from peerpost.errors import BadInputError, NotFoundError, UnavailableError

from .conftest import ENTRY, NEVER, Events, FakeNode, Shell

HOSTILE = "a\x1b[31m\u202ered\nline \U0001f600"


def item(number: int, **more: Any) -> dict[str, Any]:
    row = {
        "id": f"k3f{number}", "contact": "bob", "kind": "text", "size": 5, "unread": True,
        "received_at": "2027-01-15T08:00:00.000Z", "sent_at": "2027-01-15T08:00:00.000Z",
        "gap": False, "preview": f"text {number}", "name": None, "directory": False,
        "files": None, "path": None, "cursor": str(number), "body": f"text {number}", "error": None,
    }  # fmt: skip
    return row | more


def told(*rows: dict[str, Any], after: str = "0") -> list[Any]:
    return [{"after": after}, *({"item": row} for row in rows)]


def stream(*events: Any, end: Any = NEVER) -> Events:
    return Events(list(events), end)


@contextmanager
def watching(home: Path, *options: str, json_: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "peerpost.cli", "--home", str(home), "inbox", "watch"]
    process = subprocess.Popen(
        [*command, *(["--json"] if json_ else []), *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, err = process.communicate(timeout=30)
    return process.returncode, err.decode()


@pytest.mark.slow
def test_each_message_is_an_object_on_a_line(node: FakeNode, shell: Shell) -> None:
    rows = [item(1), item(2, body=HOSTILE, preview=HOSTILE), item(3, kind="file", body=None)]
    node.answers["inbox.watch"] = stream(*told(*rows))
    done = shell.process("inbox", "watch", "--json", "--limit", "3")
    assert (done.returncode, done.stderr) == (0, b"")
    assert [json.loads(text) for text in done.stdout.splitlines()] == rows
    assert done.stdout.isascii()
    assert node.params == {"reader": "default"}


@pytest.mark.slow
def test_a_person_reads_a_line_for_each(node: FakeNode, shell: Shell) -> None:
    rows = [
        item(1, preview=HOSTILE),
        item(2, kind="file", name="a.pdf", preview="a.pdf", size=5_000_000, body=None),
        item(3, kind="file", name="b", preview="b", directory=True, body=None),
        item(4, body=None, error="chunk 3 of the stored file is damaged"),
    ]
    node.answers["inbox.watch"] = stream(*told(*rows))
    done = shell.process("inbox", "watch", "--limit", "4", "--as", "bot", "--after", "0")
    assert done.stdout.decode().splitlines() == [
        "k3f1  bob  a<U+001B>[31m<U+202E>red\\nline \U0001f600",
        "k3f2  bob  a.pdf (file, 4.8 MiB)",
        "k3f3  bob  b (folder, 5 B)",
        "k3f4  bob  (cannot be read: chunk 3 of the stored file is damaged)",
    ]
    assert node.params == {"reader": "bot", "after": "0"}


@pytest.mark.slow
def test_a_long_text_is_one_line_and_what_breaks_off_is_none(node: FakeNode, shell: Shell) -> None:
    answers = [
        stream({"after": "0"}, {"long": item(1, body=None), "text": "cut "}, end=UnavailableError("gone")),
        stream({"after": "0"}, {"long": item(1, body=None), "text": "wh"}, {"text": "ole"}, {"end": True}),
    ]  # fmt: skip
    node.answers["inbox.watch"] = lambda _: answers.pop(0)
    done = shell.process("inbox", "watch", "--json", "--limit", "1")
    assert json.loads(done.stdout)["body"] == "whole"
    assert [params.get("after") for method, params in node.asked if method == "inbox.watch"] == [
        None,
        "0",
    ]


@pytest.mark.slow
def test_it_goes_on_after_the_last_that_was_printed(node: FakeNode, shell: Shell) -> None:
    def answer(request: Request) -> Events:
        first = int(request.params.get("after", "0")) + 1
        rows = told(item(first), item(first + 1), after=str(first - 1))
        return stream(*rows, end=UnavailableError("the node is stopping"))

    node.answers["inbox.watch"] = answer
    done = shell.process("inbox", "watch", "--json", "--limit", "7")
    assert (done.returncode, done.stderr) == (0, b"")
    cursors = [json.loads(text)["cursor"] for text in done.stdout.splitlines()]
    assert cursors == [str(number) for number in range(1, 8)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInputError("there is no message 9 yet"), 65),
        (UnavailableError("the running node cannot do this"), 69),
    ],
)
def test_what_keeps_it_from_beginning_ends_it(
    node: FakeNode, shell: Shell, error: Exception, code: int
) -> None:
    node.answers["inbox.watch"] = error
    done = shell.process("inbox", "watch", "--json")
    assert done.returncode == code
    assert json.loads(done.stderr)["error"]["code"] == error.code  # type: ignore[attr-defined]


@pytest.mark.slow
def test_without_a_node_and_not_to_start_one(home: Path, shell: Shell) -> None:
    assert shell.process("inbox", "watch", "--no-spawn").returncode == 69


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_without_a_word(node: FakeNode, number: signal.Signals) -> None:
    node.answers["inbox.watch"] = stream(*told(item(1)))
    with watching(node.home) as process:
        line(process)
        process.send_signal(number)
        code, err = ended(process)
    assert code == 128 + number
    assert [json.loads(text)["error"]["code"] for text in err.splitlines()] == [
        {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung_up"}[number.name]
    ]


@pytest.mark.slow
def test_a_reader_who_leaves_ends_it_at_once(node: FakeNode) -> None:
    """Though nothing more comes that could not be written."""
    node.answers["inbox.watch"] = stream(*told(item(1)))
    with watching(node.home) as process:
        line(process)
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=30) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.slow
@pytest.mark.parametrize("streams", [">&-", ">/dev/full"])
def test_what_cannot_be_printed_ends_it(node: FakeNode, streams: str) -> None:
    node.answers["inbox.watch"] = stream(*told(item(1)))
    command = f"{sys.executable} -m peerpost.cli --home {node.home} inbox watch {streams}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, check=False)
    assert done.returncode == 74


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--json"], '{"event": "deleted", "messages": 3}\n'),
        ([], "3 messages were deleted before they were acknowledged.\n"),
        (["--quiet"], ""),
    ],
)
def test_what_was_deleted_is_told(
    node: FakeNode, shell: Shell, options: list[str], said: str
) -> None:
    node.answers["inbox.watch"] = stream({"after": "1"}, {"deleted": 3}, {"item": item(5)})
    done = shell.process("inbox", "watch", "--limit", "1", *options)
    assert (done.returncode, done.stderr.decode()) == (0, said)


def misuse(shell: Shell) -> Callable[..., None]:
    def refused(*arguments: str, says: str) -> None:
        ran = shell("--json", *arguments)
        assert ran.code == 2, ran
        assert says in json.loads(ran.err)["error"]["message"]

    return refused


def test_misuse(node: FakeNode, shell: Shell) -> None:
    refused = misuse(shell)
    for name in ("", "a b", "-x", "x" * 65, "ä", "../x"):
        for command in (("watch",), ("ack", "1")):
            refused("inbox", *command, f"--as={name}", says="no name of a reader")
    for cursor in ("", "x", "1-a", "1.5", "9" * 19):
        refused("inbox", "watch", f"--after={cursor}", says="no cursor")
        refused("inbox", "ack", cursor, says="no cursor")
    refused("inbox", "ack", says="either CURSOR or --newest")
    refused("inbox", "ack", "1", "--newest", says="either CURSOR or --newest")
    refused("inbox", "watch", "--limit", "0", says="0 is not in the range")
    refused("inbox", "watch", "--as", "a", "--as", "b", says="twice")
    refused("send", "-c", "bob", "--once", "", "hi", says="key")
    refused("send", "-c", "bob", "--once", "x" * 201, "hi", says="key")
    refused("send", "-c", "bob", "--once", "x", "--file", __file__, says="texts")
    assert node.asked == []


def test_ack(node: FakeNode, shell: Shell) -> None:
    row = {"reader": "bot", "cursor": "7", "acknowledged_at": "2027-01-15T08:00:00.000Z"}
    node.answers["inbox.ack"] = row
    ran = shell("--json", "inbox", "ack", "7", "--as", "bot")
    assert (ran.code, json.loads(ran.out), ran.err) == (0, row, "")
    assert node.params == {"reader": "bot", "cursor": "7"}
    ran = shell("inbox", "ack", "5", "--as", "bot")
    assert (ran.code, ran.out) == (0, "bot  7\n")
    assert ran.err == "bot was beyond that already, and stays at 7.\n"
    assert shell("inbox", "ack", "--newest").code == 0
    assert node.params == {"reader": "default"}
    node.answers["inbox.ack"] = BadInputError("there is no message 9 yet")
    assert shell("inbox", "ack", "9").code == 65


def test_readers(node: FakeNode, shell: Shell) -> None:
    row = {"reader": "bot", "cursor": "7", "acknowledged_at": "2027-01-15T08:00:00.000Z"}
    node.answers["inbox.readers"] = [row | {"waiting": 3}]
    assert json.loads(shell("--json", "inbox", "readers").out) == row | {"waiting": 3}
    assert shell("inbox", "readers").out.splitlines() == [
        "READER  CURSOR  WAITING  ACKNOWLEDGED",
        "bot     7       3        2027-01-15T08:00:00.000Z",
    ]
    node.answers["inbox.readers"] = []
    ran = shell("inbox", "readers")
    assert (ran.out, ran.err) == ("", "Nobody has acknowledged anything.\n")
    node.answers["inbox.readers.remove"] = row
    assert shell("inbox", "readers", "--remove", "bot").out == "bot  removed\n"
    node.answers["inbox.readers.remove"] = NotFoundError("no reader 'bot'")
    assert shell("inbox", "readers", "--remove", "bot").code == 67


def test_what_was_sent_before_is_said_to_be(node: FakeNode, shell: Shell) -> None:
    node.answers["send-net"] = ENTRY | {"repeated": True}
    ran = shell("send", "-c", "bob", "--once", "k", "hi")
    assert (ran.code, node.params["once"]) == (0, "k")
    assert ran.err == "Nothing was sent: bob was sent this one under that key before.\n"
    node.answers["send-net"] = ENTRY | {"repeated": False}
    assert shell("send", "-c", "bob", "--once", "k", "hi").err == ""
