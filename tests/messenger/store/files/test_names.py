"""Names that a peer chooses, and what becomes of them on our disk."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.store.files.names import clip, numbered, safe_name
from peerpost.wire.limits import NAME_BYTES


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("Übung 3 (final).tar.gz", "Übung 3 (final).tar.gz"),
        ("漢字.txt", "漢字.txt"),
        ("🎈.png", "🎈.png"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("C:\\Windows\\system32\\x.dll", "x.dll"),
        ("folder/", "folder"),
        (".bashrc", "bashrc"),
        ("...", "file"),
        ("..", "file"),
        ("", "file"),
        ("///", "file"),
        (" . ", "file"),
        ("-rf", "rf"),
        ("--option=x", "option=x"),
        ("~root", "root"),
        ("trailing. ", "trailing"),
        ("a\0b", "a_b"),
        ("a\nb\x1b[2J", "a_b_[2J"),
        ("a\u202efdp.exe", "a_fdp.exe"),
        ("a\u200b.txt", "a_.txt"),
        ("a\u2028b", "a_b"),
        ("invoice.pdf" + " " * 80 + ".exe", "invoice.pdf .exe"),
        ("invoice.pdf" + "\u00a0" * 3 + ".exe", "invoice.pdf___.exe"),
        ("file.txt:stream", "file.txt_stream"),
        ('<>:"|?*', "file"),
        ("NUL", "_NUL"),
        ("con.txt", "_con.txt"),
        ("COM1.tar.gz", "_COM1.tar.gz"),
        ("lpt¹", "_lpt¹"),
        ("CONIN$", "_CONIN$"),
        ("console.txt", "console.txt"),
        ("e\u0301.txt", "é.txt"),
    ],
)
def test_what_a_name_becomes(sent: str, kept: str) -> None:
    assert safe_name(sent) == kept


def test_a_long_name_keeps_its_ending_and_whole_characters() -> None:
    name = safe_name("漢" * 200 + ".tar")
    assert name.startswith("漢漢")
    assert name.endswith("漢.tar")
    assert NAME_BYTES - 3 < len(name.encode()) <= NAME_BYTES
    assert len(safe_name("x" * 300 + "." + "y" * 300).encode()) <= NAME_BYTES
    assert len(safe_name("nul." + "y" * 300).encode()) <= NAME_BYTES


@pytest.mark.parametrize("size", [181, 204, 230, 247, 255, 4000])
def test_a_long_name_loses_the_middle_of_its_stem(size: int) -> None:
    for ending in (" part 7 of 9.pdf", ".tar.gz", ".jpeg", " without one"):
        kept = safe_name("x" * (size - len(ending)) + ending)
        assert len(kept.encode()) == NAME_BYTES
        assert kept.startswith("xxx")
        assert kept.endswith("x" + ending)
        assert "…" in kept
        assert numbered(kept, 12).endswith(
            (" (12)" + ending[-4:], f"{ending} (12)", " (12).tar.gz", " (12).jpeg")
        )


def test_what_is_cut_leaves_no_mark_on_the_cut() -> None:
    # Each letter with a mark that no composed form has: at any place the tail may begin with the mark.
    for pad in range(8):
        kept = safe_name("y" * pad + "x\u0323\u0331" * 90 + ".pdf")
        assert "…x" in kept
        assert safe_name(kept) == kept


def test_clip_leaves_what_fits() -> None:
    assert clip("a" * NAME_BYTES) == "a" * NAME_BYTES
    assert clip("name.pdf", 8) == "name.pdf"
    assert len(clip("ü" * 200 + ".pdf", 100).encode()) in (99, 100)


@given(st.text(max_size=300) | st.text(alphabet="./\\ -~\0:\u202e_nulNUL", max_size=20))
def test_no_name_is_more_than_a_name(sent: str) -> None:
    kept = safe_name(sent)
    assert kept
    assert len(kept.encode()) <= NAME_BYTES
    assert not set(kept) & set('/\\<>:"|?*\0')
    assert kept[0] not in ".-~ "
    assert kept[-1] not in ". "
    bad = [char for char in kept if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert set(bad) <= set("\u200c\u200d"), "joiners of words and emoji alone"
    assert safe_name(kept) == kept
    assert numbered(kept, 0) == kept
    for number in (1, 9999):
        other = numbered(kept, number)
        assert len(other.encode()) <= NAME_BYTES
        assert f" ({number})" in other


def test_a_number_stands_before_the_ending() -> None:
    assert numbered("a.tar", 2) == "a (2).tar"
    assert numbered("a", 2) == "a (2)"
    assert numbered("a.tar.gz", 2) == "a (2).tar.gz"
    assert numbered(".tar.gz", 2) == ".tar (2).gz"
    assert numbered("x" * NAME_BYTES, 7).endswith("x (7)")
