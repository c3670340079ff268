"""Reading a request's body, within a limit."""

from starlette.types import Receive

from api.faults import Fault


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return the whole body; Fault 413 as soon as it is larger than `limit` bytes."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Fault(400, "The request ended early.")
        body += message.get("body", b"")
        if len(body) > limit:
            raise Fault(413, f"The request is larger than {limit} bytes.")
        if not message.get("more_body"):
            return bytes(body)
