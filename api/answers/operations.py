"""Operations and their steps (beyond Trove)."""

from typing import Literal

from api.answers.base import Answer, Link, Moment


class Step(Answer):
    """One step of an operation."""

    name: str
    outcome: str | None
    started: Moment
    finished: Moment


class Operation(Answer):
    """An operation with its steps (beyond Trove)."""

    id: str
    kind: str
    instance_id: str
    state: Literal["WAITING", "RUNNING", "DONE", "FAILED", "CANCELLED", "INTERRUPTED"]
    reason: str | None
    request_id: str | None
    user_id: str | None
    created: Moment
    finished: Moment
    steps: list[Step]
    links: list[Link]


class Operations(Answer):
    """An instance's operations, the newest first."""

    operations: list[Operation]


class OneOperation(Answer):
    """An operation."""

    operation: Operation
