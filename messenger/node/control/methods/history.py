"""What `inbox export` and `inbox import` ask of the node: pages of records out, batches of them in.

The command makes and reads the bundle, so that what a stranger has made is taken apart in a process that holds no keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from peerpost.bundle.record import Card, Record, bad, check
from peerpost.client.names import contact_name
from peerpost.client.rpc import InvalidParamsError, Request
from peerpost.errors import UsageError
from peerpost.node.cursors import cursor_of, row_of
from peerpost.store.tables import contacts as store_contacts
from peerpost.store.tables import exported, imported
from peerpost.store.tables.exported import Direction, Exported

from .numbers import Cursor, Limit, TimeMs
from .whole import whole

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = ["export", "find", "import_", "owner"]

MOST_RECORDS = 1000
"""How many records one request may have, either way."""


class _Export(msgspec.Struct, forbid_unknown_fields=True):
    direction: Direction
    contact: str | None = None
    since: TimeMs | None = None
    after: Cursor | None = None
    oldest: bool = False
    limit: Limit | None = None


class _Id(msgspec.Struct, forbid_unknown_fields=True):
    id: str


class _Import(msgspec.Struct, forbid_unknown_fields=True):
    cards: Annotated[list[Card], msgspec.Meta(max_length=MOST_RECORDS)]
    records: Annotated[list[Record], msgspec.Meta(max_length=MOST_RECORDS)]
    file: bool = False
    """Whether the bytes of the one record come with the request."""
    dry_run: bool = False
    """Whether only to say what would come of it."""


async def owner(opened: Opened, request: Request[None]) -> dict[str, Any]:
    """Return whose home this is: the name and the public key of the identity, in hex."""
    request.require_no_params()
    me = opened.me
    return {"name": me.name, "identity": me.id_public.hex()}


async def export(opened: Opened, request: Request[_Export]) -> dict[str, Any]:
    """Return the next records of a direction, and the cards of those they are of: none, where there are no more."""
    params = request.params_as(_Export)
    contact_id = None
    if params.contact is not None:
        contact_id = await opened.store.read(store_contacts.id_of, params.contact)
    found = await opened.store.read(
        exported.page,
        params.direction,
        contact_id=contact_id,
        since_ms=params.since,
        limit=min(params.limit or MOST_RECORDS, MOST_RECORDS),
        beyond=row_of(params.after),
        oldest=params.oldest,
    )
    return await _described(opened, found)


async def find(opened: Opened, request: Request[_Id]) -> dict[str, Any]:
    """Return the record of one message, received or sent, by its id or its beginning."""
    found = await opened.store.read(exported.find, request.params_as(_Id).id)
    return await _described(opened, [found])


async def _described(opened: Opened, found: list[Exported]) -> dict[str, Any]:
    contact_ids = list(dict.fromkeys(one.record.contact for one in found))
    cards = await opened.store.read(exported.cards, contact_ids)
    return {
        "records": [
            {
                "record": msgspec.to_builtins(one.record),
                "file": one.has_file,
                "cursor": cursor_of(one.row_id),
            }
            for one in found
        ],
        "cards": [msgspec.to_builtins(card) for card in cards],
    }


@whole
async def import_(opened: Opened, request: Request[_Import]) -> dict[str, Any]:
    """Import records, in this order and each older than the ones before it; all of them, or none.

    A file comes along for a request of one record. Raises BadInputError for records that no bundle has, and for a file
    whose bytes are not those of its record.
    """
    params = request.params_as(_Import)
    _check(params)
    if params.dry_run:
        taken = await opened.store.read(imported.weigh, params.cards, params.records)
    elif params.file:
        taken = await opened.transfers.importing.with_file(
            params.cards, params.records[0], request.fd(0)
        )
    else:
        taken = await opened.transfers.importing.without_files(params.cards, params.records)
    opened.network.remember_former(taken.former)
    return {
        "imported": taken.imported,
        "duplicates": taken.duplicates,
        "renamed": taken.renamed,
    }


def _check(params: _Import) -> None:
    if params.file and (len(params.records) != 1 or params.records[0].file is None):
        raise InvalidParamsError("inbox.import: a file comes along with the one record that has it")
    for record in params.records:
        wrong = check(record)
        if wrong is not None:
            raise bad(f"the message {record.id}: {wrong}")
    for card in params.cards:
        try:
            if contact_name(card.name) != card.name:
                raise UsageError("it is not in its stored form")
        except UsageError as error:
            raise bad(f"the card {card.id}: {error.message}") from None
