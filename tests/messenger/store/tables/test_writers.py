"""Each table is written by one module of the store: whoever changes a row finds the other places there."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import apsw
import pytest

from peerpost.store.db.migrations import migrate

ROOT = Path(__file__).parents[4]

WRITERS: dict[str, str | None] = {
    "backups": "backups",
    "beyond": "lanes",
    "chains": "chains",
    "changes": "journal",  # triggers of the schema add the rows
    "contacts": "contacts",
    "contents": "contents",
    "contents_key": "contents",
    "copied": "lives",
    "deleted": "deletion",
    "former_contacts": "former",
    "identity": "identity",
    "inbox": "inbox",
    "inbox_grams": "grams",
    "inbox_slices": "grams",  # triggers of the schema delete the rows
    "invites": "invites",
    "lives": "lives",
    "long_texts": "indexing",  # triggers of the schema add the rows
    "marks": "lanes",
    "met_runs": "lives",
    "outbox": "outbox",
    "outbox_grams": "grams",
    "outbox_ids": "agreement",
    "outbox_slices": "grams",
    "plain": "plain",
    "prekeys": None,  # nothing is kept there yet
    "put_back": "agreement",
    "rate_limits": "limits",
    "readers": "readers",
    "runs": "lives",
    "seen": "lanes",
    "tags": "tags",
    "transfers": "transfers",
    "unheard": "agreement",
    "usage": None,  # triggers of the schema keep it
}
"""Which module writes which table."""

HELPER = "rows"  # `insert_rows` writes for its caller, who names the table
CHANGED = r"(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|REPLACE\s+INTO|DELETE\s+FROM|UPDATE(?:\s+OR\s+\w+)?)"
CHANGE = re.compile(CHANGED + r"\s+[\"\[`]?(?!SET\b)(\w+|\{\})", re.IGNORECASE)


def text_of(node: ast.AST) -> str:
    """Return what a piece of source has as text, `{}` for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value) or "{}" for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    return ""


def written(text: str) -> set[str]:
    """Return the tables that a module's SQL changes; `{}` for one that is named while it runs."""
    tree = ast.parse(text)
    docs = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) not in docs:
            found |= {table.lower() for table in CHANGE.findall(text_of(node))}
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "insert_rows":
            found.add(text_of(node.args[1]) or "{}")
    return found


def writers(modules: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Return which modules write each table, from (module, source) each."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, text in modules:
        # Other words than a table's name follow in prose: "update Peerpost".
        for table in written(text) & {*WRITERS, "{}"}:
            found[table].add(module)
    return found


@pytest.mark.parametrize(
    ("source", "tables"),
    [
        ('db.execute("UPDATE outbox SET size = 1")', {"outbox"}),
        ('db.execute("update or ignore outbox set size = 1")', {"outbox"}),
        ('db.execute("INSERT OR REPLACE INTO marks"\n " VALUES (?)")', {"marks"}),
        ('q = "DELETE " + "FROM inbox"', {"inbox"}),
        ('q = f"DELETE FROM inbox WHERE {x}"', {"inbox"}),
        ('q = f"DELETE FROM {table}"', {"{}"}),
        ('q = "DELETE FROM\\n  inbox"', {"inbox"}),
        ("q = 'UPDATE \"inbox\" SET a = 1'", {"inbox"}),
        ('insert_rows(db, "outbox", "a", [])', {"outbox"}),
        ("rows.insert_rows(db, table, 'a', [])", {"{}"}),
        ('q = "INSERT INTO a SELECT 1 ON CONFLICT DO UPDATE SET b = 1"', {"a"}),
        ('q = "SELECT 1 FROM outbox"', set()),
        ('def f():\n    """UPDATE outbox SET x."""', set()),
    ],
)
def test_what_is_seen(source: str, tables: set[str]) -> None:
    assert written(source) == tables


@pytest.mark.slow
def test_each_table_has_one_writer() -> None:
    paths = [
        path
        for folder in ("messenger", "cli", "fastpath")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != ROOT / "messenger" / "store" / "db" / f"{HELPER}.py"
    ]
    found = writers((path.stem, path.read_text(encoding="utf-8")) for path in paths)
    assert found == {table: {module} for table, module in WRITERS.items() if module is not None}


def test_every_table_is_named() -> None:
    db = apsw.Connection(":memory:")
    migrate(db)
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert {name for name in names if not name.startswith("sqlite_")} == set(WRITERS)
