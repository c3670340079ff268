"""The OpenAPI document in docs/ is what the code says, and says all of it."""

from typing import Any

from api.openapi import text
from tests.openapi import DOCUMENT, FILE


def test_the_committed_document_is_the_code_s() -> None:
    assert FILE.read_text() == text(), "run: python -m api.openapi > docs/openapi.json"


def objects(schema: Any, place: str) -> list[tuple[str, dict[str, Any]]]:
    """Every object in a schema, with its place."""
    found = []
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            found.append((place, schema))
        for name, each in schema.items():
            found += objects(each, f"{place}/{name}")
    elif isinstance(schema, list):
        for number, each in enumerate(schema):
            found += objects(each, f"{place}/{number}")
    return found


EMPTY = {("patch", "/v1.0/{project_id}/configurations/{configuration}")}  # Trove's is empty, and yet no 202


def test_every_success_says_all_its_members() -> None:
    """An answer is a model of which each member is known, or a map of which the values are."""
    for path, verbs in DOCUMENT["paths"].items():
        for verb, operation in verbs.items():
            for status, said in operation["responses"].items():
                if status == "200" and (verb, path) not in EMPTY:
                    schema = said["content"]["application/json"]["schema"]
                    assert schema["$ref"].rpartition("/")[2] in DOCUMENT["components"]["schemas"], (verb, path)
    for place, each in objects(DOCUMENT["components"]["schemas"], ""):
        assert "additionalProperties" in each, f"{place}: may hold anything"
