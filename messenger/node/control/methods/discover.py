"""`rpc.discover`: the methods as an OpenRPC document, made from what serves them.

The names come from the tables of methods, the descriptions from the docstrings, the parameters from the Struct that the
request of a method is annotated with, which is the one that it is read as (mypy holds that), and the kind of a result
from what the method is annotated to return. So nothing is written here a second time.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from peerpost import errors
from peerpost.client.rpc import PEERPOST_ERROR, Request

__all__ = ["OPENRPC", "WITH_FILE", "document", "params_of"]

OPENRPC: Final = "1.3.2"
"""The version of the specification that the document follows."""
WITH_FILE: Final = {"x-with-file": True}
"""Marks a parameter that only means something beside an open file (`msgspec.Meta.extra_json_schema`)."""
_REF: Final = "#/components/schemas/{name}"
_NOT_IMPORTED: Final = {"Opened": object, "Host": object}
"""What the annotations name and only a type checker imports."""
_DESCRIPTION: Final = (
    "The node of one home, at its control socket and by `peerpost rpc`. `x-promised` marks what docs/cli.md describes:"
    " the names, the parameters and the keys of the results of these methods stay. Others may change. A method with"
    " `x-event` tells events, by notifications of that name, before its result. One with `x-locked` is answered by a"
    " locked home, and by one that has no identity. A parameter with `x-with-file` needs an open file, which cannot"
    " come along over `peerpost rpc`. Any method may fail with one of `components.errors`."
)


class _Kind(NamedTuple):
    """What a method answers."""

    name: str
    schema: dict[str, Any]
    events: bool


_ROW: Final = _Kind("row", {"type": "object"}, events=False)
_ROWS: Final = _Kind("rows", {"type": "array", "items": {"type": "object"}}, events=False)
_MAY_TELL: Final = _Kind("answer", {}, events=True)


def document(
    methods: Mapping[str, Callable[..., Any]],
    *,
    version: str,
    locked: Container[str],
    promised: Container[str],
) -> dict[str, Any]:
    """Return the document for these methods of a node; `locked` are those that need no open home."""
    structs = {name: params_of(method) for name, method in methods.items()}
    fields = [
        field
        for struct in structs.values()
        if struct is not None
        for field in msgspec.structs.fields(struct)
    ]
    made, schemas = msgspec.json.schema_components([f.type for f in fields], ref_template=_REF)
    next_schema = iter(made)
    described = []
    for name, struct in structs.items():
        known = () if struct is None else msgspec.structs.fields(struct)
        params = [_param(field, next(next_schema)) for field in known]
        about = _about(methods[name])
        about |= {"params": sorted(params, key=lambda param: not param["required"])}
        marks = {"x-promised": name in promised, "x-locked": name in locked}
        described.append({"name": name, **about, **_result(methods[name], name), **marks})
    return {
        "openrpc": OPENRPC,
        "info": {
            "title": "Peerpost",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "methods": described,
        "components": {
            "schemas": {_public(name): _tidy(schema) for name, schema in schemas.items()},
            "errors": _errors(),
        },
    }


def params_of(method: Callable[..., Any]) -> type[msgspec.Struct] | None:
    """Return what the request of a method is annotated with. Raises TypeError if it is not said there."""
    request = list(_hints(method).values())[1]
    if typing.get_origin(request) is not Request:
        raise TypeError(f"{method}: its request is annotated with no parameters: Request[...]")
    (struct,) = typing.get_args(request)
    return None if struct is type(None) else typing.cast("type[msgspec.Struct]", struct)


def _hints(method: Callable[..., Any]) -> dict[str, Any]:
    return typing.get_type_hints(inspect.unwrap(method), localns=_NOT_IMPORTED)


def _about(method: Callable[..., Any]) -> dict[str, Any]:
    """Return what the docstring says."""
    summary, _, rest = (inspect.getdoc(inspect.unwrap(method)) or "").partition("\n\n")
    about: dict[str, Any] = {"summary": " ".join(summary.split())}
    return (about | {"description": rest} if rest else about) | {"paramStructure": "by-name"}


def _param(field: msgspec.structs.FieldInfo, schema: dict[str, Any]) -> dict[str, Any]:
    schema = _tidy(schema)
    param: dict[str, Any] = {"name": field.encode_name, "required": field.required}
    # What is said of a parameter stands at the first type that it may have, where a reader does not look for it.
    for at in (schema, *schema.get("anyOf", ())):
        if "description" in at:
            param.setdefault("description", at.pop("description"))
    if schema.pop("x-with-file", False):
        param |= WITH_FILE
    default = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    # A field that may be left unset has no value that says so.
    if default not in (msgspec.NODEFAULT, msgspec.UNSET):
        schema["default"] = msgspec.to_builtins(default)
    return param | {"schema": schema}


def _result(method: Callable[..., Any], name: str) -> dict[str, Any]:
    kind = _kind(_hints(method)["return"])
    result = {"result": {"name": kind.name, "schema": kind.schema}}
    return result | ({"x-event": f"{name}.event"} if kind.events else {})


def _kind(returned: Any) -> _Kind:
    origin = typing.get_origin(returned)
    if origin is Awaitable:
        return _kind(typing.get_args(returned)[0])
    return {dict: _ROW, list: _ROWS, AsyncIterator: _MAY_TELL}.get(origin, _MAY_TELL)


def _errors() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in errors.__all__:
        class_ = getattr(errors, name)
        data = {"code": class_.code, "exit_code": class_.exit_code}
        summary = (inspect.getdoc(class_) or name).partition("\n")[0]
        found.setdefault(class_.code, {"code": PEERPOST_ERROR, "message": summary, "data": data})
    return found


def _tidy(value: Any) -> Any:
    """Return a schema with the names and patterns that another language understands."""
    if isinstance(value, list):
        return [_tidy(one) for one in value]
    if not isinstance(value, dict):
        return value
    tidy = {key: _tidy(one) for key, one in value.items()}
    if isinstance(pattern := tidy.get("pattern"), str):
        # `$` of ECMAScript is what `\Z` is here.
        tidy["pattern"] = pattern.replace(r"\Z", "$")
    if isinstance(title := tidy.get("title"), str):
        tidy["title"] = _public(title)
    if isinstance(ref := tidy.get("$ref"), str):
        place, _, name = ref.rpartition("/")
        tidy["$ref"] = f"{place}/{_public(name)}"
    return tidy


def _public(name: str) -> str:
    return name.rpartition(".")[2].lstrip("_")
