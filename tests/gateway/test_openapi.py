"""The OpenAPI document says all that a client must know."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.auth import PUBLIC
from tests.gateway.conftest import Gateway


@pytest.fixture
async def document(gateway: Gateway) -> dict[str, Any]:
    async with gateway.http(None) as http:
        found: dict[str, Any] = (await http.get("/openapi.json")).json()
        return found


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*(_references(each) for each in value.values()))
    return set().union(*(_references(each) for each in value)) if isinstance(value, list) else set()


async def test_every_reference_resolves(document: dict[str, Any]) -> None:
    references = _references(document)
    assert "#/components/schemas/ProblemDetails" in references
    for reference in references:
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in place, reference
            place = place[part]


async def test_every_route_is_secured_described_and_modelled(document: dict[str, Any]) -> None:
    for method, path, operation in _operations(document):
        assert operation["description"], path
        assert operation["tags"], path
        if path in PUBLIC:
            assert "security" not in operation
        else:
            assert operation["security"] == [{"bearer": []}], path
            assert {"401", "403", "422", "503", "504"} <= operation["responses"].keys(), path
        good = [status for status in operation["responses"] if status.startswith("2")]
        assert good, path
        for status in good:
            if status != "204":
                (content,) = (
                    operation["responses"][status]["content"].values()
                    if status != "201" or method != "put"
                    else [{"schema": {"$ref": ""}}]
                )
                assert content["schema"], (method, path, status)
        for status, response in operation["responses"].items():
            if status[0] in "45":
                assert list(response["content"]) == ["application/problem+json"], (path, status)
        if method in {"post", "put"} and "requestBody" in operation:
            assert {"413", "415"} <= operation["responses"].keys(), path


async def test_bearer_tokens_are_declared(document: dict[str, Any]) -> None:
    scheme = document["components"]["securitySchemes"]["bearer"]
    assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")


async def test_every_property_of_a_model_has_a_type(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, content in schema.get("properties", {}).items():
            assert content.keys() & {"type", "anyOf", "$ref", "enum", "const"}, (name, field)
