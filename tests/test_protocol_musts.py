"""Each MUST of PROTOCOL.md has a number and a test, and a guard that is missing is noticed."""

from __future__ import annotations

import dataclasses
import re

import pytest

from tests import mutants
from tests.support import musts
from tests.support.musts import Mutant

RULES = musts.load()
TEXT = musts.DOCUMENT.read_text(encoding="utf-8")
SAMPLE = ["R34", "R42", "R67", "G1"]
"""Of those that the code once did without, and fast; `dev.py mutants` takes out all."""


def test_every_must_has_a_number_and_a_test() -> None:
    assert musts.problems(TEXT, RULES) == []


def test_what_does_not_agree_is_named() -> None:
    first, *rest = RULES
    lost = dataclasses.replace(first, quote="a node MUST do something else")
    untested = dataclasses.replace(first, tests=("tests/test_protocol_musts.py::test_nothing",))
    gone = dataclasses.replace(
        first, mutants=(Mutant(file="messenger/errors.py", old="no such text", new=""),)
    )
    assert len(musts.problems(TEXT, rest)) == 1  # A rule without an entry.
    assert len(musts.problems(TEXT, [lost, *rest])) == 2
    assert "no such test" in musts.problems(TEXT, [untested, *rest])[0]
    assert "0 times" in musts.problems(TEXT, [gone, *rest])[0]
    assert len(musts.problems(f"{TEXT}\nA reader\nMUST NOT wonder.", RULES)) == 1


def test_the_document_has_the_numbers() -> None:
    assert musts.numbered(TEXT, RULES) == TEXT, "python3 dev.py mutants --number"


def test_what_reliability_md_names_is_there() -> None:
    text = (musts.ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    tests = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    missing = [(path, name) for path, name in tests if name and name not in musts.tests_in(path)]
    missing += [(path, "") for path, _ in tests if not (musts.ROOT / path).is_file()]
    assert tests
    assert missing == []
    with_guard = {rule.name for rule in RULES if rule.mutants}
    assert set(re.findall(r"\b[RG]\d+\b", text)) <= with_guard


@pytest.mark.slow
def test_a_guard_that_is_missing_is_noticed() -> None:
    assert mutants.main(SAMPLE) == 0
