"""What a failure of SQLite is called: in words that say what to look at."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from peerpost.store.db.failure import explain


def test_a_file_that_cannot_be_opened_names_the_limit(tmp_path: Path) -> None:
    with pytest.raises(apsw.CantOpenError) as caught:
        apsw.Connection(str(tmp_path / "none" / "store.db"))
    said = explain(caught.value)
    assert "too many files" in said.message
    assert "ulimit -n" in (said.hint or "")


def test_an_error_of_the_disk_names_the_disk() -> None:
    said = explain(apsw.IOError("disk I/O error"))
    assert "the disk of the home folder" in said.message
    assert "ulimit -f" in (said.hint or "")
