"""How something ended that is told again, as it is kept on disk."""

from typing import TypeVar

from pydantic import BaseModel, TypeAdapter
from temporalio.exceptions import ApplicationError

from contract.domain.fact import Fact

Answer = TypeVar("Answer")


class Outcome(Fact):
    """An answer, or one of our errors."""

    answer: object = None
    error: str | None = None
    message: str = ""

    @classmethod
    def answered(cls, answer: object) -> "Outcome":
        """It ended well."""
        return cls(answer=answer.model_dump(mode="json") if isinstance(answer, BaseModel) else None)

    @classmethod
    def failed(cls, error: ApplicationError) -> "Outcome":
        """It ended with an error."""
        return cls(error=error.type, message=error.message)

    def tell(self, shape: type[Answer]) -> Answer:
        """Answer as the first time, or raise as the first time."""
        if self.error is not None:
            raise ApplicationError(self.message, type=self.error, non_retryable=True)
        return TypeAdapter(shape).validate_python(self.answer)
