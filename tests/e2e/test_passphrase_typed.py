"""What a person is asked at a terminal for a passphrase, in which order, and what a slip there costs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_asyncio

from peerpost.client import ask
from peerpost.node.control.methods import HOST_METHODS
from tests.support.nodes import Friend
from tests.support.protected import PASSPHRASE
from tests.support.terminal import with_answers

from .test_passphrase_sources import command, each, kept_in

pytestmark = pytest.mark.asyncio

OTHER = "amber kettle beside seven blue doors"
ASKED = "Passphrase or recovery code of the home"


@pytest_asyncio.fixture
async def alice(folder: Path) -> Friend:
    """Somebody whose home is locked, and who wrote down the recovery code."""
    alice = Friend("alice", folder)
    made = await alice.cli("identity", "new", "--passphrase-file", kept_in(folder))
    alice.code = made.row["recovery_code"]  # type: ignore[attr-defined]
    await alice.cli("identity", "lock")
    return alice


async def typed(one: Friend, *arguments: str, answers: tuple[str, ...]) -> tuple[int, str]:
    return await asyncio.to_thread(with_answers, command(one, *arguments), each(*answers))


async def test_the_old_one_is_tried_before_a_new_one_is_asked_for(alice: Friend) -> None:
    change = ("identity", "passphrase", "change")
    code, shown = await typed(alice, *change, answers=("wr0ng", PASSPHRASE, OTHER, OTHER))
    assert code == 0, shown
    assert shown.count(ASKED) == 2
    assert shown.index("is wrong. Try again") < shown.index("New passphrase")
    assert shown.count("New passphrase") == 1
    assert "or enter the recovery code" in shown
    assert "Nobody can reset" not in shown
    assert "only the recovery code opens the home" in shown
    assert "The recovery code of before opens the home as before." in shown
    code, shown = await typed(alice, *change, answers=("no", "nor", "not"))
    assert code == 77, shown
    assert shown.count(ASKED) == 3
    assert "New passphrase" not in shown
    assert "try again, or take the recovery code" in shown
    assert (await alice.ask("node.status"))["state"] == "locked"


async def test_a_recovery_code_with_a_slip_may_be_typed_again(alice: Friend) -> None:
    right: str = alice.code  # type: ignore[attr-defined]
    slip = right[:-1] + ("A" if right[-1] != "A" else "B")
    code, shown = await typed(alice, "contacts", "list", answers=(slip, right))
    assert code == 0, shown
    assert "copied wrongly. Try again." in shown


@pytest.mark.parametrize("name", ["remove", "change"])
async def test_a_wrong_one_of_a_file_asks_for_no_other(
    alice: Friend, folder: Path, name: str
) -> None:
    wrong = kept_in(folder, OTHER)
    command = ("identity", "passphrase", name, "--passphrase-file", wrong)
    code, shown = await typed(alice, *command, answers=(PASSPHRASE, PASSPHRASE))
    assert code == 77, shown
    assert "Passphrase" not in shown
    assert (await alice.ask("node.status"))["state"] == "locked"


async def test_a_recovery_code_is_no_new_passphrase(alice: Friend, folder: Path) -> None:
    right: str = alice.code  # type: ignore[attr-defined]
    change = ("identity", "passphrase", "change")
    answers = (PASSPHRASE, right, right.lower().replace("-", " "), OTHER, OTHER)
    code, shown = await typed(alice, *change, answers=answers)
    assert code == 0, shown
    assert shown.count("That is a recovery code, and no passphrase") == 2
    old, new = kept_in(folder, OTHER), folder / "new"
    new.write_text(right, encoding="ascii")
    new.chmod(0o600)
    files = ("--passphrase-file", old, "--new-passphrase-file", str(new))
    refused = await alice.cli(*change, *files, code=65)
    assert "recovery code" in refused.error["message"]


async def test_deleting_a_locked_home_asks_for_no_passphrase(alice: Friend) -> None:
    code, shown = await typed(alice, "identity", "delete", answers=("n",))
    assert code == 0, shown
    assert "Passphrase" not in shown
    assert "which is locked" in shown
    assert "Nothing was deleted" in shown


async def test_nothing_entered_is_said_so(alice: Friend) -> None:
    for arguments in (("identity", "unlock"), ("identity", "passphrase", "remove")):
        code, shown = await typed(alice, *arguments, answers=("",))
        assert code == 77, shown
        assert "nothing was entered: try again" in shown
        assert "asked for it on a terminal" not in shown


async def test_no_method_that_a_locked_home_answers_unlocks_it() -> None:
    # `node.sync` needs the node besides the home, and an open one.
    assert set(HOST_METHODS) - {"node.sync"} == ask.ANSWERED_LOCKED


async def test_unlock_says_when_the_home_is_locked_again(alice: Friend) -> None:
    code, shown = await typed(alice, "identity", "unlock", answers=(PASSPHRASE,))
    assert code == 0, shown
    assert "To keep it unlocked: peerpost node start" in shown
    await alice.cli("node", "start")
    await alice.cli("identity", "lock")
    code, shown = await typed(alice, "identity", "unlock", answers=(PASSPHRASE,))
    assert code == 0, shown
    assert "node start" not in shown


async def test_a_start_that_does_not_unlock_says_what_runs(alice: Friend, folder: Path) -> None:
    await alice.cli("node", "stop")
    code, shown = await typed(alice, "node", "start", answers=("\x03",))
    assert code == 130, shown
    assert "Interrupted. The node runs; the home is locked; to unlock it:" in shown
    assert "sent list" not in shown
    wrong = kept_in(folder, OTHER)
    for arguments, exit_code in ((wrong, 77), (str(folder / "gone"), 66)):
        await alice.cli("node", "stop")
        refused = await alice.cli("node", "start", "--passphrase-file", arguments, code=exit_code)
        assert "the node runs, and the home is locked" in refused.error["hint"]
        assert "nothing was changed" not in refused.error["hint"]
        assert (await alice.ask("node.status"))["stays"]


async def test_an_interrupted_question_says_that_nothing_was_changed(alice: Friend) -> None:
    change = ("identity", "passphrase", "change")
    for answers in (("\x03",), ("wr0ng", "\x03"), (PASSPHRASE, "\x03")):
        code, shown = await typed(alice, *change, answers=answers)
        assert code == 130, shown
        assert shown.rstrip().endswith("Interrupted. Nothing was changed")


@pytest.mark.parametrize(
    "slip",
    [
        lambda shown: shown[:4] + " " + shown[4:],
        lambda shown: shown.replace(" ", ""),
        lambda shown: shown.upper(),
        lambda shown: " ".join(shown.split()[:5]),
    ],
    ids=["a space more", "no space", "capitals", "a word too few"],
)
async def test_a_slip_in_a_suggestion_is_no_passphrase_of_ones_own(
    folder: Path, slip: Callable[[str], str]
) -> None:
    bob = Friend("bob", folder)
    given: list[str] = []

    def answer(shown: str) -> str | None:
        if not shown.rstrip(" ").endswith(":"):
            return None
        lines = [line.strip() for line in shown.splitlines() if line.startswith("    ")]
        right = " ".join(lines[:2])
        given.append(("", slip(right), right)[min(len(given), 2)] if lines or not given else "")
        return given[-1]

    narrow = {**os.environ, "COLUMNS": "40"}
    code, shown = await asyncio.to_thread(
        with_answers, command(bob, "identity", "new"), answer, env=narrow
    )
    assert code == 0, shown
    assert "This is not the one shown" in shown
    assert shown.count("Strength:") == 1
    assert all(len(line) <= 40 for line in shown.splitlines() if line.startswith("    "))
    await bob.cli("identity", "lock")
    await bob.cli("identity", "unlock", "--passphrase-stdin", stdin=given[-1].encode())


async def test_a_backup_asks_for_the_passphrase_of_the_backup(alice: Friend, folder: Path) -> None:
    """Of two passphrases it says which it means, each time."""
    made = str(folder / "backup")
    code, shown = await typed(alice, "backup", "create", made, answers=(PASSPHRASE, OTHER, OTHER))
    assert code == 0, shown
    asked = [line for line in shown.splitlines() if "assphrase" in line]
    assert shown.index(ASKED) < shown.index("Passphrase of the backup (Enter: have one made): ")
    assert "New passphrase" not in shown, asked
    assert shown.count("Making the backup") == 1


async def test_a_backup_is_put_back_after_a_slip(alice: Friend, folder: Path) -> None:
    made = str(folder / "backup")
    await alice.cli("identity", "unlock", "--passphrase-stdin", stdin=PASSPHRASE.encode())
    await alice.cli("backup", "create", made, "--passphrase-file", kept_in(folder, OTHER))
    bob = Friend("bob", folder)
    restore = ("backup", "restore", made)
    code, shown = await typed(bob, *restore, answers=("",))
    assert code == 77, shown
    assert "nothing was entered" in shown
    code, shown = await typed(bob, *restore, answers=(PASSPHRASE, OTHER))
    assert code == 0, shown
    assert "not the passphrase of the backup. Try again." in shown
    assert "the passphrase that the home had then, not by the backup's" in shown


async def test_a_home_without_a_passphrase_names_the_way_to_one(folder: Path) -> None:
    bob = Friend("bob", folder)
    code, shown = await typed(bob, "identity", "new", "--no-passphrase", answers=())
    assert code == 0, shown
    assert "peerpost identity passphrase set" in shown
