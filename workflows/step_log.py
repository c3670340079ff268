"""The steps of one operation: shown on the run's page at once, written to the records a moment behind the work."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.operation import OperationState, ResourceChanges, Step, StepsNote
from workflows.steps import until

# What happens within them is one note: most steps take less, and each note is up to eleven events. Only the first is soon:
# who looks at a short operation sees it go on, and a long one does not fill its history.
BEHIND_SECONDS, LATER_SECONDS = 1.0, 4.0
MARKS = {OperationState.DONE: "✓", OperationState.FAILED: "✗", OperationState.CANCELLED: "✗"}


class StepLog:
    """Collects what is new. A note that cannot be written fails the next step that begins."""

    def __init__(self, write: Callable[[StepsNote], Awaitable[None]]) -> None:
        self._write = write
        self._steps: dict[int, Step] = {}
        self._new: dict[int, Step] = {}
        self._learnt: dict[UUID, ResourceChanges] = {}
        self._names: Mapping[UUID, str] = {}
        self._writing: asyncio.Task[None] | None = None
        self._pause = BEHIND_SECONDS
        self._ends = False
        self._failure: BaseException | None = None
        self._number: tuple[UUID, int] | None = None

    def open(self, operation_id: UUID, fence: int, names: Mapping[UUID, str]) -> None:
        """Under which operation and fence number steps are noted; several members are told apart by their names."""
        self._number = operation_id, fence
        self._names = names if len(names) > 1 else {}

    def begin(self, name: str, instance_id: UUID | None = None) -> int:
        """A step begins; return its number. Raises the failure of the last note."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        number = len(self._steps) + 1
        words = name.replace("_", " ")
        self._note(Step(number=number, name=words, instance_id=instance_id, began=workflow.now()))
        return number

    def end(self, number: int, outcome: OperationState) -> None:
        """A step has ended."""
        self._note(self._steps[number].model_copy(update={"ended": workflow.now(), "outcome": outcome}))

    def learn(self, new: ResourceChanges) -> None:
        """Have the next note carry what a step found out."""
        known = self._learnt.get(new.instance_id) or ResourceChanges(instance_id=new.instance_id)
        more = {"resources": (*known.resources, *new.resources), "gone": (*known.gone, *new.gone)}
        said = {name: value for name, value in new if value is not None}
        self._learnt[new.instance_id] = known.model_copy(update=said | more)

    def show(self, last: str | None = None) -> None:
        """Tell them on the run's page; at the end, why it came to no good one."""
        lines = [self._line(step) for step in self._steps.values()]
        workflow.set_current_details("\n".join([*lines, f"- **{last}**"] if last else lines))

    def _line(self, step: Step) -> str:
        name = self._names.get(step.instance_id) if step.instance_id else None
        whose = f" ({name})" if name else ""
        return f"- {step.name}{whose} {MARKS[step.outcome]}" if step.outcome else f"- **{step.name}**{whose} …"

    async def write(self) -> None:
        """Write what is new, and return when the records have it."""
        note = self._note_of_new()
        await self._write(note)
        self._forget(note)

    async def last(self) -> StepsNote:
        """Write no more; return what is still to be written, for the last word to carry."""
        self._ends = True
        await until(lambda: self._writing is None)
        return self._note_of_new()

    def _note(self, step: Step) -> None:
        self._steps[step.number] = self._new[step.number] = step
        self.show()
        if self._writing is None and not self._ends:
            self._writing = asyncio.create_task(self._write_behind())

    async def _write_behind(self) -> None:
        try:
            while self._new:
                await until(lambda: self._ends, self._pause)
                if self._ends:
                    return
                self._pause = LATER_SECONDS
                note = self._note_of_new()
                try:
                    await self._write(note)
                except FailureError as error:
                    self._failure = error
                    return
                self._forget(note)
        finally:
            self._writing = None

    def _forget(self, note: StepsNote) -> None:
        self._new = {number: step for number, step in self._new.items() if step not in note.steps}
        self._learnt = {each: new for each, new in self._learnt.items() if new not in note.learnt}

    def _note_of_new(self) -> StepsNote:
        assert self._number is not None  # noqa: S101 - steps begin after the admission
        operation_id, fence = self._number
        steps, learnt = tuple(self._new.values()), tuple(self._learnt.values())
        return StepsNote(operation_id=operation_id, fence=fence, steps=steps, learnt=learnt)
