"""`peerpost chat` in a real terminal (tmux): from no identity to a conversation, hostile texts, and leaving."""

from __future__ import annotations

import html
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from docs.chat_picture import draw, play
from tests.support.machines import Machine
from tests.support.tmux import Pane

pytestmark = [
    pytest.mark.skipif(
        shutil.which("tmux") is None or sys.platform == "win32", reason="it needs tmux"
    ),
    pytest.mark.slow,
    pytest.mark.timeout(240),
]
ROOT = Path(__file__).parents[2]
HOSTILE = "hi \x1b]0;owned\x07\x1b[2J\n[bold red]x[/]\n\u202egnp\u200b\n\x9b5Aend"
Meet = Callable[[], tuple[Machine, Machine]]
OpenPane = Callable[..., Pane]


@pytest.fixture
def meet(folder: Path) -> Iterator[Meet]:
    made: list[Machine] = []

    def meet_() -> tuple[Machine, Machine]:
        alice, bob = Machine(folder, "alice"), Machine(folder, "bob")
        made.extend((alice, bob))
        for one in made:
            one.bash(f"peerpost identity new --name {one.name} --no-passphrase")
        alice.bash(f"peerpost contacts invite bob --no-qr > {folder}/ticket")
        bob.bash(f"peerpost contacts add alice --ticket-file {folder}/ticket")
        return alice, bob

    yield meet_
    for one in made:
        one.bash("peerpost node stop || true")


@pytest.fixture
def pane(folder: Path) -> Iterator[OpenPane]:
    made: list[Pane] = []

    def open_(machine: Machine, columns: int = 80, lines: int = 24) -> Pane:
        made.append(Pane(folder, columns, lines, machine.env))
        return made[-1]

    yield open_
    for one in made:
        one.close()


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (60, 20)])
def test_from_nothing_to_a_conversation_and_out_again(
    folder: Path, pane: OpenPane, columns: int, lines: int
) -> None:
    alice, bob = Machine(folder, "alice"), Machine(folder, "bob")
    one, other = pane(alice, columns, lines), pane(bob, columns, lines)
    try:
        for terminal, name in ((one, "alice"), (other, "bob")):
            terminal.type(f"peerpost identity new --name {name} --no-passphrase; clear; echo made")
            terminal.keys("Enter")
            terminal.until("made", gone=["identity"])
        one.type(f"peerpost contacts invite bob --no-qr > {folder}/ticket; clear; echo invited")
        one.keys("Enter")
        one.until("invited", gone=["contacts"])
        other.type(f"peerpost contacts add alice --ticket-file {folder}/ticket")
        other.keys("Enter")
        other.until("alice  active")
        other.type("stty -g > before; clear")
        other.keys("Enter")
        one.type("peerpost chat bob; echo left with $?")
        other.type("peerpost chat; echo left with $?")
        one.keys("Enter")
        other.keys("Enter")
        one.until("bob: online", "Write a message")
        other.until("alice", "Choose a contact")
        assert other.value("alternate_on") == "1"
        other.keys("Enter")
        other.until("alice: online")
        one.type("how late is it?")
        one.keys("C-j")
        one.type("where you are")
        one.keys("Enter")
        one.until("delivered", "  how late is it?\n", "where you are")
        other.until("alice\n", "how late is it?", "where you are")
        other.type("late")
        other.keys("Enter")
        other.until("delivered", "late", "Write a message")
        one.until("  late\n")
        for terminal in (one, other):
            terminal.keys("C-q")
            terminal.until("left with 0", gone=["how late"])
            assert terminal.value("alternate_on") == "0"
            assert terminal.value("cursor_flag") == "1"
            assert terminal.value("mouse_any_flag") == "0"
        other.type("stty -g > after; clear; echo the end")
        other.keys("Enter")
        other.until("the end", gone=["stty"])
        assert (bob.home / "after").read_text() == (bob.home / "before").read_text()
    finally:
        for machine in (alice, bob):
            machine.bash("peerpost node stop || true")


def test_what_a_peer_writes_is_text_and_nothing_else(meet: Meet, pane: OpenPane) -> None:
    alice, bob = meet()
    (alice.home / "hostile").write_bytes(HOSTILE.encode())
    alice.bash("peerpost send --contact bob - < hostile")
    alice.bash("peerpost send --contact bob --wait --name $'a\\e[2J[bold]\\u202eb.txt' - < hostile")
    terminal = pane(bob)
    title = terminal.value("pane_title")
    terminal.type("peerpost chat alice; echo left with $?")
    terminal.keys("Enter")
    shown = terminal.until("alice: online", "<U+001B>]0;owned", "file: ", "b.txt")
    assert "[bold red]x[/]" in shown, "markup is text too"
    assert "<U+202E>gnp" in shown
    assert "  <U+009B>5Aend" in shown
    styled = terminal.shown(styled=True)
    left = re.sub(r"\x1b\[[0-9;]*m|\x1b\[4:\d+m|\x0f|\x0e", "", styled)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", left), repr(left)
    assert terminal.value("pane_title") == title
    # As a whole, and found.
    terminal.keys("Tab")
    terminal.keys("Up", "Up", "Enter")
    shown = terminal.until("Esc: back", "[bold red]x[/]", "<U+202E>gnp")
    terminal.keys("Escape")
    terminal.until("alice: online")
    terminal.keys("F3")
    terminal.until("Search in all messages")
    terminal.type("owned")
    terminal.keys("Enter")
    shown = terminal.until("from alice: hi <U+001B>]0;owned")
    assert terminal.value("pane_title") == title
    terminal.keys("C-q")
    terminal.until("left with 0", gone=["Search in all"])


def test_no_color_is_heeded(meet: Meet, pane: OpenPane) -> None:
    alice, bob = meet()
    alice.bash("peerpost send --contact bob --wait hello")
    for before, coloured in (("", True), ("NO_COLOR=1 ", False)):
        terminal = pane(bob)
        terminal.type(f"{before}peerpost chat alice; echo left with $?")
        terminal.keys("Enter")
        terminal.until("  hello")
        assert has_colour(terminal.shown(styled=True)) is coloured
        terminal.keys("C-q")
        terminal.until("left with 0", gone=["hello"])


def has_colour(styled: str) -> bool:
    """Return whether anything is drawn in a colour that is no grey."""
    codes = re.findall(r"\x1b\[([0-9;]*)m", styled)
    shades = [int(n) for code in codes for n in re.findall(r"[34]8;5;(\d+)", code)]
    plain = {
        n for code in codes if ";5;" not in code and ";2;" not in code for n in code.split(";")
    }
    greys = {16, 59, 102, 145, 188, 231, *range(232, 256)}
    return any(shade not in greys for shade in shades) or bool(plain & set(map(str, range(31, 37))))


def test_the_node_is_killed_and_the_chat_goes_on(meet: Meet, pane: OpenPane) -> None:
    alice, bob = meet()
    terminal = pane(bob)
    terminal.type("peerpost chat alice; echo left with $?")
    terminal.keys("Enter")
    terminal.until("alice: online")
    for number in range(2):
        pid = int(bob.bash("peerpost --json node status").split('"pid": ')[1].split(",")[0])
        os.kill(pid, signal.SIGKILL)
        terminal.type(f"typed {number}")
        terminal.keys("Enter")
        alice.bash(f"peerpost send --contact bob 'while away {number}'")
        terminal.until(f"  while away {number}", f"  typed {number}", "delivered")
    terminal.until("alice: online", gone=["queued", "sending"])
    assert alice.bash("peerpost --json inbox list").count('"preview": "typed') == 2
    terminal.keys("C-q")
    terminal.until("left with 0", gone=["while away"])


def test_a_signal_leaves_the_terminal_as_it_was_and_no_draft_is_lost(
    meet: Meet, pane: OpenPane
) -> None:
    _, bob = meet()
    terminal = pane(bob)
    terminal.type("peerpost chat alice & echo $! > pid; fg > /dev/null; echo left with $?")
    terminal.keys("Enter")
    terminal.until("alice: online")
    terminal.type("half a tho")
    terminal.until("half a tho")
    terminal.paste("pasted \x1b[31mred\rand more")
    terminal.until("half a thopasted [31mred", "and more", gone=["delivered", "sending"])
    time.sleep(0.3)
    os.kill(int((bob.home / "pid").read_text()), signal.SIGTERM)
    shown = terminal.until("left with 143")
    assert "Not sent to alice:" in shown
    assert "half a tho" in shown
    assert (terminal.value("alternate_on"), terminal.value("cursor_flag")) == ("0", "1")


def test_it_fits_whatever_the_size_becomes(meet: Meet, pane: OpenPane) -> None:
    alice, bob = meet()
    alice.bash(f"peerpost send --contact bob --wait '{'word ' * 60}'")
    terminal = pane(bob, 120, 40)
    terminal.type("peerpost chat alice; echo left with $?")
    terminal.keys("Enter")
    terminal.until("alice: online", "word word")
    for columns, lines in ((60, 20), (40, 10), (200, 60), (20, 5), (80, 24)):
        terminal.resize(columns, lines)
        shown = terminal.until("word")
        assert max(map(len, shown.splitlines())) <= columns
    terminal.until_true(lambda shown: shown.count("word") == 60)
    terminal.until("alice: online", "F1 help", "Write a message")
    terminal.keys("C-q")
    terminal.until("left with 0")


def test_the_picture_is_of_the_program_as_it_is(folder: Path) -> None:
    picture = (ROOT / "docs" / "chat.svg").read_text(encoding="utf-8")
    assert said(draw(play(folder))) == said(picture), "python3 dev.py chatpicture"
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    assert "/tmp" not in picture


def said(picture: str) -> str:
    """Return what a picture says, without the time."""
    text = "".join(re.findall(r"<text[^>]*>([^<]*)", picture))
    text = html.unescape(text).replace("\xa0", " ")
    return re.sub(r"\d\d:\d\d|-- \w{3} \d\d \w{3} \d{4} --", "", text)
