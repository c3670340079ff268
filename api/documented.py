"""What a route says of itself in the OpenAPI document, so that the document is true."""

from http import HTTPStatus
from typing import Any

from fastapi import Response
from pydantic import BaseModel

REF = "#/components/schemas/"
READ = (400, 401, 403, 404, 503)
WRITE = (400, 401, 403, 404, 413, 415, 422, 503)
FAULT = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "description": "One key that names the kind, as `badRequest` or `itemNotFound`.",
    "additionalProperties": {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
    },
}


def answers(
    success: int, key: str | None = None, kind: str = "object", faults: tuple[int, ...] = READ
) -> dict[str, Any]:
    """Arguments of a route: its success, the key of its answer (none: an empty body), the faults it may give."""
    description = HTTPStatus(success).phrase
    good: dict[str, Any] = {"description": description}
    if key is not None:
        schema = {"type": "object", "required": [key], "properties": {key: {"type": kind}}}
        good["content"] = {"application/json": {"schema": schema}}
    responses: dict[int | str, Any] = {success: good}
    for code in faults:
        content = {"application/json": {"schema": {"$ref": f"{REF}Fault"}}}
        responses[code] = {"description": HTTPStatus(code).phrase, "content": content}
    return {"status_code": success, "responses": responses, "response_model": None}


def takes(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The request body in the document; the body itself is read by `requests.body_of`."""
    content = {"application/json": {"schema": {"$ref": f"{REF}{model.__name__}"}}}
    return {"openapi_extra": {"requestBody": {"required": required, "content": content}}}


def query(*names: str) -> dict[str, Any]:
    """Query parameters in the document."""
    kinds = {"limit": {"type": "integer", "minimum": 0}, "deleted": {"type": "boolean"}}
    listed = [{"name": name, "in": "query", "required": False, "schema": kinds.get(name, {"type": "string"})}
              for name in names]  # fmt: skip
    return {"openapi_extra": {"parameters": listed}}


def schemas(*models: type[BaseModel]) -> dict[str, Any]:
    """Components of the document: all request bodies, with what they are made of."""
    found: dict[str, Any] = {"Fault": FAULT}
    for model in models:
        schema = model.model_json_schema(by_alias=True, ref_template=REF + "{model}")
        found |= schema.pop("$defs", {})
        found[model.__name__] = schema
    return found


def empty(code: int) -> Response:
    """A success that has nothing to say."""
    return Response(status_code=code)
