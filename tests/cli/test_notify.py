"""`peerpost notify`: a notification becomes a text; what is none says what is expected, and nothing is sent."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from peerpost.cli import notices
from peerpost.client.rpc import Request

from .conftest import ENTRY, FakeNode, Shell


@pytest.fixture
def ready(node: FakeNode) -> FakeNode:
    def queued(request: Request) -> dict[str, Any]:
        return {**ENTRY, "contact": request.params["contact"]}

    tagged = [{"id": f"id-{n}", "name": n, "state": "active", "tags": ["ops"]} for n in "ab"]
    node.answers |= {"send-net": queued, "contacts.list": tagged}
    return node


def sent(node: FakeNode) -> list[dict[str, Any]]:
    return [params for method, params in node.asked if method == "send-net"]


def notify(shell: Shell, stdin: str | bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    return shell.process("--json", "notify", "--contact", "bob", *options, stdin=data)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--title", "web1", "--body", "is full"), "web1\nis full"),
        (("--title", "web1\nand more\t", "--body", "a\nb\n\n"), "web1 and more\na\nb"),
        (("--title", "web1"), "web1"),
        (("--body", "is full", "--type", "warning"), "[warning] is full"),
        (("--title", "x", "--body", "y", "--type", "info"), "x\ny"),
    ],
)
def test_options_make_a_text(
    ready: FakeNode, shell: Shell, options: tuple[str, ...], text: str
) -> None:
    ran = shell("notify", "--contact", "bob", *options)
    assert (ran.code, sent(ready)) == (0, [{"contact": "bob", "text": text}])
    assert ran.out == "7hq2m  queued  text  to bob\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"title": "t", "body": "b", "type": "failure"}, "[failure] t\nb"),
        ({"title": "t", "message": "b", "type": "info", "version": "1.0"}, "t\nb"),
        ({"title": None, "body": "ä", "type": "SUCCESS"}, "[success] ä"),
        ({"body": "b", "format": "markdown"}, "b"),
    ],
)
def test_json_makes_a_text(ready: FakeNode, shell: Shell, told: dict[str, Any], text: str) -> None:
    done = notify(shell, json.dumps(told, indent=2))
    assert (done.returncode, done.stderr) == (0, b"")
    assert [params["text"] for params in sent(ready)] == [text]


@pytest.mark.slow
def test_one_on_each_line_to_each_contact_in_order(ready: FakeNode, shell: Shell) -> None:
    lines = "\n".join(json.dumps({"body": body}) for body in "xyz")
    done = shell.process("notify", "--to-tag", "ops", stdin=f"\ufeff{lines}\n".encode())
    assert done.returncode == 0
    assert [(one["text"], one["contact"]) for one in sent(ready)] == [
        (body, name) for body in "xyz" for name in "ab"
    ]


@pytest.mark.slow
def test_what_is_not_sent_is_said(ready: FakeNode, shell: Shell) -> None:
    told = {"body": "b", "attachments": [{"name": "x"}], "tag": "", "url\x1b": 1}
    done = shell.process("notify", "-c", "bob", stdin=json.dumps(told).encode())
    assert done.returncode == 0
    assert b"Not sent, as only title, body and type are: attachments, url<U+001B>." in done.stderr
    assert len(sent(ready)) == 1


BAD: list[Any] = [
    b"",
    b" \n",
    b"{",
    b"hello",
    b'"hello"',
    b"[]",
    b'[{"body": "x"}]',
    b"{}",
    b"null",
    b"NaN",
    b'{"body": ""}',
    b'{"title": " ", "body": "\\n"}',
    b'{"body": 5}',
    b'{"title": ["x"], "body": "b"}',
    b'{"body": "b", "type": "alarm"}',
    b'{"body": "b", "type": 1}',
    b'{"body": "a", "body": "b"}',
    b'{"body": "a", "message": "b"}',
    b'{"body": "\xff"}',
    b'{"body": "\\ud800"}',
    b'{"body": "a\nb"}',
    b'{"body": "ok"} trailing',
    b'{"body": "ok"}\n{"body": ""}',
    b'{"body": "ok"}, {"body": "ok"}',
    b"[" * 100_000,
    b'{"body": ' + b"1" * 5000 + b"}",
    b'{"title": "' + b"x" * (61 << 10) + b'"}',
    b'{"body": "ok"}\n' * 1001,
    b'{"body": "' + b"x" * (1 << 20) + b'"}',
]


@pytest.mark.slow
@pytest.mark.parametrize("data", BAD, ids=range(len(BAD)))
def test_what_is_no_notification_is_refused_and_nothing_is_sent(
    ready: FakeNode, shell: Shell, data: bytes
) -> None:
    done = notify(shell, data)
    assert (done.returncode, done.stdout, sent(ready)) == (65, b"", [])
    (line,) = done.stderr.splitlines()
    error = json.loads(line)["error"]
    assert error["code"] == "bad_input"
    assert "nothing was sent" in error["hint"]


@pytest.mark.slow
def test_the_error_says_which_and_what_is_expected(ready: FakeNode, shell: Shell) -> None:
    done = shell.process("notify", "-c", "bob", stdin=b'{"body": "ok"}\n{"body": "x", "type": "y"}')
    assert done.returncode == 65
    assert b"notification 2: 'type' is none of info, success, warning, failure" in done.stderr
    assert b'expected is {"title": TEXT, "body": TEXT, "type": ' in done.stderr


@pytest.mark.slow
def test_a_key_is_for_one(ready: FakeNode, shell: Shell) -> None:
    two = '{"body": "x"}\n{"body": "y"}'
    done = notify(shell, two, "--once", "k")
    assert (done.returncode, sent(ready)) == (2, [])
    assert b"--once is for one notification, and these are 2" in done.stderr
    done = notify(shell, '{"body": "x"}', "--once", "k", "--lane", "bulk", "--expires", "1d")
    assert done.returncode == 0
    assert sent(ready) == [
        {"contact": "bob", "text": "x", "once": "k", "lane": "bulk", "expires_s": 86400}
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--title", "x"), "missing option '--contact'"),
        (("-c", "bob", "--type", "info"), "--type goes with --title and --body"),
        (("-c", "bob", "--body", "x", "--timeout", "5s"), "--timeout needs --wait"),
        (("-c", "bob", "--body", "x", "--once", ""), "--once takes a key"),
        (("-c", "bob", "--body", "x", "--type", "alarm"), "alarm"),
        (("-c", "bob", "x"), "unexpected extra argument"),
    ],
)
def test_options_that_make_no_sense(
    ready: FakeNode, shell: Shell, arguments: tuple[str, ...], said: str
) -> None:
    ran = shell("notify", *arguments)
    assert (ran.code, sent(ready)) == (2, [])
    assert said in ran.err


def test_an_empty_one_by_options_is_refused(ready: FakeNode, shell: Shell) -> None:
    ran = shell("notify", "-c", "bob", "--title", " ", "--body", "")
    assert (ran.code, sent(ready)) == (65, [])


def test_a_text_has_no_more_than_one_message_takes() -> None:
    assert notices.Notice(body="x" * notices.MAX_TEXT_BYTES).text()
    with pytest.raises(notices.BadInputError, match="longer than 60 KiB"):
        notices.Notice(body="x" * notices.MAX_TEXT_BYTES, title="y").text()
