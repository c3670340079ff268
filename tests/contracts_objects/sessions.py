"""Session tokens of the S3 server, dated otherwise: with the key that it signs them with, which only tests have."""

import base64
import hashlib
import hmac
import json

from tests.contracts_objects.seaweed import SIGNING_KEY

TIMES = ("exp", "nbf", "iat")


def moved_back(token: str, seconds: int) -> str:
    """The same session, as if it had begun and ended so many seconds earlier."""
    head, claims, _ = token.split(".")
    read = json.loads(base64.urlsafe_b64decode(claims + "=="))
    moved = {name: value - seconds if name in TIMES else value for name, value in read.items()}
    body = f"{head}.{_text(json.dumps(moved).encode())}"
    return f"{body}.{_text(hmac.new(SIGNING_KEY, body.encode(), hashlib.sha256).digest())}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
