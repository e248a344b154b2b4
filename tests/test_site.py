"""The site of the documents: it is built strictly, leads to what is there, and loads nothing from another host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import site

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("furo")
    target = tmp_path_factory.mktemp("site") / "out"
    assert site.main([str(target)]) == 0
    return target


def test_every_document_is_a_page_and_in_the_search(built: Path) -> None:
    index = (built / "searchindex.js").read_text(encoding="utf-8")
    for path in [*(site.ROOT / "docs").rglob("*.md"), site.ROOT / "messenger" / "PROTOCOL.md"]:
        name = path.relative_to(site.ROOT).with_suffix("").as_posix()
        assert (built / f"{name}.html").is_file(), name
        assert f'"{name}"' in index, name
    assert "safety number" in (built / "index.html").read_text(encoding="utf-8")


def test_it_loads_nothing_from_elsewhere_and_leads_somewhere(built: Path) -> None:
    assert list(site.foreign(built)) == []
    assert list(site.unresolved(built)) == []
    assert not re.search(r"fonts\.g|cdn|unpkg", (built / "index.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<script src="https://cdn.example/x.js"></script>'),
        ("a.html", '<link rel="stylesheet" href="//fonts.example/a.css">'),
        ("a.html", "<img src='http://x.example/a.png'>"),
        ("a.html", '<p style="background: url(https://x.example/a)">'),
        ("a.html", "<style>@import 'https://x.example/a.css';</style>"),
        ("a.css", "@font-face { src: url('//x.example/f.woff2') }"),
        ("a.js", 'fetch("https://x.example/count")'),
        ("a.svg", '<svg><image href="https://x.example/a.png"/></svg>'),
    ],
)
def test_what_would_be_loaded_is_noticed(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert len(list(site.foreign(tmp_path))) >= 1


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html"></a><a href="#c"></a><a href="#d"></a><p id="c"></p>'
        '<a href="https://x.example/">a link for people</a>'
    )
    assert len(list(site.unresolved(tmp_path))) == 2


def test_a_page_that_is_wrong_fails_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("furo")
    copied = tmp_path / "checkout"
    site.staged(copied)
    (copied / "index.md").rename(copied / "README.md")
    with (copied / "docs" / "guide.md").open("a", encoding="utf-8") as page:
        page.write("\nSee [nothing](nowhere.md).\n")
    monkeypatch.setattr(site, "ROOT", copied)
    assert site.main([str(tmp_path / "out")]) == 1
    assert "nowhere.md" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").touch()
    assert site.main([str(tmp_path)]) == 1
    assert (tmp_path / "thesis.odt").exists()
