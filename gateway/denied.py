"""Why a call is not answered, in the words of gRPC."""

import grpc


class Denied(Exception):
    """The call ends with this code. What is transient must be UNAVAILABLE or RESOURCE_EXHAUSTED: of others a worker dies.

    A worker bears another code on a poll for 60 s, then it ends (temporalio's core, `LONG_POLL_FATAL_GRACE`).
    """

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def stranger(text: str = "the token is not valid") -> Denied:
    """Whoever asks is nobody, or nobody any more."""
    return Denied(grpc.StatusCode.UNAUTHENTICATED, text)


def forbidden(text: str) -> Denied:
    """Whoever asks is known, and may not."""
    return Denied(grpc.StatusCode.PERMISSION_DENIED, text)


def away(text: str) -> Denied:
    """Not now; a worker tries again."""
    return Denied(grpc.StatusCode.UNAVAILABLE, text)


def too_much(text: str) -> Denied:
    """Not so often; a worker tries again, later."""
    return Denied(grpc.StatusCode.RESOURCE_EXHAUSTED, text)


def garbled(text: str) -> Denied:
    """What was sent cannot be understood."""
    return Denied(grpc.StatusCode.INVALID_ARGUMENT, text)
