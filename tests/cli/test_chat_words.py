"""What is typed in a chat, and how messages are said: nothing that a peer wrote acts on a terminal."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.cli.chat import words
from peerpost.cli.chat.conversation import Unqueued
from peerpost.cli.chat.rows import KEPT_CHARS, ChatContact, ChatFile, ChatMessage
from peerpost.cli.chat.typed import COMMANDS, NoCommandError, TypedCommand, TypedText, read_line
from peerpost.cli.chat.words import MOST_LINES
from tests.cli.test_chat_model import received, sent, transfer

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ACTS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\u200b\r\n\tline\x00"


# What is typed


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("hello", TypedText("hello")),
        ("  two\nlines ", TypedText("  two\nlines ")),
        ("//slash", TypedText("/slash")),
        ("/to bob smith", TypedCommand("to", "bob smith")),
        ("/save", TypedCommand("save", "")),
        ("/file  a b.txt ", TypedCommand("file", "a b.txt")),
        ("   ", None),
        ("", None),
    ],
)
def test_a_line(typed: str, meant: object) -> None:
    assert read_line(typed) == meant


@pytest.mark.parametrize(
    "typed", ["/nope", "/", "/etc/passwd is here", "/to", "/quit now", "/me\nx"]
)
def test_what_is_no_command_is_not_sent_either(typed: str) -> None:
    with pytest.raises(NoCommandError) as error:
        read_line(typed)
    assert "/" in str(error.value)


@given(st.text())
def test_every_text_can_be_sent(text: str) -> None:
    typed = f"/{text}" if text.startswith("/") else text
    meant = read_line(typed)
    assert meant is None if not text.strip() else meant == TypedText(text)


def test_every_command_is_done() -> None:
    from peerpost.cli.chat.desk import Desk

    of_views = {"help", "contacts", "quit"}
    assert {name for name in COMMANDS if hasattr(Desk, f"_run_{name}")} == set(COMMANDS) - of_views


# How it is said


def said(shown: words.Shown) -> list[str]:
    return [shown.who, shown.time, *shown.lines, shown.state, shown.more]


def everything_said(text: str) -> list[str]:
    """Return every string that is made of rows in which a text stands wherever a peer can put it."""
    row: dict[str, Any] = received(1, body=text, preview=text, error=text, contact=text)
    file = row | {"kind": "file", "name": text}
    out = sent(1, body=text, state="refused", last_error=text, name=text)
    moving = ChatFile.of(transfer("active", name=text, error=text, progress=0.5, done_bytes=1))
    found: list[str] = []
    for one in (ChatMessage.received(row), ChatMessage.received(file)):
        found += said(words.message(one, text))
    for state in ("queued", "refused", "cancelled"):
        found += said(words.message(ChatMessage.sent(out | {"state": state}), text, moving=moving))
        found += said(words.message(ChatMessage.sent(out | {"state": state}), text))
    for state in ("asking", "active", "failed", "paused"):
        given = transfer(state, name=text, error=text, contact=text)
        found += said(words.transfer(ChatFile.of(given)))
    found += said(words.unqueued(Unqueued(key="", text=text, why=text)))
    found += said(words.unqueued(Unqueued(key="", text="", path=text)))
    contact = ChatContact(id="", name=text, state="removed", hint=text)
    found += [words.contact_about(contact, NOW), words.hit(row | {"match": text})]
    return found


def test_nothing_that_acts_is_left_of_a_hostile_text() -> None:
    for text in everything_said(HOSTILE):
        assert not ACTS.search(text), repr(text)
    assert any("<U+001B>" in text for text in everything_said(HOSTILE))


@given(st.text(max_size=200))
def test_nothing_that_acts_is_left_of_any_text(text: str) -> None:
    for shown in everything_said(text):
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", shown), repr(shown)


def test_a_long_text_is_shown_in_part_and_says_how_to_read_it() -> None:
    one = ChatMessage.received(received(1, body="x" * 60_000, size=60_000))
    assert len(one.text) == KEPT_CHARS
    shown = words.message(one, "bob")
    assert len("".join(shown.lines)) <= words.MOST_CHARS
    assert "/read in1" in shown.more
    lines = words.message(ChatMessage.received(received(1, body="a\n" * 1000)), "bob")
    assert (len(lines.lines), bool(lines.more)) == (MOST_LINES, True)
    assert words.message(ChatMessage.received(received(1, body="short")), "bob").more == ""


def test_a_beginning_alone_is_never_taken_for_the_whole() -> None:
    row = {key: value for key, value in received(1).items() if key != "body"}
    assert words.message(ChatMessage.received(row), "bob").more


@pytest.mark.parametrize(
    ("row", "state", "is_bad"),
    [
        ({"state": "queued"}, "queued", False),
        ({"state": "queued", "last_error": "bob is away"}, "queued: bob is away", False),
        ({"state": "queued", "last_error": "asking: accept it"}, "queued: asking: accept it", True),
        ({"state": "delivered", "last_error": "old"}, "delivered", False),
        ({"state": "refused", "last_error": "too large"}, "refused: too large", True),
        ({"state": "expired"}, "expired", True),
        ({"state": "cancelled"}, "cancelled", False),
    ],
)
def test_what_became_of_what_was_sent(row: dict[str, Any], state: str, is_bad: bool) -> None:
    shown = words.message(ChatMessage.sent(sent(1, **row)), "bob")
    assert (shown.state, shown.is_bad) == (state, is_bad)


@pytest.mark.parametrize(
    ("row", "about"),
    [
        ({"state": "active", "online": True, "verified": True}, "online"),
        ({"state": "active", "online": True}, "online; unverified"),
        (
            {"state": "active", "last_seen": "2026-11-30T11:57:00.000Z", "verified": True},
            "last seen 3 min ago",
        ),
        ({"state": "active", "verified": True}, "never seen yet"),
        ({"state": "removed", "hint": "do this", "verified": True}, "do this"),
        ({"state": "blocked", "verified": True}, "blocked"),
    ],
)
def test_how_it_stands_with_a_contact(row: dict[str, Any], about: str) -> None:
    assert words.contact_about(ChatContact.of({"id": "i", "name": "bob"} | row), NOW) == about


def test_files_and_folders_are_named_with_their_size() -> None:
    file = received(1, kind="file", name="report.pdf", size=2048, body=None)
    assert words.message(ChatMessage.received(file), "bob").lines == ["file: report.pdf (2 KiB)"]
    folder = file | {"directory": True, "files": 3}
    assert words.message(ChatMessage.received(folder), "bob").lines == [
        "folder: report.pdf (3 files, 2 KiB)"
    ]


def test_what_asks_says_how_to_answer() -> None:
    shown = words.transfer(ChatFile.of(transfer("asking", size=10)))
    assert "/accept t1" in shown.state
    assert shown.is_bad
