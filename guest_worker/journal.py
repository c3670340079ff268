"""Outcomes of short calls by activity id: a retry is answered from here instead of meeting its own first attempt."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter
from temporalio import activity
from temporalio.exceptions import ApplicationError

from guest_worker.memory import CALLS_KEPT, Memory
from workflows.domain.errors import AlreadyExists, NotFound

Answer = TypeVar("Answer")


def call_key() -> str:
    """The id of this call: of a standalone activity its own, of a runbook's step the run's with it."""
    info = activity.info()
    return f"{info.workflow_id or ''}/{info.workflow_run_id or ''}/{info.activity_id}"


class Journal:
    """Remembers the last few hundred calls, on disk; answers that hold secrets hold them sealed."""

    def __init__(self, path: Path) -> None:
        self._memory = Memory(path)

    def once(self, key: str, shape: type[Answer], work: Callable[[], Answer]) -> Answer:
        """Do the work, or answer as the first time. After a crash in between, "exists" and "is gone" mean done."""
        known = self._memory.get(key)
        if known is not None and known != "begun":
            return self._again(known, shape)
        self._memory.put(key, "begun", keep=CALLS_KEPT)
        try:
            answer = work()
        except ApplicationError as error:
            if known == "begun" and shape is type(None) and isinstance(error, AlreadyExists | NotFound):
                self._memory.put(key, {"answer": None})
                return None
            if error.non_retryable:
                self._memory.put(key, {"error": error.type, "message": error.message})
            raise
        plain = answer.model_dump(mode="json") if isinstance(answer, BaseModel) else None
        self._memory.put(key, {"answer": plain})
        return answer

    def _again(self, known: dict[str, object], shape: type[Answer]) -> Answer:
        if "error" in known:
            raise ApplicationError(str(known["message"]), type=str(known["error"]), non_retryable=True)
        return TypeAdapter(shape).validate_python(known["answer"])
