"""What reaches a terminal, a pipe and a program: escapes made visible, tables, colour."""

from __future__ import annotations

import io
import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.cli.safe import safe, safe_block
from peerpost.cli.terminal import Terminal, width

ATTACKS = [
    "\x1b]52;c;ZXZpbA==\x07",  # OSC 52 writes the clipboard
    "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",  # OSC 8 hides a link
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[31m",
    "\x9b31mred",  # CSI as one C1 character
    "\u202etxt.exe",
    "a\u2066b\u2069",
    "zero\u200bwidth\u200c\ufeff",
    "\u2028line\u2029",
    "fake\rlog line",
    "\x7f\x08\x08erased",
    "\U000e0041tag",
    "\ud800",
    "\ue000\U0010ffff",
    "\u0085",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_acts_on_the_terminal(attack: str) -> None:
    for shown in (safe(attack), safe_block(attack)):
        assert shown != attack
        assert not [c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn"}]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ascii", "plain ascii"),
        ("Größe 漢字 עברית", "Größe 漢字 עברית"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31m", "<U+001B>[31m"),
        ("\u202e", "<U+202E>"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("👩🏽\u200d🚀", "👩🏽\u200d🚀"),
        ("❤\ufe0f\u200d🔥", "❤\ufe0f\u200d🔥"),
        ("a\u200db", "a<U+200D>b"),
        ("👩\u200d", "👩<U+200D>"),
        ("non\u00a0breaking\u3000wide", "non\u00a0breaking\u3000wide"),
    ],
)
def test_safe(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_safe_block_keeps_lines_and_tabs() -> None:
    assert safe_block("one\r\ntwo\tthree\n\x1bfour") == "one\ntwo\tthree\n<U+001B>four"


@given(st.text(st.characters(codec=None)))
def test_safe_for_any_text(text: str) -> None:
    shown = safe(text)
    assert safe(shown) == shown
    for char in shown.replace("\u200d", "").replace("\u200c", ""):
        assert unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("漢字", 4), ("e\u0301", 1), ("", 0)])
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> tuple[io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    for stream in (out, err):
        stream.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return out, err


COLUMNS = (("ID", "id"), ("NAME", "name"), ("SIZE", "size"), ("GONE", "gone"))
ROWS = [{"id": "a", "name": "漢字", "size": 3 << 20}, {"id": "bb", "name": None, "size": 0}]


def test_table_in_a_pipe_is_plain_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().records([*ROWS, {"id": "c", "name": "x" * 200, "size": 1}], COLUMNS, empty="")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ID", "NAME", "SIZE"]
    assert lines[1].split() == ["a", "漢字", str(3 << 20)]
    assert lines[2].split() == ["bb", "-", "0"]
    assert "x" * 200 in lines[3]
    assert "\x1b" not in "".join(lines)


def test_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = on_terminal(monkeypatch)
    Terminal().records([*ROWS, {"id": "c", "name": "x" * 200, "size": 1}], COLUMNS, empty="")
    head, first, _, *last = out.getvalue().splitlines()
    assert head.startswith("\x1b[1m")
    assert "3 MiB" in first
    assert last[0].endswith("x  1 B")
    assert max(map(width, last)) <= 40
    assert "".join(last).count("x") == 200


def test_numbers_get_their_units_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"progress": 0.53, "key_age": 3700, "limits": {"up": None, "down": None}}
    Terminal().record(row)
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == [
        *("0.53", "3700", "-"),
    ]
    out, _ = on_terminal(monkeypatch)
    Terminal().record(row)
    assert [line.split()[-1] for line in out.getvalue().splitlines()] == ["53%", "1h", "-"]


def test_columns_line_up_with_wide_characters(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().records(ROWS, COLUMNS, empty="")
    lines = capsys.readouterr().out.splitlines()
    at = [width(line[: re.search(r"\S+$", line).start()]) for line in lines]  # type: ignore[union-attr]
    assert len(set(at)) == 1


def test_json_is_exact_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.json = True
    row = {"body": "".join(ATTACKS), "n": [1, None, True]}
    terminal.record(row, human="unused")
    terminal.records([row, row], COLUMNS, empty="")
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert [json.loads(line) for line in out.splitlines()] == [row] * 3


def test_fields(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().record({"id": "x", "last_error": "\x1b[2J", "addresses": ["a", "b"], "keys": []})
    assert capsys.readouterr().out == (
        "id          x\nlast error  <U+001B>[2J\naddresses   a\n            b\nkeys        -\n"
    )


@pytest.mark.parametrize(
    ("option", "env", "colored"),
    [
        ("auto", {}, True),
        ("auto", {"NO_COLOR": "1"}, False),
        ("auto", {"NO_COLOR": ""}, True),
        ("auto", {"TERM": "dumb"}, False),
        ("never", {"FORCE_COLOR": "1"}, False),
        ("always", {"NO_COLOR": "1"}, True),
    ],
)
def test_color(
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    env: dict[str, str],
    colored: bool,
) -> None:
    _, err = on_terminal(monkeypatch)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal()
    terminal.color = option
    terminal.error("usage", "wrong", None)
    assert ("\x1b[" in err.getvalue()) is colored


def test_quiet_silences_notes_and_not_errors(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.note("hello")
    terminal.quiet = True
    terminal.note("unheard")
    terminal.error("usage", "wrong", "do it right")
    assert capsys.readouterr().err == "hello\nerror: wrong\nhint:  do it right\n"


def test_terminal_that_is_not_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    Terminal().text("é漢")
    assert raw.getvalue() == b"\xe9\\u6f22\n"


def test_a_name_or_a_reason_is_one_line_whatever_is_in_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Terminal().record({"name": "a\tb\nstate  done", "body": "one\n\ttwo"})
    assert capsys.readouterr().out.splitlines() == [
        "name  a\\tb\\nstate  done",
        "body  one",
        "      \ttwo",
    ]
