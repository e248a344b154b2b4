"""Numbers at the control socket have bounds, whichever method takes them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from peerpost.client.rpc import InvalidParamsError, Request
from peerpost.node.control import methods as commands
from peerpost.node.control.methods.inbox import _List
from peerpost.node.control.methods.invites import _Invite
from peerpost.node.control.methods.limits import _Set, _Test
from peerpost.node.control.methods.send import _File, _Send


def structs() -> list[type[msgspec.Struct]]:
    """Return the parameters of every method."""
    found = []
    for module in pkgutil.iter_modules(commands.__path__):
        loaded = importlib.import_module(f"{commands.__name__}.{module.name}")
        found += [
            value
            for _, value in inspect.getmembers(loaded, inspect.isclass)
            if issubclass(value, msgspec.Struct) and value.__module__ == loaded.__name__
        ]
    return found


def bare(hint: Any) -> bool:
    """Tell whether a type lets through a number without an upper and a lower bound."""
    if get_origin(hint) in (Union, UnionType):
        return any(map(bare, get_args(hint)))
    if metas := [m for m in getattr(hint, "__metadata__", ()) if isinstance(m, msgspec.Meta)]:
        (meta,) = metas
        lower, upper = (meta.ge, meta.gt), (meta.le, meta.lt)
        number = hint.__origin__ in (int, float)
        return number and (set(lower) == {None} or set(upper) == {None})
    return hint in (int, float)


@pytest.mark.parametrize("struct", structs(), ids=lambda s: f"{s.__module__}.{s.__name__}")
def test_no_number_is_without_bounds(struct: type[msgspec.Struct]) -> None:
    hints = get_type_hints(struct, include_extras=True)
    assert [name for name, hint in hints.items() if bare(hint)] == []


def test_the_check_sees_a_number_without_bounds() -> None:
    assert bare(int)
    assert bare(float | None)
    assert bare(int | str | msgspec.UnsetType)
    assert not bare(str | None)
    assert len(structs()) > 10


@pytest.mark.parametrize(
    ("struct", "params"),
    [
        (_Send, {"contact": "bob", "text": "x", "expires_s": 1e308}),
        (_Send, {"contact": "bob", "text": "x", "expires_s": -1}),
        (_Send, {"contact": "bob", "text": "x", "timeout_s": 1e300}),
        (_Send, {"contact": "bob", "text": "x", "timeout_s": float("nan")}),
        (_Send, {"contact": "bob", "text": "x", "expires_s": float("inf")}),
        (_File, {"name": "a", "size": -1}),
        (_List, {"limit": 0}),
        (_List, {"limit": 1 << 70}),
        (_List, {"since": -1}),
        (_List, {"after": "1; DROP"}),
        (_List, {"after": "9" * 40}),
        (_Set, {"up_bytes_s": 0}),
        (_Set, {"messages_s": 1 << 63}),
        (_Test, {"seconds": 1e308}),
        (_Test, {"size": 1 << 64}),
        (_Invite, {"name": "bob", "expires_s": 1 << 70}),
    ],
)
def test_a_number_beyond_its_bounds_is_refused(
    struct: type[msgspec.Struct], params: dict[str, Any]
) -> None:
    with pytest.raises(InvalidParamsError):
        Request("a", params).params_as(struct)
