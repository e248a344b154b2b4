"""The rules of PROTOCOL.md and what holds them: `tests/protocol_musts.toml`, read and compared with the document.

    python3 dev.py mutants --number      # name what does not agree, or else write the numbers into the document

There they follow each MUST, as [R7].

An entry names its rule by a quotation: words around one MUST that occur in the document once. So the document can be
edited freely; only a change of the rule itself requires a change of its entry.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "DOCUMENT",
    "ROOT",
    "Mutant",
    "Rule",
    "load",
    "musts",
    "numbered",
    "problems",
    "tests_in",
]

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "messenger" / "PROTOCOL.md"
MAP = ROOT / "tests" / "protocol_musts.toml"

_MUST = re.compile(r"\bMUST(?:\s+NOT)?\b")
_MARK = re.compile(r" \[R\d+\]")
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_KEY_WORDS = "The key words MUST, MUST NOT, SHOULD and MAY"
"""The sentence that explains the words; it is no rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A guard, and the text that takes it out."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule with the tests that hold it: a MUST of the document (R7), or a guard beside them (G2)."""

    name: str
    quote: str
    """The quotation from the document; for a guard, a description."""
    tests: tuple[str, ...]
    mutants: tuple[Mutant, ...]


def load() -> list[Rule]:
    """Read the map."""
    table = tomllib.loads(MAP.read_text(encoding="utf-8"))
    return [
        Rule(
            name=f"{letter}{entry['number']}",
            quote=entry["quote"],
            tests=tuple(entry["tests"]),
            mutants=tuple(Mutant(**mutant) for mutant in entry.get("mutant", [])),
        )
        for letter, key in (("R", "must"), ("G", "guard"))
        for entry in table[key]
    ]


def problems(text: str, rules: list[Rule]) -> list[str]:
    """Return what is wrong between a document and its map, each as a line."""
    found: list[str] = []
    plain = _plain(text)
    held: set[int] = set()
    names: set[str] = set()
    for rule in rules:
        if rule.name in names:
            found.append(f"{rule.name}: the number stands twice")
        names.add(rule.name)
        if rule.name.startswith("R"):
            places = [m.start() for m in re.finditer(re.escape(rule.quote), plain)]
            words = list(_MUST.finditer(rule.quote))
            if len(places) != 1 or len(words) != 1:
                found.append(
                    f"{rule.name}: not words around one MUST that stand once: {rule.quote}"
                )
            else:
                held.add(places[0] + words[0].start())
        found += [f"{rule.name}: {problem}" for problem in _of_tests(rule) + _of_mutants(rule)]
    found += [
        f"no entry: ...{plain[max(0, at - 60) : at + 60]}..."
        for at in musts(plain)
        if at not in held
    ]
    return found


def musts(plain: str) -> list[int]:
    """Return where each MUST of a text without line breaks begins."""
    explained = plain.find(_KEY_WORDS)
    explanation = range(explained, explained + len(_KEY_WORDS))
    return [m.start() for m in _MUST.finditer(plain) if m.start() not in explanation]


def _plain(text: str) -> str:
    """Return a document without its examples, numbers and line breaks."""
    return " ".join(_MARK.sub("", _BLOCK.sub("", text)).split())


def _of_tests(rule: Rule) -> list[str]:
    if not rule.tests:
        return ["no test"]
    missing = []
    for test in rule.tests:
        path, _, name = test.partition("::")
        if name not in tests_in(path):
            missing.append(f"no such test: {test}")
    return missing


def _of_mutants(rule: Rule) -> list[str]:
    wrong = []
    for mutant in rule.mutants:
        path = ROOT / mutant.file
        count = path.read_text(encoding="utf-8").count(mutant.old) if path.is_file() else 0
        if count != 1:
            wrong.append(f"its guard stands {count} times in {mutant.file}: {mutant.old!r}")
    return wrong


@functools.cache
def tests_in(path: str) -> frozenset[str]:
    """Return the names of the tests in a file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        node.name
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, functions) and node.name.startswith("test_")
    )


def numbered(text: str, rules: list[Rule]) -> str:
    """Return a document in which each rule's MUST has its number behind it, and nothing else has one."""
    text = _MARK.sub("", text)
    for rule in rules:
        if not rule.name.startswith("R"):
            continue
        words = [re.escape(word) for word in rule.quote.split()]
        quotation = re.search(
            r"(?:\s|\s\[R\d+\]\s)".join(words).replace(r"(?:\s|", r"(?:\s+|"), text
        )
        if quotation is None:
            raise ValueError(f"{rule.name} is not in the document: {rule.quote}")
        word = _MUST.search(text, quotation.start())
        assert word is not None
        text = f"{text[: word.end()]} [{rule.name}]{text[word.end() :]}"
    return text


def main(arguments: list[str]) -> int:
    """Compare the document with its map; with `--number` write the numbers into it first."""
    rules, text = load(), DOCUMENT.read_text(encoding="utf-8")
    found = problems(text, rules)
    if not found and arguments == ["--number"]:
        DOCUMENT.write_text(numbered(text, rules), encoding="utf-8")
    for line in found:
        print(line)
    print(f"{len(rules)} rules, {sum(len(rule.mutants) for rule in rules)} guards")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
