"""README.md: its commands send a first message, and its picture is of the program as it is."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from docs.recording import RECORDING, moving, record
from docs.session import SESSION, TICKET, draw, play
from tests.support.machines import Machine, blocks

ROOT = Path(__file__).parents[2]
VOLATILE = re.compile(
    r"PP1[A-Z2-7]+( +[A-Z2-7]{20,})?"  # a ticket, which goes on in the next line
    r"|\d{4}-\d\d-\d\dT[\d:.]+Z|\bnow\b|\d+ s ago"
    r"|\b[a-z2-7]{8}(?= {2})"  # an id
)
"""What differs from one drawing to the next."""


def text_of(picture: str) -> str:
    """Return what a picture says, each line after the other, without what differs each time."""
    said = "".join(re.findall(r"<text[^>]*>([^<]*)", picture))
    lines = html.unescape(said).replace("\xa0", " ").replace("\n", " ")
    return re.sub(r" +", " ", VOLATILE.sub("", lines))


def test_the_first_message_takes_these_commands(folder: Path) -> None:
    people = {name: Machine(folder, name) for name in ("alice", "bob")}
    ticket, shown = "", ""
    try:
        steps = blocks(ROOT / "README.md")
        assert [block.whose for block in steps] == ["alice", "bob", "alice", "bob"]
        for block in steps:
            shown = people[block.whose].bash(block.text.replace("TICKET", ticket))
            ticket = next(iter(TICKET.findall(shown)), ticket)
        assert "The build is green." in shown
        assert "safety number" in shown
    finally:
        for machine in people.values():
            machine.bash("peerpost node stop || true")


def test_the_picture_is_of_the_program_as_it_is(folder: Path) -> None:
    picture = (ROOT / "docs" / "session.svg").read_text(encoding="utf-8")
    for _, command, is_shown in SESSION:
        assert not is_shown or command.split("TICKET")[0] in text_of(picture)
    assert text_of(draw(play(folder))) == text_of(picture), "python3 dev.py picture"


def last_of(picture: str) -> str:
    """Return what a recording shows in the end, without what differs each time."""
    lines = re.findall(r'<text class="\w+ last"[^>]*>(.*)</text>', picture)
    return text_of("".join(f"<text>{re.sub('<[^>]*>', '', line)}\n</text>" for line in lines))


def test_the_recording_is_of_the_program_as_it_is(folder: Path) -> None:
    picture = RECORDING.read_text(encoding="utf-8")
    for _, command, is_shown in SESSION:
        assert not is_shown or command.split("TICKET")[0].strip() in text_of(
            picture.replace("tspan", "text")
        )
    assert "MiB/s" in picture, "the bar of the folder"
    recorder = record(folder)
    assert last_of(moving(recorder)) == last_of(picture), "python3 dev.py picture"
    # It goes on from what was shown before, and takes no longer than somebody looks.
    assert len(recorder.frames) > 50
    assert 10 < recorder.now_s < 60


@pytest.mark.parametrize("name", ["session.svg", "recording.svg"])
def test_the_picture_loads_nothing_and_names_no_folder_of_whoever_drew_it(name: str) -> None:
    picture = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    assert "/tmp" not in picture
