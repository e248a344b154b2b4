"""`peerpost rpc`: each request of a program is answered, whatever it is and whatever becomes of the node."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.relay import MOST_OPEN
from peerpost.errors import NotFoundError, UnavailableError

from .conftest import NEVER, Events, FakeNode, Shell, until

pytestmark = pytest.mark.slow


def asked(id_: Any, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def serve(shell: Shell, *requests: Any) -> list[Any]:
    lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in requests]
    done = shell.process("rpc", stdin=b"\n".join(lines))
    assert (done.returncode, done.stderr) == (0, b""), done
    return [json.loads(line) for line in done.stdout.splitlines()]


class Program:
    """A program that has `peerpost rpc` as a child."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def ask(self, id_: Any, method: str, **params: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked(id_, method, **params)).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


@contextmanager
def program(home: Path, *options: str) -> Iterator[Program]:
    process = subprocess.Popen(
        [sys.executable, "-m", "peerpost.cli", "--home", str(home), "rpc", *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    timer = threading.Timer(40, process.kill)
    timer.start()
    try:
        yield Program(process)
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]


def test_each_request_is_answered_under_its_id(node: FakeNode, shell: Shell) -> None:
    node.answers["contacts.list"] = [{"name": "bob ä"}]
    node.answers["inbox.show"] = NotFoundError("no message k", hint="see: peerpost inbox list")
    answers = serve(
        shell,
        asked(7, "contacts.list"),
        asked("x", "inbox.show", id="k"),
        asked(None, "contacts.list"),
        {"jsonrpc": "2.0", "method": "contacts.list"},
        {"jsonrpc": "2.0", "id": 8, "method": "contacts.list"},
    )
    found = {json.dumps(one["id"]): one for one in answers}
    assert set(found) == {"7", '"x"', "null", "8"}
    assert found["7"] == {"jsonrpc": "2.0", "id": 7, "result": [{"name": "bob ä"}]}
    error = found['"x"']["error"]
    assert (error["code"], error["message"]) == (-32000, "no message k")
    assert error["data"] == {
        "code": "not_found", "exit_code": 67, "hint": "see: peerpost inbox list"
    }  # fmt: skip
    assert [method for method, _ in node.asked].count("contacts.list") == 4


def test_what_is_no_request_is_refused_and_keeps_nothing_up(node: FakeNode, shell: Shell) -> None:
    node.answers["contacts.list"] = []
    answers = serve(
        shell,
        b"{",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        [asked(1, "contacts.list")],
        {"id": 2},
        {"id": 3, "method": 7},
        {"id": {}, "method": "contacts.list"},
        {"id": True, "method": "contacts.list"},
        {"id": 1.5, "method": "contacts.list"},
        {"id": 4, "method": "contacts.list", "params": [1]},
        {"id": 5, "method": "inbox.save", "fds": 1},
        {"id": 6, "method": "send-net", "files": [{}]},
        {"id": 7, "method": "send-net", "params": {"text": "\ud800"}},
        b'{"id": 9, "method": "send-net", "params": {"text": ' + b"[" * 900 + b"]" * 900 + b"}}",
        b"",
        b"   ",
        asked(8, "contacts.list"),
    )
    deep, *answers = sorted(answers, key=lambda one: one["id"] != 9)
    assert "result" not in deep
    assert [(one["id"], one["error"]["code"]) for one in answers[:-1]] == [
        (None, -32700), (None, -32700), (None, -32600), (None, -32700), (None, -32600), (2, -32600),
        (3, -32600), (None, -32600), (None, -32600), (None, -32600), (4, -32602), (5, -32600),
        (6, -32600), (7, -32000),
    ]  # fmt: skip
    assert answers[-1] == {"jsonrpc": "2.0", "id": 8, "result": []}
    assert [method for method, _ in node.asked if method != "send-net"] == ["contacts.list"]


def test_too_long_a_request_ends_it(node: FakeNode, shell: Shell) -> None:
    done = shell.process("rpc", stdin=b"x" * (3 << 20))
    assert done.returncode == 65
    assert json.loads(done.stderr)["error"]["code"] == "bad_input"
    assert node.asked == []


def test_events_come_beside_answers(node: FakeNode) -> None:
    node.answers["inbox.watch"] = Events([{"after": "0"}, {"item": {"id": "k"}}], NEVER)
    node.answers["contacts.list"] = []
    with program(node.home) as bot:
        bot.ask("w", "inbox.watch", reader="bot")
        for event in ({"after": "0"}, {"item": {"id": "k"}}):
            assert bot.hear() == {
                "jsonrpc": "2.0", "method": "inbox.watch.event",
                "params": {"id": "w", "event": event},
            }  # fmt: skip
        bot.ask(2, "contacts.list")
        assert bot.hear() == {"jsonrpc": "2.0", "id": 2, "result": []}
        assert bot.process.stdin is not None
        bot.process.stdin.close()
        assert bot.process.wait(timeout=30) == 0, "a watch alone does not keep it"


def test_the_end_of_a_node_is_an_answer_and_the_next_one_is_found(home: Path) -> None:
    with program(home, "--no-spawn") as bot:
        with closing(FakeNode(home)) as first:
            first.answers["inbox.watch"] = Events([{"after": "0"}], NEVER)
            bot.ask(1, "inbox.watch", reader="bot")
            assert bot.hear()["params"]["event"] == {"after": "0"}
        ended = bot.hear()
        assert (ended["id"], ended["error"]["data"]["code"]) == (1, "unavailable")
        bot.ask(2, "contacts.list")
        assert bot.hear()["error"]["data"]["exit_code"] == 69
        with closing(FakeNode(home)) as second:
            second.answers["contacts.list"] = []
            bot.ask(3, "contacts.list")
            assert bot.hear() == {"jsonrpc": "2.0", "id": 3, "result": []}


def test_no_more_are_open_at_once_than_both_sides_can_take(node: FakeNode) -> None:
    going_on = threading.Event()
    node.answers["contacts.list"] = lambda _: going_on.wait(30) and []
    with program(node.home) as bot:
        for number in range(3 * MOST_OPEN):
            bot.ask(number, "contacts.list")
        until(lambda: len(node.asked) >= 1)
        going_on.set()
        assert {bot.hear()["id"] for _ in range(3 * MOST_OPEN)} == set(range(3 * MOST_OPEN))


def test_a_reader_who_leaves_ends_it(node: FakeNode) -> None:
    node.answers["contacts.list"] = []
    with program(node.home) as bot:
        bot.ask(1, "contacts.list")
        bot.hear()
        assert bot.process.stdout is not None
        bot.process.stdout.close()
        assert bot.process.wait(timeout=30) == 141


def test_without_a_node_each_request_says_so(home: Path, shell: Shell) -> None:
    done = shell.process("rpc", "--no-spawn", stdin=json.dumps(asked(1, "contacts.list")).encode())
    assert done.returncode == 0
    assert json.loads(done.stdout)["error"]["data"]["code"] == UnavailableError.code
