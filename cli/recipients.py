"""To whom something goes: contacts by their names, and by the tags that they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peerpost.errors import NotFoundError

if TYPE_CHECKING:
    from .app import App

__all__ = ["recipients"]


def recipients(app: App, names: tuple[str, ...], tags: tuple[str, ...]) -> list[str]:
    """Return the names, and those of all who have one of the tags; each once. Raises NotFoundError for an unknown tag.

    A contact that is blocked gets nothing by a tag; a note says so.
    """
    rows: list[dict[str, Any]] = app.call("contacts.list") if tags else []
    by_id = {row["id"]: row["name"] for row in rows}
    found = dict.fromkeys(by_id.get(name, name) for name in names)
    for tag in dict.fromkeys(tags):
        tagged = [row for row in rows if tag in row.get("tags", ())]
        served = [row["name"] for row in tagged if row["state"] != "blocked"]
        if not served:
            raise _nobody(tag, rows)
        for row in tagged:
            if row["state"] == "blocked":
                app.terminal.note(f"{row['name']} is blocked, and gets nothing.")
        found |= dict.fromkeys(served)
    return list(found)


def _nobody(tag: str, rows: list[dict[str, Any]]) -> NotFoundError:
    import difflib

    known = sorted({str(known) for row in rows for known in row.get("tags", ())})
    near = difflib.get_close_matches(tag, known, 1)
    hint = (
        f"did you mean {near[0]!r}?"
        if near
        else f"to give it to somebody: peerpost contacts edit NAME --tag {tag}"
    )
    if tag in known:
        return NotFoundError(f"all who have the tag {tag!r} are blocked")
    return NotFoundError(f"nobody has the tag {tag!r}", hint=hint)
