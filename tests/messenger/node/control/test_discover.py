"""`rpc.discover` tells what is served: each method, with the parameters that it takes, as docs/cli.md has them."""

from __future__ import annotations

import copy
import inspect
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import openrpc
import pydantic
import pytest

from peerpost import errors
from peerpost.client.looking import ENDLESS, only_looks
from peerpost.client.rpc import InvalidParamsError, Request
from peerpost.node.control.methods import HOST_METHODS, METHODS, PROMISED, discover

EVERY: dict[str, Any] = {**HOST_METHODS, **METHODS}
PAGE = (Path(__file__).parents[4] / "docs" / "cli.md").read_text(encoding="utf-8")
OPTIONAL = {
    "description",
    "summary",
    "tags",
    "errors",
    "links",
    "examples",
    "deprecated",
    "servers",
}
MEMBERS = {
    "document": ({"openrpc", "info", "methods"}, {"components"}),
    "info": ({"title", "version"}, {"license"}),
    "method": ({"name", "params", "result"}, {"paramStructure"}),
    "descriptor": ({"name", "schema"}, {"required"}),
}


def made() -> dict[str, Any]:
    return discover.document(EVERY, version="1.2", locked=HOST_METHODS, promised=PROMISED)


@pytest.fixture(scope="module")
def methods() -> dict[str, dict[str, Any]]:
    return {method["name"]: method for method in made()["methods"]}


def require_members(kind: str, value: dict[str, Any]) -> None:
    """Fail unless an object has the members that the specification wants, and none that it does not know."""
    required, known = MEMBERS[kind]
    assert required <= set(value), (kind, value)
    assert {m for m in value if not m.startswith("x-")} <= required | known | OPTIONAL, (
        kind,
        value,
    )


def require_openrpc(document: dict[str, Any]) -> None:
    """Fail unless it is a document of the specification: by its members, by a library, and schema by schema."""
    require_members("document", document)
    require_members("info", document["info"])
    assert re.fullmatch(r"1\.\d+\.\d+", document["openrpc"])
    names = [method["name"] for method in document["methods"]]
    assert len(names) == len(set(names))
    for method in document["methods"]:
        require_members("method", method)
        assert method["paramStructure"] == "by-name"
        described = [param["name"] for param in method["params"]]
        assert len(described) == len(set(described))
        required = [param["required"] for param in method["params"]]
        assert required == sorted(required, reverse=True), "what is required stands first"
        for descriptor in [*method["params"], method["result"]]:
            require_members("descriptor", descriptor)
            jsonschema.Draft202012Validator.check_schema(descriptor["schema"])
    for error in document["components"]["errors"].values():
        assert {"code", "message"} <= set(error)
        assert type(error["code"]) is int
    openrpc.OpenRPC.model_validate(document)


def test_it_is_an_openrpc_document() -> None:
    require_openrpc(made())


@pytest.mark.parametrize(
    ("path", "without"),
    [
        ((), "info"),
        (("info",), "title"),
        (("methods", 3), "result"),
        (("methods", 0, "params", 0), "schema"),
        (("methods", 0, "params", 0), "name"),
    ],
)
def test_a_document_without_a_required_member_is_noticed(
    path: tuple[Any, ...], without: str
) -> None:
    document = copy.deepcopy(made())
    place: Any = document
    for key in path:
        place = place[key]
    del place[without]
    with pytest.raises((AssertionError, KeyError, pydantic.ValidationError)):
        require_openrpc(document)


def test_each_method_is_told_and_no_other(methods: dict[str, dict[str, Any]]) -> None:
    assert set(methods) == set(EVERY)
    assert {name for name, one in methods.items() if one["x-locked"]} == set(HOST_METHODS)
    assert {name for name, one in methods.items() if one["x-promised"]} == PROMISED
    assert all(one["summary"].endswith((".", ":")) for one in methods.values())


def test_a_method_that_is_added_is_told() -> None:
    class Later(msgspec.Struct):
        when: int
        what: list[str] = []

    async def later(_: object, request: Request[Later]) -> list[dict[str, Any]]:
        """Do it later.

        And not now.
        """
        raise AssertionError

    later.__annotations__["request"] = Request[Later]
    document = discover.document({"later": later}, version="1.2", locked=(), promised=())
    require_openrpc(document)
    (method,) = document["methods"]
    assert (method["summary"], method["description"]) == ("Do it later.", "And not now.")
    assert method["params"] == [
        {"name": "when", "required": True, "schema": {"type": "integer"}},
        {
            "name": "what",
            "required": False,
            "schema": {"type": "array", "items": {"type": "string"}, "default": []},
        },
    ]
    assert method["result"]["schema"]["type"] == "array"


def test_a_method_that_does_not_say_what_it_takes_is_noticed() -> None:
    async def silent(_: object, request: Any) -> dict[str, Any]:
        raise AssertionError

    with pytest.raises(TypeError, match="annotated with no parameters"):
        discover.params_of(silent)


class Noted(Request[Any]):
    """A request that notes as what it was read."""

    def __init__(self, method: str) -> None:
        super().__init__(method, {"no_such_parameter": 1})
        self.read_as: list[Any] = []

    def params_as(self, type_: type[Any]) -> Any:
        self.read_as.append(type_)
        return super().params_as(type_)

    def require_no_params(self) -> None:
        self.read_as.append(None)
        super().require_no_params()


class Untouched:
    def __getattr__(self, name: str) -> Untouched:
        return self


@pytest.mark.asyncio
@pytest.mark.parametrize("name", EVERY)
async def test_what_is_told_is_what_a_request_is_read_as(name: str) -> None:
    request = Noted(name)
    with pytest.raises(InvalidParamsError):
        await inspect.unwrap(EVERY[name])(Untouched(), request)
    assert request.read_as == [discover.params_of(EVERY[name])]


def table() -> dict[str, set[str]]:
    """Return the methods and parameters of the table of docs/cli.md."""
    (section,) = re.findall(r"^## rpc\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| (`.+?) \|(.*?)\| .*? \|$", section, re.MULTILINE)
    found: dict[str, set[str]] = {}
    for names, params in rows:
        # What stands in brackets explains; it names values.
        named = set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", params)))
        found |= dict.fromkeys(re.findall(r"`([\w.-]+)`", names), named)
    return found


def test_docs_cli_md_has_what_is_promised_with_each_parameter(
    methods: dict[str, dict[str, Any]],
) -> None:
    promised = {
        name: {p["name"] for p in one["params"] if "x-with-file" not in p}
        for name, one in methods.items()
        if one["x-promised"]
    }
    assert table() == promised


def test_what_needs_a_file_is_marked(methods: dict[str, dict[str, Any]]) -> None:
    marked = {p["name"] for p in methods["send-net"]["params"] if p.get("x-with-file")}
    assert marked == {"folder", "file", "stream", "spool", "confirm_end"}


def test_patterns_and_names_are_those_of_any_language(methods: dict[str, dict[str, Any]]) -> None:
    text = msgspec.json.encode(made()).decode()
    assert r"\\Z" not in text
    assert "schemas/_" not in text
    assert "peerpost.node" not in text
    (after,) = [p for p in methods["inbox.list"]["params"] if p["name"] == "after"]
    assert jsonschema.Draft202012Validator(after["schema"]).is_valid("12-ab")
    assert not jsonschema.Draft202012Validator(after["schema"]).is_valid("12; DROP")
    assert after["description"].startswith("Where to go on")


def test_events_and_errors_are_told(methods: dict[str, dict[str, Any]]) -> None:
    tells = {name for name, one in methods.items() if "x-event" in one}
    assert ENDLESS | {"transfers.follow", "send-net"} <= tells
    assert not tells & {"contacts.list", "inbox.list"}
    assert methods["inbox.watch"]["x-event"] == "inbox.watch.event"
    told = made()["components"]["errors"]
    assert set(told) == {getattr(errors, name).code for name in errors.__all__}
    assert told["not_found"]["data"] == {"code": "not_found", "exit_code": 67}


def test_it_only_looks() -> None:
    assert only_looks("rpc.discover", {})
