"""Migrations: forward, whole or not at all, and never back."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import apsw
import pytest

from peerpost.errors import StorageError, StoreFullError
from peerpost.store.db import migrations
from tests.support.store_rig import Rig


def version(rig: Rig) -> tuple[int, int]:
    ((user_version, application_id),) = rig.rows(
        "SELECT * FROM pragma_user_version, pragma_application_id"
    )
    return user_version, application_id


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def with_scripts(monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    """Have the program know further steps."""
    scripts = [*migrations._scripts(), *more]
    monkeypatch.setattr(migrations, "_scripts", lambda: scripts)


def test_a_new_store_has_the_latest_version(rig: Rig) -> None:
    assert version(rig) == (migrations.latest(), migrations.APPLICATION_ID)
    assert migrations.latest() >= 1


def test_the_scripts_are_numbered_without_gaps() -> None:
    folder = importlib.resources.files("peerpost.store.db") / "schema"
    names = sorted(entry.name for entry in folder.iterdir())
    assert names == [f"{number:04}.sql" for number in range(1, len(names) + 1)]


def test_opening_again_changes_nothing(rig: Rig) -> None:
    schema = rig.rows("SELECT sql FROM sqlite_schema ORDER BY name")
    rig.close()
    before = files(rig.path.parent)
    with Rig(rig.path.parent) as again:
        assert again.rows("SELECT sql FROM sqlite_schema ORDER BY name") == schema
    assert files(rig.path.parent) == before


def test_a_store_of_an_earlier_version_is_brought_up(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = migrations.latest()
    entry = rig.queue(rig.make_contact("bob").id)
    rig.close()
    with_scripts(
        monkeypatch,
        "ALTER TABLE contacts ADD COLUMN colour TEXT; UPDATE contacts SET colour = 'red';",
        "CREATE TABLE later (a); INSERT INTO later SELECT colour FROM contacts;",
    )
    with Rig(rig.path.parent) as again:
        assert version(again)[0] == first + 2
        assert again.rows("SELECT a FROM later") == [("red",)]
        assert again.unsettled(entry.contact_id) == [entry]


@pytest.mark.parametrize("ahead", [1, 50])
def test_a_newer_store_is_refused_and_left_alone(rig: Rig, ahead: int) -> None:
    newer = migrations.latest() + ahead
    rig.write(lambda db: db.pragma("user_version", newer))
    rig.close()
    before = files(rig.path.parent)
    with pytest.raises(StorageError, match=f"later version of Peerpost \\(schema {newer}\\)") as no:
        Rig(rig.path.parent)
    assert "update Peerpost" in str(no.value.hint)
    assert files(rig.path.parent) == before


def test_the_database_of_another_program_is_refused(rig: Rig) -> None:
    rig.write(lambda db: db.pragma("application_id", 0x1234))
    rig.close()
    with pytest.raises(StorageError, match="another program"):
        Rig(rig.path.parent)


def test_a_version_that_cannot_be_is_refused(rig: Rig) -> None:
    rig.write(lambda db: db.pragma("user_version", -1))
    rig.close()
    with pytest.raises(StorageError, match="another program"):
        Rig(rig.path.parent)


def test_a_step_that_fails_changes_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    before_version = version(rig)
    before = rig.rows("SELECT sql FROM sqlite_schema ORDER BY name")
    contact = rig.make_contact("bob")
    rig.close()
    with monkeypatch.context() as patch:
        with_scripts(
            patch,
            "CREATE TABLE good (a);",
            "CREATE TABLE half (a); DELETE FROM contacts; INSERT INTO nothing VALUES (1);",
            "CREATE TABLE never (a);",
        )
        with pytest.raises(StorageError, match="nothing"):
            Rig(rig.path.parent)
    with monkeypatch.context() as patch:
        # The step before it is done, and stays; the rest is as it was.
        with_scripts(patch, "CREATE TABLE good (a);")
        with Rig(rig.path.parent) as again:
            assert version(again) == (before_version[0] + 1, before_version[1])
            after = again.rows("SELECT sql FROM sqlite_schema ORDER BY name")
            assert [sql for sql in after if sql not in before] == [("CREATE TABLE good (a)",)]
            assert again.rows("SELECT id FROM contacts") == [(contact.id,)]


def test_a_new_store_whose_first_step_fails_is_still_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "_scripts", lambda: ["CREATE TABLE half (a); SELECT nothing;"])
        with pytest.raises(StorageError):
            Rig(tmp_path)
    with Rig(tmp_path) as rig:
        assert version(rig)[0] == migrations.latest()
        assert ("half",) not in rig.rows("SELECT name FROM sqlite_schema")


def test_a_full_disk_during_a_step_is_called_that(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.close()

    def migrate(db: apsw.Connection) -> None:
        # SQLite ends the transaction by itself when a statement finds the disk full.
        pages = db.pragma("page_count")
        db.pragma("max_page_count", pages + 2)
        original(db)

    original = migrations.migrate
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migrate", migrate)
        with_scripts(patch, "CREATE TABLE big (a); INSERT INTO big VALUES (zeroblob(1000000));")
        with pytest.raises(StoreFullError):
            Rig(rig.path.parent)
    with Rig(rig.path.parent) as again:
        assert ("big",) not in again.rows("SELECT name FROM sqlite_schema")


def test_the_secrets_of_invitations_that_were_used_go(monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = migrations._scripts()
    db = apsw.Connection(":memory:")
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "_scripts", lambda: scripts[:4])
        migrations.migrate(db)
    for number, used_ms in ((1, None), (2, 7)):
        db.execute(
            "INSERT INTO invites VALUES (?, ?, 'bob', 9, 1, ?)",
            (bytes([number]) * 8, bytes([number]) * 16, used_ms),
        )
    migrations.migrate(db)
    found = db.execute("SELECT secret, used_ms FROM invites ORDER BY invite_id").fetchall()
    assert found == [(bytes([1]) * 16, None), (None, 7)]
