"""Holds answers of the API against the OpenAPI document that is committed."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft202012Validator

FILE = Path(__file__).parents[1] / "docs/openapi.json"
DOCUMENT: dict[str, Any] = json.loads(FILE.read_text())
ANYWHERE = ("400", "401", "413", "503")  # of what stands in front of every route: path, token, body, what is away


@cache
def _paths() -> list[tuple[re.Pattern[str], str]]:
    """Where each path leads; the more literal one first, as the API has it."""
    ordered = sorted(DOCUMENT["paths"], key=lambda path: (path.count("{"), -len(path)))
    return [(re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path)), path) for path in ordered]


def _operation(method: str, url: httpx.URL) -> tuple[str, dict[str, Any]] | None:
    parts = [each for each in url.raw_path.decode().partition("?")[0].split("/") if each]
    wanted = "/" + "/".join(parts)
    for pattern, path in _paths():
        found = DOCUMENT["paths"][path].get(method.lower())
        if found is not None and pattern.fullmatch(wanted):
            return path, found
    return None


def _fits(answer: httpx.Response, said: dict[str, Any]) -> None:
    content = said.get("content", {}).get("application/json")
    if content is None:
        assert not answer.content, answer.text
        return
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    errors = [each.message for each in Draft202012Validator(schema).iter_errors(answer.json())]
    assert not errors, (errors, answer.text)


def check(answer: httpx.Response) -> None:
    """Raise AssertionError where an answer is not as the document says: its status, each member of its body."""
    answer.read()
    found = _operation(answer.request.method, answer.request.url)
    status = str(answer.status_code)
    fault = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Fault"}}}}
    if found is None:
        if answer.is_error:  # no such route, or one that the document does not show
            _fits(answer, fault)
        return
    path, operation = found
    said = operation["responses"].get(status) or (fault if status in ANYWHERE else None)
    assert said is not None, f"{answer.request.method} {path}: {status} is not in docs/openapi.json: {answer.text}"
    _fits(answer, said)
