"""PROTOCOL.md says what the code does: its examples are vectors, its tables the code's."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from peerpost.crypto import keys, labels
from peerpost.errors import ProtocolError
from peerpost.wire import inner, limits

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "messenger" / "PROTOCOL.md").read_text()
BLOCK = re.compile(r'^```vector (\S+) "([^"]+)" (\S+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
EXAMPLES = [pytest.param(*found, id=" ".join(found[:3])) for found in BLOCK.findall(TEXT)]


@pytest.mark.parametrize(("file", "name", "field", "block"), EXAMPLES)
def test_an_example_is_its_vector(file: str, name: str, field: str, block: str) -> None:
    (value,) = [case for case in vectors(file) if case["name"] == name]
    for step in field.split("."):
        value = value[int(step)] if step.isdigit() else value[step]
    shown = "".join(line.partition(";")[0] for line in block.splitlines())
    assert "".join(shown.split()) == "".join(value.split())


def vectors(file: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((ROOT / "tests" / "vectors" / file).read_text())
    return found


def test_every_structure_has_an_example() -> None:
    blocks = BLOCK.findall(TEXT)
    files = {path.name for path in (ROOT / "tests" / "vectors").glob("*.json")}
    assert {file for file, *_ in blocks} == files
    by_name = {case["name"]: case for case in vectors("inner.json")}
    inners = [by_name[name] for file, name, *_ in blocks if file == "inner.json"]
    assert {int(case["data"][:2], 16) for case in inners} == set(inner._TYPES)
    kinds = [inner.decode(bytes.fromhex(case["data"])) for case in inners]
    assert {m.kind for m in kinds if isinstance(m, inner.Message)} == set(inner.Kind)


def test_every_refusal_is_named_with_its_rule() -> None:
    shown = [
        (file, name)
        for file, names in re.findall(r"^\| ([a-z]+\.json) \| (`.+?`) \| ", TEXT, re.MULTILINE)
        for name in re.findall("`(.+?)`", names)
    ]
    files = sorted(path.name for path in (ROOT / "tests" / "vectors").glob("*.json"))
    bad = [(f, case["name"]) for f in files for case in vectors(f) if case["expect"] != "success"]
    assert sorted(shown) == sorted(bad)


def test_the_limits_are_the_codes() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_0-9]+)` \| (.+?) \| .+ \|$", TEXT, re.MULTILINE))
    named = {name: value for name, value in vars(limits).items() if name.isupper()}
    shown = {
        name: f"{value:,}" if isinstance(value, int) else str(value)
        for name, value in named.items()
    }
    assert rows == shown


def test_the_limits_are_explained_in_the_same_words_as_in_the_code() -> None:
    code = Path(limits.__file__).read_text()
    words = re.findall(r'^([A-Z_0-9]+): Final.*?\n"""(.*?)"""', code, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `([A-Z_0-9]+)` \| .+? \| (.+) \|$", TEXT, re.MULTILINE)
    assert dict(rows) == {name: " ".join(why.split()) for name, why in words}


@pytest.mark.slow
def test_every_limit_is_used() -> None:
    own = Path(limits.__file__)
    others = [
        p for p in own.parents[1].rglob("*.py") if p.name != own.name or p.parent != own.parent
    ]
    code = "\n".join(path.read_text() for path in others)
    # One may also stand in another limit, beside its own definition.
    unused = [
        name
        for name in vars(limits)
        if name.isupper()
        and not re.search(rf"\blimits\.{name}\b|\blimits import .*\b{name}\b", code)
        and len(re.findall(rf"\b{name}\b", own.read_text())) == 1
    ]
    assert unused == []


def points(curve: str) -> list[bytes]:
    """Return the points of small order that the document lists, with either highest bit."""
    (block,) = re.findall(rf"^```points {curve}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    listed = [bytes.fromhex(line.partition(";")[0]) for line in block.splitlines()]
    assert len(listed) == 7
    return [p[:-1] + bytes([p[-1] & 0x7F | high]) for p in listed for high in (0, 0x80)]


def test_the_points_of_small_order_are_refused() -> None:
    for point in points("x25519"):
        with pytest.raises(ProtocolError):
            keys.check_x25519(point)
    # R = S B with S = 1 holds for a key of small order wherever its share of the sum is neutral.
    base = bytes([0x58]) + bytes([0x66]) * 31
    one = (1).to_bytes(32, "little")
    accepted_elsewhere = 0
    for point in points("ed25519"):
        for n in range(64):
            message = labels.SIGN_HELLO + bytes([n])
            assert not keys.verify(point, labels.SIGN_HELLO, bytes([n]), base + one)
            with contextlib.suppress(ValueError, InvalidSignature):
                Ed25519PublicKey.from_public_bytes(point).verify(base + one, message)
                accepted_elsewhere += 1
    assert accepted_elsewhere > 0


def test_the_labels_are_the_codes() -> None:
    found = {word.encode() for word in re.findall(r"`(peerpost/v1/[a-z/]+)`", TEXT)}
    assert found == {*labels.PERSONS, *(label.rstrip(b"\0") for label in labels.LABELS)}


def test_the_types_and_fields_are_the_codes() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z]\w+) \| ([a-z_, ]+) \|$", TEXT, re.MULTILINE)
    shown = {int(number): (name, fields.split(", ")) for number, name, fields in rows}
    assert shown == {
        number: (kind.__name__, list(kind.__struct_fields__))
        for number, kind in inner._TYPES.items()
    }


@pytest.mark.parametrize("path", sorted((ROOT / "messenger").rglob("*.py")), ids=lambda p: p.stem)
def test_the_sections_that_the_code_names_exist(path: Path) -> None:
    headings = set(re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE))
    named = re.findall(r'PROTOCOL\.md, "([^"]+)"', " ".join(path.read_text().split()))
    assert set(named) <= headings
