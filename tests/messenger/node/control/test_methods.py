"""The methods of the control socket have one shape, which mypy holds too: what is awaited for an `Answer`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Self

import pytest

from peerpost.client.rpc import InvalidParamsError, Request
from peerpost.node.control.methods import HOST_METHODS, METHODS

ANSWERS = {"Answer", "Events", "dict[str, Any]", "list[dict[str, Any]]"}
LATER = {f"Awaitable[{answer}]" for answer in ANSWERS}


def shape_is_right(method: Callable[..., Any]) -> bool:
    """Tell whether a method says that an answer is awaited, and is no iterator itself."""
    inner = inspect.unwrap(method)
    returns = inspect.get_annotations(inner).get("return")
    return returns in (ANSWERS if inspect.iscoroutinefunction(inner) else LATER)


async def _events(_node: object, _request: object) -> Any:
    yield {}


async def _nothing(_node: object, _request: object) -> None: ...


def _at_once(_node: object, _request: object) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("wrong", [_events, _nothing, _at_once])
def test_another_shape_is_found(wrong: Callable[..., Any]) -> None:
    assert not shape_is_right(wrong)


@pytest.mark.parametrize("name", {**HOST_METHODS, **METHODS})
def test_each_method_has_the_shape(name: str) -> None:
    assert shape_is_right({**HOST_METHODS, **METHODS}[name])


class Untouched:
    """Stands for the node and the home: a method looks at its parameters before it does anything with them."""

    def __getattr__(self, name: str) -> Self:
        return self


@pytest.mark.asyncio
@pytest.mark.parametrize("name", {**HOST_METHODS, **METHODS})
async def test_no_method_passes_over_a_parameter_that_it_does_not_know(name: str) -> None:
    """A misspelt one would do something else than what was asked for, and nobody would notice."""
    method: Any = inspect.unwrap({**HOST_METHODS, **METHODS}[name])
    with pytest.raises(InvalidParamsError, match="no_such_parameter"):
        await method(Untouched(), Request(name, {"no_such_parameter": 1}))
