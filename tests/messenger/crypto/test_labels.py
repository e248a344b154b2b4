from __future__ import annotations

from itertools import permutations

from peerpost.crypto import labels


def test_all_are_registered() -> None:
    strings = {
        value
        for name, value in vars(labels).items()
        if name.startswith(("SIGN_", "NOISE_", "DERIVE_", "SEAL_"))
    }
    persons = {value for name, value in vars(labels).items() if name.startswith("PERSON_")}
    assert strings == set(labels.LABELS)
    assert persons == set(labels.PERSONS)


def test_none_is_used_twice_nor_begins_another() -> None:
    every = (*labels.LABELS, *labels.PERSONS)
    assert len(set(every)) == len(every)
    assert not [pair for pair in permutations(every, 2) if pair[1].startswith(pair[0])]


def test_their_form() -> None:
    assert all(label.endswith(b"\0") and label.count(b"\0") == 1 for label in labels.LABELS)
    assert {len(person) for person in labels.PERSONS} == {16}
    assert all(label.startswith(b"peerpost/v1/") for label in (*labels.LABELS, *labels.PERSONS))
