"""contrib/apprise_peerpost.py: the real Apprise, as a command and as a library, sends between two nodes."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import apprise
import pytest

from peerpost.client.paths import HomePaths
from tests.support.nodes import WAIT_S, Friend, until

pytestmark = [
    pytest.mark.slow,
    # Those of the plugins that Apprise loads.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

PLUGIN = Path(__file__).parents[2] / "contrib" / "apprise_peerpost.py"
SCRIPTS = Path(sys.executable).parent


def instantiated(url: str) -> Any:
    asset = apprise.AppriseAsset(plugin_paths=[str(PLUGIN)])
    return apprise.Apprise.instantiate(url, asset=asset)


@pytest.mark.parametrize(
    ("url", "targets", "home"),
    [
        ("peerpost://Bob", ["Bob"], None),
        ("peerpost://bob/carol/#ops?home=/tmp/a%20b%25c", ["bob", "carol", "#ops"], "/tmp/a b%c"),
        ("peerpost:///#ops/", ["#ops"], None),
        ("peerpost://%23ops/anna%2Fb", ["#ops", "anna/b"], None),
        ("peerpost://bob@web1/b+c?home=/a#b", ["bob@web1", "b+c"], "/a#b"),
        ("peerpost://żółć?expires=1d", ["żółć"], None),
    ],
)
def test_a_url_names_whom_it_says_and_makes_the_same_again(
    url: str, targets: list[str], home: str | None
) -> None:
    made = instantiated(url)
    assert (made.targets, made.home) == (targets, home)
    again = instantiated(made.url())
    assert (again.targets, again.home, again.expires) == (targets, home, made.expires)
    assert made.url_id() == again.url_id()
    assert len(made) == len(targets)


@pytest.mark.parametrize("url", ["peerpost://", "peerpost:///", "peerpost://#?home=/x"])
def test_a_url_that_names_nobody_is_none(url: str) -> None:
    assert instantiated(url) is None


def test_apprise_can_describe_it() -> None:
    instantiated("peerpost://bob")
    details = apprise.Apprise().details()
    (ours,) = [one for one in details["schemas"] if str(one["service_name"]) == "Peerpost"]
    assert {"home", "expires"} <= set(ours["details"]["args"])


async def run(folder: Path, *arguments: str, path: str | None = None) -> tuple[int, str]:
    """Run the command `apprise` with the plugin."""
    env = os.environ | {"HOME": str(folder), "PATH": path or f"{SCRIPTS}:{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import sys; from apprise.cli import main; sys.exit(main())"),
        *("-v", "--plugin-path", str(PLUGIN), *arguments),
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(WAIT_S):
        said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


@pytest.mark.asyncio
async def test_the_command_sends_texts_and_attachments(
    pair: tuple[Friend, Friend], folder: Path
) -> None:
    alice, bob = pair
    await alice.cli("contacts", "edit", "bob", "--tag", "ops")
    report = folder / "report ä.txt"
    report.write_text("all of it")
    code, said = await run(
        folder, "-t", "web1", "-b", "the disk is\nfull ✓", "-n", "warning", "-a", str(report),
        f"peerpost:///#ops?home={alice.home}",
    )  # fmt: skip
    assert code == 0, said

    async def here() -> bool:
        return len(await bob.ask("inbox.list")) == 2

    await until(here)
    rows = {row["kind"]: row for row in await bob.ask("inbox.list")}
    shown = await bob.ask("inbox.show", {"id": rows["text"]["id"]})
    assert shown["body"] == "[warning] web1\nthe disk is\nfull ✓"
    assert rows["file"]["name"] == "report ä.txt"
    assert await bob.saved(rows["file"]["id"]) == b"all of it"


@pytest.mark.asyncio
async def test_a_long_body_becomes_several_texts(pair: tuple[Friend, Friend], folder: Path) -> None:
    alice, bob = pair
    body = "€" * 40_000
    code, said = await run(folder, "-b", body, f"peerpost://bob?home={alice.home}")
    assert code == 0, said

    async def here() -> bool:
        return len(await bob.ask("inbox.list")) == 3

    await until(here)
    bodies = [
        (await bob.ask("inbox.show", {"id": row["id"]}))["body"]
        for row in await bob.ask("inbox.list", {"oldest": True})
    ]
    assert "".join(bodies) == body


@pytest.mark.asyncio
async def test_what_was_not_queued_is_no_success(pair: tuple[Friend, Friend], folder: Path) -> None:
    alice, _ = pair
    code, said = await run(folder, "-b", "x", f"peerpost://nobody?home={alice.home}")
    assert code != 0
    assert "no contact named 'nobody'" in said
    code, said = await run(folder, "-b", "x", f"peerpost://--debug?home={alice.home}")
    assert code != 0
    assert "no contact named '--debug'" in said
    code, said = await run(folder, "-b", "x", f"peerpost://bob?home={folder}/none")
    assert code != 0
    assert "exit 78" in said
    assert not HomePaths(folder / "none").has_identity
    code, said = await run(folder, "-b", "x", f"peerpost://bob?home={alice.home}", path="/nowhere")
    assert code != 0
    assert "no command 'peerpost' on the PATH" in said
    assert await alice.ask("sent.list") == []
