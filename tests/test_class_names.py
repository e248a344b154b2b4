"""A public class of the product has a name of its own: who reads `Window` need not ask which."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The pure twin of a compiled class has its name: the one takes the other's place.
TWINS = {"_pure.py", "_pure_bucket.py"}


def classes(texts: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return where each public class is defined, by its name."""
    found: dict[str, list[str]] = defaultdict(list)
    for where, text in texts:
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(where)
    return found


def test_a_name_used_twice_is_found() -> None:
    texts = [
        ("a", "class Window: ...\nclass _Own: ..."),
        ("b", "class Window: ...\nclass _Own: ..."),
    ]
    assert {n: w for n, w in classes(texts).items() if len(w) > 1} == {"Window": ["a", "b"]}


def test_each_class_has_a_name_of_its_own() -> None:
    paths = [
        path
        for folder in ("messenger", "cli", "fastpath")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name not in TWINS
    ]
    found = classes((str(p.relative_to(ROOT)), p.read_text(encoding="utf-8")) for p in paths)
    assert len(found) > 200
    assert {name: where for name, where in found.items() if len(where) > 1} == {}
