"""A name cannot be made to look as if it ended where it does not."""

from __future__ import annotations

import time

import pytest

from peerpost.cli.safe import safe, safe_block
from peerpost.store.files.names import safe_name

UNSEEN = [
    *(0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180E, 0x180F, 0x200B, 0x200C),
    *(0x200D, 0x200E, 0x200F, 0x202A, 0x202E, 0x2060, 0x2064, 0x2065, 0x206F, 0x2800, 0x3164),
    *(0xFE00, 0xFE0E, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFF0, 0x1BCA0, 0x1D173, 0xE0000, 0xE0001, 0xE0020),
    *(0xE007F, 0xE0100, 0xE01EF, 0xE0FFF),
]


@pytest.mark.parametrize("code", UNSEEN, ids=hex)
def test_no_letter_is_unseen(code: int) -> None:
    for name in (f"invoice.pdf{chr(code) * 40}.exe", f"invoice.pdf{chr(code)}.exe"):
        assert chr(code) not in safe(name)
        assert f"<U+{code:04X}>" in safe(name)
        assert chr(code) not in safe_block(f"a\n{name}")
        assert chr(code) not in safe_name(name)
        assert safe_name(name).startswith("invoice.pdf_")


@pytest.mark.parametrize("mark", ["\u0300", "\u0489", "\u20dd", "\u0f71", "\U0001e8d0"])
def test_marks_are_bounded(mark: str) -> None:
    name = f"x{mark * 40}.exe"
    assert safe(name).count(mark) == 4
    assert safe_name(name).count(mark) <= 4


@pytest.mark.parametrize("blank", ["\u00a0", "\u2003", "\u3000"])
def test_a_run_of_wide_blanks_is_shown(blank: str) -> None:
    assert safe(f"a{blank}b") == f"a{blank}b"
    assert safe(f"a{blank * 40}.exe").count(blank) == 1


@pytest.mark.parametrize(
    "text",
    [
        *("Grüße", "Việt Nam", "한국어", "日本語", "العَرَبِيَّة", "שָׁלוֹם", "नमस्ते", "ภาษาไทย"),
        *("❤\ufe0f", "1\ufe0f\u20e3", "👩\u200d💻", "❤\ufe0f\u200d🔥", "👍🏽", "⠓⠊"),
    ],
)
def test_what_people_write_stays(text: str) -> None:
    assert safe(text) == text


def test_a_long_text_costs_its_length() -> None:
    began_s = time.process_time()
    safe("\u200d" * 200_000)
    safe("x" + "\u0300" * 200_000)
    assert time.process_time() - began_s < 3
