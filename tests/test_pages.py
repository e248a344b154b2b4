"""README.md, CONTRIBUTING.md and docs/: links lead somewhere, and the commands and headings that are named exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import dev_py

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"python3 dev\.py ([a-z0-9]+)(?: ([a-z0-9_/.]+))?")
each_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


@pytest.fixture(scope="module")
def dev() -> ModuleType:
    return dev_py.load()


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub makes them of its headings."""
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings(page)}


def broken(page: Path) -> Iterator[str]:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        if name.startswith("http"):
            continue
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


def test_readme_is_short_and_begins_with_how_to_try_it() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    first_screen = "\n".join(lines[:30])
    assert "python3 dev.py demo" in first_screen
    assert "python3 dev.py test" in first_screen


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One two\n[a](#one-two) [b](page.md#one-two) [c](gone.md) [d](#three)\n")
    assert list(broken(page)) == ["gone.md", "#three"]


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in LINK.findall(page.read_text(encoding="utf-8"))
        if not link.startswith("#")
    }
    assert set(PAGES) - {README} <= linked


@each_page
def test_every_command_of_dev_py_exists(page: Path, dev: ModuleType) -> None:
    for command, argument in COMMAND.findall(page.read_text(encoding="utf-8")):
        assert command in dev.COMMANDS, command
        if command == "bench" and argument:
            assert (ROOT / "bench" / f"bench_{argument}.py").exists(), argument
        if command == "pytest":
            assert (ROOT / argument).exists(), argument


def test_every_heading_of_design_md_that_is_cited_exists() -> None:
    sources = [
        *(
            path
            for name in ("messenger", "cli", "fastpath")
            for path in (ROOT / name).rglob("*.py")
        ),
        *(ROOT / "tests").rglob("*.py"),
    ]
    cited = {
        heading
        for path in sources
        for heading in re.findall(
            r'docs/design\.md, "([^"]+)"', " ".join(path.read_text(encoding="utf-8").split())
        )
    }
    found = headings(ROOT / "docs" / "design.md")
    assert cited
    assert [c for c in cited if not any(head.startswith(c) for head in found)] == []
