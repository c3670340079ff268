"""What a route says of itself in the OpenAPI document, so that the document is true."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.responses import JSONResponse

from api.answers.base import FaultBody
from api.faults import NAMES

READ = (400, 401, 403, 404, 413, 503)
WRITE = (400, 401, 403, 404, 413, 415, 422, 503)
FAULT = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "description": "One member that names the kind.",
    "propertyNames": {"enum": sorted(set(NAMES.values()))},
    "additionalProperties": {"$ref": "#/components/schemas/FaultBody"},
}
BODIES: dict[str, type[BaseModel]] = {}  # that routes take


def answers(success: int, model: type[BaseModel] | None = None, faults: tuple[int, ...] = READ) -> dict[str, Any]:
    """Arguments of a route: its success, what it then answers (None: an empty body), the faults it may give."""
    responses: dict[int | str, Any] = {success: {"description": HTTPStatus(success).phrase}}
    if model is not None:
        responses[success]["model"] = model
    for code in faults:
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Fault"}}}
        responses[code] = {"description": HTTPStatus(code).phrase, "content": content}
    kind = Response if model is None else JSONResponse  # of which FastAPI documents a body
    return {"status_code": success, "responses": responses, "response_model": None, "response_class": kind}


def takes(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The request body in the document; the body itself is read by `requests.body_of`, more strictly than by FastAPI."""
    BODIES[model.__name__] = model
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    return {"openapi_extra": {"requestBody": {"required": required, "content": content}}}


def query(*names: str) -> dict[str, Any]:
    """Query parameters in the document."""
    kinds = {"limit": {"type": "integer", "minimum": 0}, "deleted": {"type": "boolean"}}
    listed = [{"name": name, "in": "query", "required": False, "schema": kinds.get(name, {"type": "string"})}
              for name in names]  # fmt: skip
    return {"openapi_extra": {"parameters": listed}}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: FastAPI's own, with the bodies that we read ourselves, our faults and the token."""
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    models: list[type[BaseModel]] = [*BODIES.values(), FaultBody]
    for model in models:
        schema = model.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
        schemas |= {**schema.pop("$defs", {}), model.__name__: schema}
    schemas["Fault"] = FAULT
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    found["components"]["securitySchemes"] = {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}}
    for path, verbs in found["paths"].items():
        for verb in verbs.values():
            if "HTTPValidationError" in str(verb["responses"].get("422")):  # FastAPI's; ours are 400
                del verb["responses"]["422"]
            if path.startswith("/v1.0/"):
                verb["security"] = [{"token": []}]
    return found


def empty(code: int) -> Response:
    """A success that has nothing to say."""
    return Response(status_code=code)
