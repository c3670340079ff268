"""Trove's faults: one key that names the kind, with code and message."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from temporalio.exceptions import ApplicationError

NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    406: "notAcceptable",
    409: "conflict",
    413: "overLimit",
    415: "badMediaType",
    422: "unprocessableEntity",
    429: "overLimit",
    500: "instanceFault",
    501: "notImplemented",
    503: "serviceUnavailable",
}
CODES = {
    "BadRequest": 400,
    "NotFound": 404,
    "AlreadyExists": 400,
    "Busy": 422,
    "Unsupported": 422,
    "QuotaExceeded": 413,
    "Expired": 503,
    "Unavailable": 503,
    "NotYet": 503,
    "EngineFailed": 400,
    "Refused": 400,
}


class Fault(Exception):
    """An answer that is not a success."""

    def __init__(
        self, code: int, message: str, headers: dict[str, str] | None = None, more: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.headers = headers or {}
        self.more = more or {}

    def body(self) -> dict[str, dict[str, object]]:
        """As Trove writes it."""
        return {NAMES.get(self.code, "serverError"): {"code": self.code, "message": self.message, **self.more}}


async def answer_fault(request: Request, error: Exception) -> JSONResponse:
    """Answer with a fault that was raised."""
    assert isinstance(error, Fault)  # noqa: S101 - registered for nothing else
    return JSONResponse(error.body(), status_code=error.code, headers=error.headers)


async def answer_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Answer with a fault in the place of what the framework raises: no such route, no such method."""
    code = error.status_code if isinstance(error, HTTPException) else 500
    if code in (404, 405):  # Trove answers 404 for an unknown method, too
        return await answer_fault(request, Fault(404, "The resource could not be found."))
    return await answer_fault(request, Fault(code, str(getattr(error, "detail", error))))


def missing(wanted: object) -> Fault:
    """Trove's sentence for what is not there, or not the caller's."""
    return Fault(404, f"Resource {wanted} cannot be found.")


def unavailable() -> Fault:
    """Temporal, the records or Keystone are away; nothing was touched that is not recorded.

    Without Retry-After: python-troveclient knows it of 413 alone, and of another code ends with a TypeError.
    """
    return Fault(503, "The service is currently unable to handle the request; please try again.")


def of_refusal(error: ApplicationError) -> Fault:
    """The fault that a refusal becomes: of a runbook, an activity of ours, or a guest's (already checked)."""
    code = CODES.get(error.type or "")
    return Fault(code, error.message) if code else Fault(500, "The operation failed inside; the operator has its log.")
