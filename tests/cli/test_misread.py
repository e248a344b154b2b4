"""What was typed and what was probably meant: files given as a text, a contact without its option."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.rpc import Request

from .conftest import ENTRY, Events, FakeNode, Shell


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a file and a folder."""
    here = tmp_path / "here"
    (here / "photos").mkdir(parents=True)
    for name in ("a.jpg", "b c.jpg"):
        (here / name).touch()
    (here / "nowhere").symlink_to("gone")
    monkeypatch.chdir(here)
    return here


def sent(request: Request) -> Any:
    return Events([], ENTRY | {"kind": "text" if "text" in request.params else "file"})


@pytest.mark.parametrize("word", ["photos", "a.jpg", "b c.jpg", "./a.jpg", ".", "nowhere"])
@pytest.mark.usefixtures("here")
def test_a_text_that_is_the_name_of_something(node: FakeNode, shell: Shell, word: str) -> None:
    node.answers["send-net"] = sent
    ran = shell("send", "-c", "bob", word)
    assert ran.code == 0
    assert node.params == {"contact": "bob", "text": word}
    assert "--file" in ran.err
    assert "--text" in ran.err
    assert word in ran.err
    ran = shell("send", "-c", "bob", "--text", word)
    assert (ran.code, ran.err) == (0, "")
    assert node.params == {"contact": "bob", "text": word}


@pytest.mark.parametrize("word", ["hi", "photos2", "x" * 300, "a\nb", "nul\\0"])
@pytest.mark.usefixtures("here")
def test_any_other_text_is_sent_without_a_word(node: FakeNode, shell: Shell, word: str) -> None:
    node.answers["send-net"] = sent
    ran = shell("send", "-c", "bob", word)
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ("folder\n", "folder"),
        ("text\n", "text"),
        ("f\n", "folder"),
        ("t\n", "text"),
        (" F \n", "folder"),
        ("fold\n", "folder"),
        ("?\ntext\n", "text"),
        ("\nft\nfile\nt\n", "text"),
        ("", None),
    ],
)
def test_at_a_terminal_it_is_asked(
    node: FakeNode, here: Path, answer: str, what: str | None
) -> None:
    node.answers["send-net"] = sent
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(here)
        command = [sys.executable, "-m", "peerpost.cli", "--home", str(node.home)]
        os.execv(sys.executable, [*command, "send", "-c", "bob", "photos"])
    shown = b""
    while b"folder, text" not in shown:
        shown += os.read(fd, 1000)
    os.write(fd, answer.encode() or b"\x04")
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    if what is None:
        assert os.waitstatus_to_exitcode(status) == 130
        assert "send-net" not in dict(node.asked)
    else:
        assert os.waitstatus_to_exitcode(status) == 0
        assert what in node.params


@pytest.mark.usefixtures("here")
def test_text_and_file_at_once(node: FakeNode, shell: Shell) -> None:
    assert shell("send", "-c", "bob", "--text", "--file", "a.jpg").code == 2
    assert not node.asked


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("-c", "bob", "a.jpg", "b c.jpg"), "--file a.jpg 'b c.jpg'"),
        (("-c", "bob", "two", "words"), '"two words"'),
        (("-c", "bob", "see", "a.jpg"), '"see a.jpg"'),
        (("bob", "hi"), "--contact bob hi"),
        (("bob", "two", "words"), "--contact bob 'two words'"),
        (("bob", "a.jpg", "photos"), "--contact bob --file a.jpg photos"),
        (("bob", "--file", "a.jpg", "photos"), "--contact bob --file a.jpg photos"),
        (("bob", "-"), "--contact bob -"),
        (("hi",), "--contact NAME hi"),
        (("--file", "a.jpg"), "--contact NAME --file a.jpg"),
        ((), "--contact NAME TEXT"),
    ],
)
@pytest.mark.usefixtures("here")
def test_the_line_that_was_meant(
    node: FakeNode, shell: Shell, arguments: tuple[str, ...], hint: str
) -> None:
    ran = shell("send", *arguments)
    assert ran.code == 2
    assert hint in ran.err.splitlines()[1]
    assert not node.asked


@pytest.mark.parametrize("word", ["see this", "hello", "x" * 300, "a\nb"])
@pytest.mark.usefixtures("here")
def test_a_text_beside_a_file(node: FakeNode, shell: Shell, word: str) -> None:
    ran = shell("send", "-c", "bob", "--file", "a.jpg", word)
    assert ran.code == 66
    assert "a text goes by itself: peerpost send --contact bob" in ran.err
    assert not node.asked


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("-c", "bob", "-f", "a.jpg"), "--file PATH"),
        (("-c", "bob", "--attach=a.jpg"), "--file PATH"),
        (("-t", "bob", "hi"), "--contact NAME"),
        (("--to", "bob", "hi"), "--contact NAME"),
        (("--recipient", "bob", "hi"), "--contact NAME"),
        (("-c", "bob", "-m", "hi"), "the text itself"),
    ],
)
@pytest.mark.usefixtures("here")
def test_an_option_as_other_programs_call_it(
    node: FakeNode, shell: Shell, arguments: tuple[str, ...], meant: str
) -> None:
    ran = shell("send", *arguments)
    assert ran.code == 2
    assert f"did you mean {meant}" in ran.err
    assert not node.asked


@pytest.mark.parametrize(
    "arguments", [("--file", "gone", "a.jpg", "lost"), ("--file", "gone", "--file", "lost")]
)
@pytest.mark.usefixtures("here")
def test_every_file_that_is_missing_is_named(
    node: FakeNode, shell: Shell, arguments: tuple[str, ...]
) -> None:
    ran = shell("send", "-c", "bob", *arguments)
    assert ran.code == 66
    assert all(name in ran.err.splitlines()[0] for name in ("gone", "lost"))
    assert not node.asked
