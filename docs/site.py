"""Build the documents into a site that needs no network: `python3 dev.py site [FOLDER]`, by default build/site.

Everything is as in the checkout: links between README.md, docs/ and the protocol lead to pages, and one that leads
nowhere fails the build. Fonts are the system's; styles, scripts and the index of the search lie beside the pages, so
that the site works from a folder too. Nothing is loaded from another host: that is looked for at the end.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["build", "foreign", "main", "staged", "unresolved"]

ROOT = Path(__file__).resolve().parents[1]
START = "README.md"
SECTIONS = {
    "To begin": [
        "docs/tutorial.md",
        "docs/jobs/README.md",
        "docs/chat.md",
        "docs/backup.md",
        "wheels/README.md",
    ],
    "To look up": ["docs/guide.md", "docs/cli.md", "contrib/README.md", "CHANGELOG.md"],
    "Promises": ["SECURITY.md", "docs/reliability.md", "docs/performance.md"],
    "Inside": [
        "messenger/PROTOCOL.md",
        "docs/design.md",
        "docs/architecture.md",
        "CONTRIBUTING.md",
    ],
}
"""What the sidebar shows below which heading. Jobs stand below their own page."""
BESIDE = ("docs/session.svg", "docs/recording.svg", "docs/chat.svg", "LICENSE")
LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^( *)```(\w+)(?: (.+))?$", re.MULTILINE)
SHELLS = {"sh", "cron"}
CONF = """
project, author, copyright = "Peerpost", "Peerpost", "Apache-2.0"
extensions = ["myst_parser"]
root_doc = "index"
myst_heading_anchors = 6
html_theme, html_title = "furo", "Peerpost"
html_copy_source = html_show_sourcelink = html_show_sphinx = False
html_theme_options = {"footer_icons": [], "top_of_page_buttons": []}
smartquotes = False
highlight_language = "text"
"""
LOADS = {
    "script": ("src",), "link": ("href",), "img": ("src", "srcset"), "iframe": ("src",), "source": ("src", "srcset"),
    "video": ("src", "poster"), "audio": ("src",), "embed": ("src",), "object": ("data",), "form": ("action",),
    "use": ("href", "xlink:href"), "image": ("href", "xlink:href"), "base": ("href",), "input": ("src",),
}  # fmt: skip
"""What a browser fetches by itself. A link in the text is followed by people alone."""
IN_SCRIPT = re.compile(r"""["'`]((?:(?:https?|wss?):)?//[\w.-]+\.[^"'`\s]*)""")
NAMESPACES = "http://www.w3.org/"
IN_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""")


def staged(folder: Path) -> list[str]:
    """Copy the documents into a folder as they lie in the checkout, ready for Sphinx; return the names of the pages."""
    listed = {name for names in SECTIONS.values() for name in names}
    jobs = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs/jobs").glob("*.md"))]
    names = [START, "docs/README.md", *sorted(listed | set(jobs))]
    for name in (*names, *BESIDE):
        target = folder / ("index.md" if name == START else name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix != ".md":
            shutil.copyfile(ROOT / name, target)
            continue
        text = _text(name)
        if name == START:
            parts = [("Documents", ["docs/README.md"]), *SECTIONS.items()]
            text += "".join(_contents(caption, pages) for caption, pages in parts)
        elif name == "docs/jobs/README.md":
            text += _contents("", [job.removeprefix("docs/jobs/") for job in jobs if job != name])
        target.write_text(text, encoding="utf-8")
    (folder / "conf.py").write_text(CONF, encoding="utf-8")
    return names


def _text(name: str) -> str:
    """Return a page with what is different on a site: what the first page is called, and diagrams are shown as text."""
    here = (ROOT / name).parent

    def led(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        if not urlsplit(target).scheme and (here / target).resolve() == ROOT / START:
            return f"]({target.removesuffix(START)}index.md{anchor})"
        return match[0]

    return FENCE.sub(_fence, LINK.sub(led, (ROOT / name).read_text(encoding="utf-8")))


def _fence(match: re.Match[str]) -> str:
    """Begin a block in a language that can be coloured; whose shell runs it stands above."""
    from pygments.lexers import find_lexer_class_by_name
    from pygments.util import ClassNotFound

    indent, language, whose = match.groups()
    said = f"```{{code-block}} sh\n{indent}:caption: {whose}\n"
    if whose and language in SHELLS:
        return indent + (said if language == "sh" else said.replace(" sh", " text"))
    try:
        find_lexer_class_by_name(language)
    except ClassNotFound:
        language = "text"
    return f"{indent}```{language}"


def _contents(caption: str, names: list[str]) -> str:
    head = f":caption: {caption}\n" if caption else ""
    return f"\n```{{toctree}}\n:hidden:\n{head}\n" + "\n".join(names) + "\n```\n"


def build(target: Path) -> None:
    """Build the site into a folder, which is replaced. Raises RuntimeError saying what is wrong with a page."""
    with tempfile.TemporaryDirectory(prefix="peerpost-site-") as name:
        work = Path(name)
        staged(work / "pages")
        command = [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-W",
            "--keep-going",
            "-n",
            "-E",
            "-b",
            "html",
        ]
        done = subprocess.run(
            [*command, "-d", work / "trees", work / "pages", work / "site"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        if done.returncode:
            raise RuntimeError(done.stderr.replace(f"{work}/pages/", "") or done.stdout)
        site = work / "site"
        for rest in (".buildinfo", "objects.inv"):
            (site / rest).unlink(missing_ok=True)
        wrong = [*foreign(site), *unresolved(site)]
        if wrong:
            raise RuntimeError("\n".join(wrong))
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(site, target)


class _Page(HTMLParser):
    """Collects what a page loads, where its links lead, and which places it has."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.loads += [given[name] for name in LOADS.get(tag, ()) if name in given]
        self.loads += IN_STYLE.findall(given.get("style", ""))
        self.links += [given["href"]] if tag == "a" and "href" in given else []
        self.places |= {given[name] for name in ("id", "name") if name in given}


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def foreign(site: Path) -> Iterator[str]:
    """Yield what a page, a style, a script or a picture of the site would load from another host."""
    for path in sorted(site.rglob("*")):
        name = path.relative_to(site).as_posix()
        if path.suffix in {".html", ".svg"}:
            text = path.read_text(encoding="utf-8")
            found = [*_read(path).loads, *IN_STYLE.findall(text)]
        elif path.suffix == ".css":
            found = IN_STYLE.findall(path.read_text(encoding="utf-8"))
        elif path.suffix == ".js":
            found = IN_SCRIPT.findall(path.read_text(encoding="utf-8"))
        else:
            continue
        for address in found:
            if urlsplit(address.strip()).netloc and not address.startswith(NAMESPACES):
                yield f"{name} loads {address}"


def unresolved(site: Path) -> Iterator[str]:
    """Yield each link within the site that leads nowhere."""
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(target)
            place = unquote(parts.fragment)
            if not target.is_file() or (place and known and place not in known.places):
                yield f"{path.relative_to(site).as_posix()} links to {link}, which is not there"


def main(arguments: list[str]) -> int:
    """Build the site; return the exit code."""
    if len(arguments) > 1 or any(word.startswith("-") for word in arguments):
        sys.stderr.write("usage: python3 dev.py site [FOLDER]\n")
        return 2
    target = Path(arguments[0] if arguments else ROOT / "build" / "site").absolute()
    if target.exists() and any(target.iterdir()) and not (target / "searchindex.js").exists():
        sys.stderr.write(f"error: {target} holds something else, and would be replaced\n")
        return 1
    try:
        build(target)
    except RuntimeError as error:
        sys.stderr.write(f"error: the site was not built:\n{error}\n")
        return 1
    sys.stdout.write(f"{target / 'index.html'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
