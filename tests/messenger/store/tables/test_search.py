"""The search: what it finds is what a look at every message would find, in the same order."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerpost.store.fold import fold
from peerpost.store.tables import (
    contacts,
    deletion,
    forgetting,
    grams,
    inbox,
    indexing,
    outbox,
    search,
)
from peerpost.store.tables.grams import SLICE_ROWS, Collected, claim, unindexed
from peerpost.store.tables.matches import match
from peerpost.store.tables.search import Wanted
from peerpost.wire import inner as wire
from tests.support import indexed
from tests.support.store_rig import NOW_MS, Rig, message

LETTERS = (
    "abcABC éÉßẞSsﬁfiI'\"%*?_-^:(){}[]\\\u202e\u200f\u200b\0\x01\x03\ufffd\uffff\ufffe"
    "中文字日本e\u0301\u0301가가🙂\t\n"
)


@pytest.fixture
def bob(rig: Rig) -> str:
    return rig.make_contact("bob").id


def receive(rig: Rig, contact_id: str, *texts: str, first: int = 1, at_ms: int = NOW_MS) -> None:
    """Receive texts, each under the next number."""
    made = [message(first + at, body=text.encode()) for at, text in enumerate(texts)]
    rig.write(inbox.receive_many, contact_id, made, at_ms)


def receive_file(rig: Rig, contact_id: str, name: str, seq: int, *, as_text: bool = False) -> int:
    """Have a whole file in the inbox; return its row."""
    item = rig.write(
        inbox.add_file,
        contact_id=contact_id,
        file_id=bytes([seq]) * 16,
        as_text=as_text,
        name=name,
        size=100_000,
        files=None,
        source=(bytes(16), 1, seq, NOW_MS),
        now_ms=NOW_MS,
    )
    return int(item.row_id)


def pages(rig: Rig, wanted: Wanted, *, limit: int = 1000, sent: bool = False) -> list[str]:
    """Return what is found page by page, each with its match."""
    work = search.sent if sent else search.received
    found: list[str] = []
    beyond = None
    while True:
        page = rig.read(work, wanted, limit, beyond)
        assert len(page.rows) <= limit
        found += [hit.match.text[hit.match.start : hit.match.end] for hit, _ in page.rows]
        beyond = page.beyond
        if beyond is None:
            return found


def found(rig: Rig, term: str, **more: object) -> list[str]:
    """Return the texts or names of what was received and found, newest first."""
    page = rig.read(search.received, Wanted(term=fold(term), **more), 1000, None)  # type: ignore[arg-type]
    assert page.beyond is None
    return [(item.body or b"").decode() or item.name or "" for _, item in page.rows]


def found_sent(rig: Rig, term: str, **more: object) -> list[str]:
    page = rig.read(search.sent, Wanted(term=fold(term), **more), 1000, None)  # type: ignore[arg-type]
    assert page.beyond is None
    return [hit.match.text for hit, _ in page.rows]


def test_any_part_of_a_text_newest_first(rig: Rig, bob: str) -> None:
    receive(rig, bob, "the build is green", "The BUILD failed", "nothing")
    assert found(rig, "build") == ["The BUILD failed", "the build is green"]
    assert found(rig, "LD I") == ["the build is green"]
    assert found(rig, "builds") == []


@pytest.mark.parametrize("term", ["g", "gr", "n", "en", "N"])
def test_one_and_two_letters(rig: Rig, bob: str, term: str) -> None:
    receive(rig, bob, "green", "x", "?")
    assert found(rig, term) == ["green"]


@pytest.mark.parametrize(
    "term",
    [
        '"a" OR b',
        "100%",
        "a*",
        "a_b",
        "NEAR(a b)",
        "a\0b",
        "-a",
        "^a",
        "a:b",
        "\u202e\u200f",
        "   ",
        "''",
        "(",
        "🙂",
    ],
)
def test_a_term_is_plain_text(rig: Rig, bob: str, term: str) -> None:
    receive(rig, bob, "a b", "ab", f"x{term}y", "nothing", "a  b OR")
    assert found(rig, term) == [f"x{term}y"]


def test_files_by_their_names_and_not_texts_that_came_as_files(rig: Rig, bob: str) -> None:
    receive(rig, bob, "see report.pdf")
    receive_file(rig, bob, "Report.PDF", 2)
    receive_file(rig, bob, "text.txt", 3, as_text=True)
    assert found(rig, "report.pdf") == ["Report.PDF", "see report.pdf"]
    assert found(rig, "report.pdf", files=True) == ["Report.PDF"]
    assert found(rig, "text.txt") == []


def test_of_a_contact_and_since_a_time(rig: Rig, bob: str) -> None:
    carol = rig.make_contact("carol").id
    receive(rig, bob, "hello from bob")
    receive(rig, carol, "hello from carol", at_ms=NOW_MS + 5)
    assert found(rig, "hello", contact_id=bob) == ["hello from bob"]
    assert found(rig, "h", contact_id=carol) == ["hello from carol"]
    assert found(rig, "hello", since_ms=NOW_MS + 1) == ["hello from carol"]
    assert found(rig, "hello", since_ms=NOW_MS + 6) == []


def test_since_with_a_clock_that_was_set_back(rig: Rig, bob: str) -> None:
    receive(rig, bob, "hello 1", at_ms=NOW_MS + 100)
    receive(rig, bob, "hello 2", first=2, at_ms=NOW_MS)
    receive(rig, bob, "hello 3", first=3, at_ms=NOW_MS + 50)
    assert found(rig, "hello", since_ms=NOW_MS + 50) == ["hello 3", "hello 1"]


def test_a_message_of_an_unknown_kind_is_not_searched(rig: Rig, bob: str) -> None:
    rig.write(inbox.receive_many, bob, [message(1, body=b"secret kind", kind=77)], NOW_MS)
    assert found(rig, "secret") == []


def test_what_was_sent(rig: Rig, bob: str) -> None:
    rig.queue(bob, "the first to bob")
    rig.queue_file(bob, bytes([9]) * 16)
    rig.queue_file(bob, bytes([8]) * 16, kind="text")
    assert found_sent(rig, "first") == ["the first to bob"]
    assert found_sent(rig, "report") == ["report.pdf"]
    assert found_sent(rig, "t", files=True) == ["report.pdf"]


def test_what_was_taken_back_is_found_no_more(rig: Rig, bob: str) -> None:
    entry = rig.queue(bob, "a word too many")
    rig.write(outbox.cancel, entry.id)
    assert found_sent(rig, "word") == []


def test_a_removed_contact(rig: Rig, bob: str) -> None:
    kept = rig.queue(bob, "delivered words")
    rig.acknowledge(kept, 1)
    rig.queue(bob, "waiting words")
    rig.write(outbox.bury, bob)
    rig.write(contacts.remove, bob)
    assert found_sent(rig, "words") == ["delivered words"]
    rig.write(forgetting.forget, bob)
    assert found_sent(rig, "words") == []


def test_much_that_was_sent_is_forgotten_in_steps(
    rig: Rig, bob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FORGOTTEN_ROWS", 10)
    entries = [rig.queue(bob, f"word {at}") for at in range(25)]
    rig.acknowledge(entries[0], 25)
    rig.write(outbox.bury, bob)
    rig.write(contacts.remove, bob)
    steps = [rig.write(forgetting.forget, bob)]
    while steps[-1]:
        steps.append(rig.write(forgetting.forget, bob, begun=True))
    assert steps == [True, True, False]
    assert found_sent(rig, "word") == []
    assert rig.rows("SELECT count(*) FROM outbox") == [(0,)]


def test_messages_of_many_indexes_are_deleted_in_steps(
    rig: Rig, bob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each index that goes takes time, so that not too many go in one transaction."""
    receive(rig, bob, *(f"number {n}" for n in range(3)))
    slices = iter(range(100))
    monkeypatch.setattr(grams, "AT_ONCE", 2)
    monkeypatch.setattr(grams, "index_of", lambda _db, _id: next(slices))
    assert len(rig.write(deletion.delete_older, NOW_MS + 1, bob, 100, NOW_MS)) == 2
    assert len(rig.write(deletion.delete_older, NOW_MS + 1, bob, 100, NOW_MS)) == 1


def test_a_number_that_changes(rig: Rig, bob: str) -> None:
    entry = rig.queue_file(bob, bytes([9]) * 16)
    rig.acknowledge(entry, 1)
    rig.write(outbox.mark_sent, [entry.row_id])
    rig.queue(bob, "between", lane=1)
    rig.write(outbox.offer_again, bob)
    assert found_sent(rig, "report") == ["report.pdf"]


def test_what_is_deleted_leaves_no_trace(rig: Rig, bob: str) -> None:
    receive(rig, bob, "zqxjwv is gone", *("keep this" for _ in range(SLICE_ROWS + 100)))
    assert indexed.build(rig) == 1
    grams = {gram for (gram,) in rig.rows("SELECT gram FROM inbox_grams")}
    assert {"zqx", "qxj", "xjw", "jwv", "zq", "q"} <= grams
    doomed = rig.read(search.received, Wanted(term="zqxjwv"), 10, None).rows[0][1]
    rig.write(deletion.delete, [doomed.id], None, NOW_MS)
    assert rig.rows("SELECT * FROM inbox_grams") == []
    assert found(rig, "zqxjwv") == []
    assert len(pages(rig, Wanted(term="keep"))) == SLICE_ROWS + 100
    assert indexed.build(rig) == 1
    assert not {"zqx", "zq", "q"} & {gram for (gram,) in rig.rows("SELECT gram FROM inbox_grams")}


def test_a_long_text_is_found_once_its_beginning_was_read(rig: Rig, bob: str) -> None:
    row_id = receive_file(rig, bob, "", 1, as_text=True)
    assert rig.read(indexing.progress).long_texts == 1
    (id_,) = rig.read(indexing.unread, 10)
    assert found(rig, "chapter") == []
    rig.write(indexing.put_head, row_id, b"The first Chapter")
    assert rig.read(indexing.progress).long_texts == 0
    page = rig.read(search.received, Wanted(term="chapter"), 10, None)
    assert [(hit.match.text, item.id) for hit, item in page.rows] == [("The first Chapter", id_)]
    rig.write(deletion.delete, [id_], None, NOW_MS)
    assert rig.rows("SELECT * FROM long_texts") == []


def test_paging_finds_each_once(rig: Rig, bob: str) -> None:
    receive(rig, bob, *(f"number {at}" for at in range(300)))
    for term in ("number", "n", "nu", "9"):
        whole = pages(rig, Wanted(term=term))
        assert pages(rig, Wanted(term=term), limit=7) == whole
        assert len(whole) == sum(term in f"number {at}" for at in range(300))


def test_a_turn_ends_and_goes_on(rig: Rig, bob: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "TURN_ROWS", 50)
    receive(rig, bob, "needle", *("hay" for _ in range(400)))
    for term in ("needle", "ne", "d"):
        assert pages(rig, Wanted(term=term)) == [term]
    assert len(pages(rig, Wanted(term="h"))) == 400


@pytest.mark.slow
def test_many_messages(rig: Rig, bob: str) -> None:
    texts = [
        f"{'qz' if at % 97 == 5 else 'no'} {at} {'Straße' if at % 500 == 3 else ''}"
        for at in range(9000)
    ]
    for at in range(0, 9000, 500):
        receive(rig, bob, *texts[at : at + 500], first=at + 1)
    terms = ("q", "qz", "Z ", "qz 1", "STRASSE", "no 899", "absent", "n", "0")
    before = {term: pages(rig, Wanted(term=fold(term))) for term in terms}
    assert {term: len(found) for term, found in before.items()} == {
        term: sum(fold(term) in fold(text) for text in texts) for term in terms
    }
    assert indexed.build(rig) == 2
    for term in terms:
        assert pages(rig, Wanted(term=fold(term))) == before[term]
        assert pages(rig, Wanted(term=fold(term)), limit=13) == before[term]
        assert pages(rig, Wanted(term=fold(term), contact_id=bob)) == before[term]
        assert pages(rig, Wanted(term=fold(term), since_ms=NOW_MS)) == before[term]


# -- how the index is made


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a search look at each message of one slice only."""
    monkeypatch.setattr(search, "LOOKED_AT", 1)
    monkeypatch.setattr(indexing, "LOOKED_AT", 1)


@pytest.mark.usefixtures("small")
@pytest.mark.slow
def test_a_home_without_an_index(rig: Rig, bob: str) -> None:
    for at in range(0, 17_000, 500):
        receive(rig, bob, *(f"number {n}" for n in range(at, at + 500)), first=at + 1)
    progress = rig.read(indexing.progress)
    assert (progress.slices, progress.missed, progress.left) == (5, 4, 4)
    assert progress.share == pytest.approx(0.2)
    newest = pages(rig, Wanted(term="number"))
    assert len(newest) == 17_001 - 4 * SLICE_ROWS
    claimed = rig.write(indexing.claim_next)
    assert claimed == ("inbox", 3)
    collected = Collected()
    last = rig.read(indexing.collect, *claimed, None, collected)
    # What changes a slice while it is read has it read again.
    id_ = rig.rows("SELECT id FROM inbox WHERE row_id = ?", 3 * SLICE_ROWS + 900)[0][0]
    rig.write(deletion.delete, [id_], None, NOW_MS)
    while last is not None:
        last = rig.read(indexing.collect, *claimed, last, collected)
    assert not rig.write(indexing.put, *claimed, collected.rows(claimed[1]))
    rig.read(indexed.check)
    assert indexed.build(rig) == 4
    assert rig.read(indexing.progress).share == 1
    assert len(pages(rig, Wanted(term="number"))) == 16_999


def test_what_a_killed_node_has_claimed_is_read_again(rig: Rig, bob: str) -> None:
    receive(rig, bob, *(f"number {n}" for n in range(SLICE_ROWS + 9)))
    assert rig.write(indexing.claim_next) == ("inbox", 0)
    folder = rig.path.parent
    rig.close()
    with Rig(folder) as again:
        assert again.write(indexing.claim_next) == ("inbox", 0)
        assert indexed.build(again) == 1
        again.read(indexed.check)
        assert len(pages(again, Wanted(term="number 1"))) == 1111


@pytest.mark.slow
def test_numbers_that_are_used_again(rig: Rig, bob: str) -> None:
    entries = [rig.queue(bob, f"sent {at}") for at in range(SLICE_ROWS + 9)]
    rig.acknowledge(entries[0], SLICE_ROWS + 9)
    assert indexed.build(rig) == 1
    rig.write(lambda db: db.execute("DELETE FROM outbox WHERE row_id > 20") and None)
    rig.queue(bob, "sent again")
    rig.read(indexed.check)
    assert len(found_sent(rig, "sent")) == 21


@pytest.mark.slow
def test_an_entry_that_changes_is_not_in_the_index(rig: Rig, bob: str) -> None:
    entries = [rig.queue(bob, f"secret {at}") for at in range(SLICE_ROWS + 9)]
    indexed.build(rig)
    rig.write(outbox.cancel, entries[5].id)
    assert rig.rows("SELECT count(*) FROM outbox_grams") == [(0,)]
    assert len(pages(rig, Wanted(term="secret"), sent=True)) == SLICE_ROWS + 8


def test_a_long_text_in_a_slice_that_has_an_index(rig: Rig, bob: str) -> None:
    row_id = receive_file(rig, bob, "", 1, as_text=True)
    receive(rig, bob, *(f"number {n}" for n in range(SLICE_ROWS + 9)))
    indexed.build(rig)
    rig.write(indexing.put_head, row_id, b"The first Chapter")
    rig.read(indexed.check)
    assert found(rig, "chapter") == [""]
    indexed.build(rig)
    assert found(rig, "chapter") == [""]
    rig.read(indexed.check)


def test_the_largest_texts(rig: Rig, bob: str) -> None:
    receive(rig, bob, *(f"{at} " + "x" * 60_000 + f" end {at}" for at in range(3)))
    receive(rig, bob, *("y" for _ in range(SLICE_ROWS)), first=10)
    assert found(rig, "x end 2")[0].startswith("2 ")
    indexed.build(rig)
    assert found(rig, "x end 2")[0].startswith("2 ")
    assert len(pages(rig, Wanted(term="x" * 200))) == 3


# -- against a look at each


@pytest.fixture(scope="module")
def bare() -> Iterator[tuple[Rig, str]]:
    """Return a store of which a test deletes what an earlier example has left."""
    with tempfile.TemporaryDirectory(prefix="pp-search-") as folder, Rig(Path(folder)) as made:
        made.make_identity()
        yield made, made.make_contact("bob").id


@st.composite
def searches(draw: st.DrawFn) -> tuple[list[str], str]:
    """Return texts, and a term that may be in some of them."""
    alphabet = st.one_of(st.sampled_from(LETTERS), st.characters(exclude_categories=["Cs"]))
    texts = draw(st.lists(st.text(alphabet, max_size=12), max_size=12))
    joined = "".join(texts) or "a"
    at = draw(st.integers(0, len(joined) - 1))
    part = joined[at : at + draw(st.integers(1, 6))]
    change = draw(st.sampled_from([str, str.upper, str.lower, str.swapcase, fold]))
    return texts, draw(
        st.sampled_from([change(part), part]) | st.text(alphabet, min_size=1, max_size=5)
    )


@settings(deadline=None, max_examples=200)
@given(
    searches(),
    st.sampled_from([1, 2, 1000]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
@pytest.mark.slow
def test_it_finds_what_a_look_at_each_finds(
    bare: tuple[Rig, str],
    drawn: tuple[list[str], str],
    limit: int,
    by_index: bool,
    chance: random.Random,
) -> None:
    rig, bob = bare
    for table in ("inbox", "outbox"):
        rig.write(lambda db, table=table: db.execute(f"DELETE FROM {table}") and None)  # type: ignore[misc]
    rig.read(indexed.check)
    texts, term = drawn
    folded = fold(term)
    first = rig.rows("SELECT coalesce(max(watermark), 0) FROM marks")[0][0] + 1
    receive(rig, bob, *texts, first=first)
    for text in texts:
        rig.queue(bob, text)
    wanted = [text for text in reversed(texts) if folded in fold(text)]
    if by_index:
        build_all(rig)
    for work in (search.received, search.sent):
        rows = []
        beyond = None
        while True:
            page = rig.read(work, Wanted(term=folded), limit, beyond)
            rows += page.rows
            if (beyond := page.beyond) is None:
                break
        bodies = [_text(row) for _, row in rows]
        assert bodies == wanted
        for hit, _ in rows:
            assert folded in fold(hit.match.text[hit.match.start : hit.match.end]) or _blank(folded)
    rig.read(indexed.check)
    ids = [id_ for (id_,) in rig.rows("SELECT id FROM inbox")]
    chance.shuffle(ids)
    rig.write(deletion.delete, ids[1:], None, NOW_MS)
    rig.read(indexed.check)


def build_all(rig: Rig) -> None:
    """Index all slices, that which still grows too."""
    for side in indexing.SIDES:
        for slice_ in rig.read(unindexed, side):
            rig.write(claim, side, slice_)
            collected, last = Collected(), None
            while (last := rig.read(indexing.collect, side, slice_, last, collected)) is not None:
                pass
            assert rig.write(indexing.put, side, slice_, collected.rows(slice_))


def _text(row: inbox.Item | outbox.Entry) -> str:
    if isinstance(row, inbox.Item):
        return (row.body or b"").decode()
    found = wire.decode(row.inner)
    assert isinstance(found, wire.Message)
    return found.body.decode()


def _blank(term: str) -> bool:
    """Return whether a term has blanks, which are one in what is shown."""
    return any(char.isspace() for char in term)


# -- what is shown of it


def test_a_match_has_a_few_words_around_it() -> None:
    text = "one two three four five six seven eight nine ten Straße eleven twelve thirteen fourteen fifteen sixteen"
    hit = match(text, fold("STRASSE"))
    assert hit is not None
    assert hit.text[hit.start : hit.end] == "Straße"
    assert hit.text == "…five six seven eight nine ten Straße eleven twelve thirteen fourteen…"


def test_a_match_is_on_one_line() -> None:
    hit = match("first\nsecond\tthe  term\r\nlast", "term")
    assert hit is not None
    assert hit.text == "first second the term last"
    assert hit.text[hit.start : hit.end] == "term"


def test_a_match_in_one_long_word_is_cut() -> None:
    hit = match("x" * 500 + "term" + "y" * 500, "term")
    assert hit is not None
    assert hit.text == "…" + "x" * 32 + "term" + "y" * 32 + "…"


def test_no_match() -> None:
    assert match("some text", "other") is None
    assert match("", "x") is None
