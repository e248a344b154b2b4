"""A place in the journal is what a program goes on from: of this home and its present state, or refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from peerpost.errors import BadInputError
from peerpost.store.db import journal
from peerpost.store.tables import contacts, inbox, places
from tests.support.journal_rig import fill, rows
from tests.support.store_rig import NOW_MS, Rig, chain


def test_a_place_is_found_again_and_has_the_form_that_is_told(rig: Rig) -> None:
    assert rig.read(places.newest) == places.BEGINNING
    fill(rig)
    for row in rows(rig):
        place = places.encode(row)
        assert re.fullmatch(places.PLACE, place)
        assert rig.read(places.find, place) == (row.id, True)
    assert rig.read(places.newest) == places.encode(rows(rig)[-1])
    assert rig.read(places.find, places.BEGINNING) == (0, True)


@pytest.mark.parametrize("place", ["0-00000000", "999-00000000", "999999999999999999-12345678"])
def test_a_place_that_was_never_given_is_refused(rig: Rig, place: str) -> None:
    fill(rig)
    with pytest.raises(BadInputError, match=f"never given the cursor {place}"):
        rig.read(places.find, place)


def test_another_state_of_a_row_is_not_taken_for_it(rig: Rig) -> None:
    fill(rig)
    last = rows(rig)[-1]
    other = places.encode(last)[:-1] + ("0" if places.encode(last)[-1] != "0" else "1")
    with pytest.raises(BadInputError):
        rig.read(places.find, other)


def test_a_place_of_a_state_that_was_put_back_is_refused_also_when_as_much_has_happened_since(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    with Rig(first) as rig:
        rig.make_identity()
        bob = rig.make_contact("bob").id
        before = rig.read(places.newest)
    shutil.copytree(first, second)
    with Rig(first) as rig:
        rig.write(inbox.receive_many, bob, chain(2, tag="lost"), NOW_MS)
        lost = rig.read(places.newest)
    with Rig(second) as rig:
        assert rig.read(places.find, before).is_kept
        with pytest.raises(BadInputError):
            rig.read(places.find, lost)
        rig.write(inbox.receive_many, bob, chain(5, tag="other"), NOW_MS)
        assert rig.read(journal.newest) > int(lost.partition("-")[0])
        with pytest.raises(BadInputError, match="never given"):
            rig.read(places.find, lost)
        assert rig.read(places.find, before).is_kept


def test_a_place_whose_row_is_gone_is_told_apart(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    carol = rig.make_contact("carol").id
    rig.write(inbox.receive_many, bob, chain(3), NOW_MS)
    of_bob = rows(rig)[-1]
    rig.write(contacts.edit, carol, note="x")
    assert rig.read(places.find, places.encode(of_bob)) == (of_bob.id, True)
    rig.write(journal.forget, bob)
    assert rig.read(places.find, places.encode(of_bob)) == (of_bob.id, False)
