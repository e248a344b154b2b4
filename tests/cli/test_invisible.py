"""A text cannot hide a part of itself, nor act on a terminal; what people write stays as it is."""

from __future__ import annotations

import sys
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcwidth

from peerpost import invisible
from peerpost.cli.block import SafeBlock
from peerpost.cli.safe import safe, safe_block
from peerpost.client.names import contact_name
from peerpost.errors import UsageError
from peerpost.invisible import is_hidden
from peerpost.store.files.names import safe_name
from tests.support.hostile_texts import HOSTILE, ORDINARY

UNSEEN = [
    *(0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180E, 0x180F, 0x200B, 0x200C),
    *(0x200D, 0x200E, 0x200F, 0x202A, 0x202E, 0x2060, 0x2064, 0x2065, 0x206F, 0x2800, 0x3164),
    *(0xFE00, 0xFE0E, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFF0, 0x1BCA0, 0x1D173, 0xE0000, 0xE0001, 0xE0020),
    *(0xE007F, 0xE0100, 0xE01EF, 0xE0FFF, 0x85, 0x2028, 0x2029, 0xFFF9, 0xFFFA, 0xFFFB, 0xFFFC),
    *(0x1161, 0x11A8, 0xD7B0, 0xE000, 0xF8FF, 0x10FFFD, 0xFFFF, 0x378, 0x1D159),
]
BAD = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
UCD = Path("/usr/share/unicode")


@pytest.mark.parametrize("code", UNSEEN, ids=hex)
def test_no_letter_is_unseen(code: int) -> None:
    for name in (f"invoice.pdf{chr(code) * 40}.exe", f"invoice.pdf{chr(code)}.exe"):
        assert chr(code) not in safe(name)
        assert f"<U+{code:04X}>" in safe(name)
        assert chr(code) not in safe_block(f"a\n{name}")
        assert chr(code) not in safe_name(name)
        assert safe_name(name).startswith("invoice.pdf_")


def test_whatever_takes_no_room_is_hidden_or_a_mark() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        category = unicodedata.category(char)
        if category in BAD or (wcwidth(char) <= 0 and category[0] != "M"):
            assert is_hidden(f"a{char}b", 1), hex(code)
            assert is_hidden(char, 0), hex(code)
        elif category[0] == "M":
            # One that begins a text would stand on what is printed before it.
            assert is_hidden(char, 0), hex(code)
        if char in invisible._IGNORABLE:
            assert wcwidth(char) <= 0 or category in ("Cf", "Cn", "Lo"), hex(code)


@pytest.mark.skipif(not UCD.exists(), reason="the files of Unicode are not here (unicode-data)")
@pytest.mark.parametrize(
    ("table", "file", "property_"),
    [
        ("_IGNORABLE", "DerivedCoreProperties.txt", "Default_Ignorable_Code_Point"),
        ("_EMOJI", "emoji/emoji-data.txt", "Extended_Pictographic"),
        ("_JAMO_VOWELS", "HangulSyllableType.txt", "V"),
        ("_JAMO_ENDS", "HangulSyllableType.txt", "T"),
        ("_JAMO_STARTS", "HangulSyllableType.txt", "L"),
    ],
)
def test_the_tables_are_those_of_unicode(table: str, file: str, property_: str) -> None:
    wanted: set[str] = set()
    for line in (UCD / file).read_text(encoding="utf-8").splitlines():
        codes, _, value = line.partition("#")[0].partition(";")
        if value.strip() == property_:
            first, _, last = codes.strip().partition("..")
            wanted |= {chr(code) for code in range(int(first, 16), int(last or first, 16) + 1)}
    # The filler of a start is among the ignorable.
    assert getattr(invisible, table) == wanted - ({"\u115f"} if table == "_JAMO_STARTS" else set())


@pytest.mark.parametrize("mark", ["\u0300", "\u0489", "\u20dd", "\u0f71", "\U0001e8d0"])
def test_marks_are_bounded(mark: str) -> None:
    name = f"x{mark * 40}.exe"
    assert safe(name).count(mark) == 4
    assert safe_name(name).count(mark) <= 4


@pytest.mark.parametrize("tower", ["\u0903", "\u0903\u0300", "\u200d\u094d", "\u094d\u200c"])
def test_no_mixture_makes_a_tower(tower: str) -> None:
    shown = safe(f"क{tower * 40}x")
    assert shown.index("<") <= 9
    assert len(shown) > 100


@pytest.mark.parametrize("blank", ["\u00a0", "\u2003", "\u3000"])
def test_a_run_of_wide_blanks_is_shown(blank: str) -> None:
    assert safe(f"a{blank}b") == f"a{blank}b"
    assert safe(f"a{blank * 40}.exe").count(blank) == 1


@pytest.mark.parametrize("text", ORDINARY, ids=ascii)
def test_what_people_write_stays(text: str) -> None:
    assert safe(text) == text
    # As macOS writes names: a letter and its marks, a syllable and its jamo are characters of their own.
    apart = unicodedata.normalize("NFD", text)
    assert safe(apart) == apart
    block = SafeBlock()
    assert "".join([*map(block.feed, text), block.end()]) == text
    if "?" not in text and "*" not in text:
        name = unicodedata.normalize("NFC", text.replace(":", "").rstrip("."))
        assert safe_name(name) == name


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_hostile_is_shown(text: str) -> None:
    for shown in (safe(text), safe_block(text).replace("\n", "").replace("\t", "")):
        for at, char in enumerate(shown):
            assert not is_hidden(shown, at), (ascii(char), at)
            # Within emoji, flags and words; nothing else of this kind may be left.
            assert unicodedata.category(char) not in BAD or char in "\u200d\u200c", ascii(char)
    assert safe(text) != text or text.isascii()
    name = safe_name(text)
    assert not [char for char in name if unicodedata.category(char) in BAD - {"Cf"}]
    assert safe(name) == name
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "🏴" + "".join(chr(0xE0000 + ord(char)) for char in "gbengx\x7f"),
        "🏴" + "".join(chr(0xE0000 + ord(char)) for char in "gben"),
        "🏳" + "".join(chr(0xE0000 + ord(char)) for char in "gbeng\x7f"),
        *("1\ufe0f", "a\ufe0f", "👩\ufe0f\ufe0f", "👩\u200d", "\u200d💻", "👩\u200d\u200d💻"),
        *("a\u200cb", "ب\u200cx", "ب\u200c\u200cب", "\u094d\u200dx", "─\u200d─", "x\u094c\u200d"),
        # An emoji to come, for the Python that does not know it yet.
        *("\U0001faff\ufe0f", "👩\u200d\U0001faff", "\U0001faff\u200d💻"),
        *("a\u1161", "각\u1161", "ᄀ\u1161\u1161\u11a8", "각\u11a8", "\u0301a"),
    ],
    ids=ascii,
)
def test_what_only_looks_like_a_part_of_something_is_shown(text: str) -> None:
    assert "<U+" in safe(text)


@pytest.mark.parametrize(
    "name", ["alice\u3164", "\u3164", "a\uffa0b", "a\u1160", "x" + "\u0300" * 5]
)
def test_a_contact_has_no_name_with_an_unseen_letter(name: str) -> None:
    with pytest.raises(UsageError):
        contact_name(name)
    assert contact_name("한국어") == "한국어"


def test_a_long_text_costs_its_length() -> None:
    began_s = time.process_time()
    safe("\u200d" * 200_000)
    safe("x" + "\u0300" * 200_000)
    safe("🏴" + "\U000e0067" * 200_000)
    safe("क\u094d\u200d" * 70_000)
    assert time.process_time() - began_s < 3


MATERIAL = (
    *"ab1#\u200d\u200c\ufe0e\ufe0f\u20e3👩💻❤🏽🏴🇩🇪─",
    *"\u0300\u0903\u094d\u0915\u09b0\u09cd\u09af\u0628\u062f\u064b\u05d0\u05b0",
    *"ᄀ\u1161\u11a8각가\u115f\u1160\u3164\u00ad\u3000\u00a0 \t\n\r.-_\x1b\x9b",
    *(chr(0xE0000 + ord(char)) for char in "gbensctwl\x7f"),
    "🏴" + "".join(chr(0xE0000 + ord(char)) for char in "gbsct\x7f"),
)
"""What means one thing in one place and another in the next."""


@settings(max_examples=1500)
@given(st.lists(st.sampled_from(MATERIAL), max_size=30), st.lists(st.integers(0, 12), max_size=30))
def test_it_is_decided_the_same_way_again_and_in_pieces(parts: list[str], sizes: list[int]) -> None:
    text = "".join(parts)
    shown = safe(text)
    assert safe(shown) == shown
    name = safe_name(text)
    assert safe_name(name) == name
    assert not any(is_hidden(name, at) for at in range(len(name)))
    block, rest, pieces = SafeBlock(), text, []
    for size in sizes:
        pieces.append(block.feed(rest[:size]))
        rest = rest[size:]
    assert "".join([*pieces, block.feed(rest), block.end()]) == safe_block(text)
