"""A long text that is printed in pieces is printed as the whole would be, wherever it is cut."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from peerpost.cli.block import SafeBlock
from peerpost.cli.safe import safe_block
from peerpost.errors import StorageError

from .conftest import Events, FakeNode, Shell

ITEM = {
    "id": "k3f9",
    "contact": "bob",
    "kind": "text",
    "size": 9,
    "preview": "",
    "directory": False,
}
HOSTILE = [
    *("\r\n", "\r", "\n", "\r\r\n", "\t", "\x1b[2J", "\x9b2J", "\u202e", "\u2028", "\0"),
    *(
        "\u200d",
        "👩\u200d💻",
        "❤\ufe0f\u200d🔥",
        "👍🏽\u200d👍",
        "1\ufe0f\u20e3",
        "\ufe0f",
        "\ufe0e",
    ),
    *("x" + "\u0300" * 9, "\u0300" * 3, "\u0489", "\u3000\u3000", "\u00a0", "\u2003", "\U000e0041"),
    *(
        "plain",
        "",
        "Grüße",
        "日本語",
        "👩" + "🏽" * 6 + "\u200d💻",
        "👩" + "🏽" * 12 + "\u200d💻",
        "a\u200db",
        "\ud800",
    ),
]


def in_pieces(pieces: list[str]) -> str:
    block = SafeBlock()
    return "".join([*map(block.feed, pieces), block.end()])


@pytest.mark.parametrize("first", HOSTILE)
def test_it_is_the_same_wherever_it_is_cut(first: str) -> None:
    for second, third in itertools.product(HOSTILE, ["", "\n", "\u200d💻", "\u0300\u0300"]):
        text = f"a{first}{second}{third}"
        whole = safe_block(text)
        for cut in range(len(text) + 1):
            assert in_pieces([text[:cut], text[cut:]]) == whole, (text, cut)
        assert in_pieces(list(text)) == whole


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_same_cut_anyhow(seed: int) -> None:
    draw = random.Random(seed)
    text = "".join(draw.choices(HOSTILE, k=400))
    pieces, at = [], 0
    while at < len(text):
        size = draw.choice([0, 1, 1, 2, 3, 7, 50])
        pieces.append(text[at : at + size])
        at += size
    assert in_pieces(pieces) == safe_block(text)


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n", "\x1b"])
def test_show_prints_pieces_as_it_prints_a_whole(node: FakeNode, shell: Shell, end: str) -> None:
    body = f"one\x1b[2J\r\ntwo \u202e{end}"
    node.answers["inbox.read"] = ITEM | {"body": body}
    whole, of_program = shell("inbox", "show", "k3"), shell("inbox", "show", "k3", "--json")
    node.answers["inbox.read"] = Events([{"item": ITEM}, *({"text": char} for char in body)], ITEM)
    ran = shell("inbox", "show", "k3")
    assert (ran.code, ran.out, ran.err) == (0, whole.out, whole.err)
    assert "\x1b" not in ran.out
    ran = shell("inbox", "show", "k3", "--json")
    assert (ran.out.isascii(), ran.out.count("\n")) == (True, 1)
    assert json.loads(ran.out) == json.loads(of_program.out)


def test_one_without_a_character(node: FakeNode, shell: Shell) -> None:
    node.answers["inbox.read"] = Events([{"item": ITEM}], ITEM)
    assert json.loads(shell("inbox", "show", "k3", "--json").out)["body"] == ""
    assert shell("inbox", "show", "k3").out.endswith("\n\n")


def test_what_breaks_off_is_an_error(node: FakeNode, shell: Shell) -> None:
    node.answers["inbox.read"] = Events([{"item": ITEM}, {"text": "a"}], StorageError("broken"))
    ran = shell("inbox", "show", "k3", "--json")
    assert ran.code == 74
    assert "broken" in ran.err
