"""Orders as runbooks bring them to the records, and the answers of Temporal that a test decides."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

from sqlalchemy import text

from activities.records import PostgresRecords, RunQuestions
from records.catalogue import Catalogue, CatalogueDatastore, CatalogueVersion, find_version, seed
from records.engine import AsyncEngine
from records.settings import RecordsSettings
from workflows.domain.instance import CloudOffer, Flavor, InstanceSpec, InstanceStatus
from workflows.domain.operation import (
    Admission,
    AdmissionRequest,
    Caller,
    Close,
    OperationKind,
    OperationState,
    StepNote,
)
from workflows.names import lock_id

FLAVOR = Flavor(id="1", name="small", ram_mib=512, vcpus=1)
OFFER = CloudOffer(flavor=FLAVOR, image_id="image", network_id="network", volume_type="lvm")
CATALOGUE = Catalogue(
    datastores=(
        CatalogueDatastore(
            name="postgresql", manager="postgresql", versions=(CatalogueVersion(name="15", image="pg", default=True),)
        ),
    )
)
LAST_STATUS = {OperationKind.CREATE: InstanceStatus.ACTIVE, OperationKind.RESTART: InstanceStatus.ACTIVE}


class Runs:
    """What Temporal says of a run, as the test decides: the only part that is not real."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.open = True
        self.before_the_answer: Callable[[], Awaitable[object]] | None = None

    async def is_open(self, workflow_id: str, run_id: str) -> bool:
        """Answer, and remember what was asked."""
        self.asked.append((workflow_id, run_id))
        if self.before_the_answer is not None:
            await self.before_the_answer()
        return self.open

    async def chain_is_open(self, workflow_id: str, first_execution_run_id: str) -> bool:
        """The same for a chain of runs."""
        return await self.is_open(workflow_id, first_execution_run_id)


async def seed_catalogue(engine: AsyncEngine) -> None:
    """One datastore with one version."""
    async with engine.begin() as conn:
        await seed(conn, CATALOGUE)


@dataclass
class Desk:
    """The records' verbs, and orders that differ in what a test names."""

    engine: AsyncEngine
    runs: Runs = field(default_factory=Runs)

    @property
    def records(self) -> PostgresRecords:
        """The activities."""
        return PostgresRecords(self.engine, cast(RunQuestions, self.runs), RecordsSettings().default_quotas())

    async def creation(self, project: str | None = None, **changed: Any) -> AdmissionRequest:
        """A request to admit the creation of a new instance, by default of a project of its own."""
        spec = InstanceSpec(name=changed.pop("name", "db"), datastore="postgresql", flavor="1",
                            volume_gib=changed.pop("volume_gib", 2))  # fmt: skip
        async with self.engine.connect() as conn:
            version = await find_version(conn, spec)
        spec = changed.pop("spec", None) or spec.model_copy(update={"version": version})
        caller = Caller(project_id=project or f"p-{uuid4()}", user_id="amy", request_id="req-1")
        return self.request(OperationKind.CREATE, uuid4(), caller, spec=spec, offer=OFFER, **changed)

    def request(self, kind: OperationKind, instance_id: UUID, caller: Caller, **changed: Any) -> AdmissionRequest:
        """A request of a run of its own."""
        run = str(uuid4())
        values = {
            "kind": kind,
            "operation_id": uuid4(),
            "instance_id": instance_id,
            "group_id": instance_id,
            "caller": caller,
            "workflow_id": lock_id(instance_id),
            "run_id": run,
            "first_execution_run_id": run,
        }
        return AdmissionRequest.model_validate(values | changed)

    async def created(self, project: str | None = None, **changed: Any) -> AdmissionRequest:
        """Bring a creation to its good end; return what was asked."""
        asked = await self.creation(project, **changed)
        await self.done(await self.records.admit(asked), OperationKind.CREATE)
        return asked

    async def done(self, admission: Admission, kind: OperationKind, **word: Any) -> None:
        """Close an operation as done; a creation has found its server by then."""
        if kind is OperationKind.CREATE:
            await self.note(admission, learnt={"server_id": f"server of {admission.instance.id}"})
        await self.close(admission, OperationState.DONE, status=LAST_STATUS.get(kind), **word)

    async def close(self, admission: Admission, state: OperationState, **word: Any) -> None:
        """The last word on an operation."""
        values = {"operation_id": admission.operation_id, "fence": admission.fence, "state": state}
        await self.records.close(Close.model_validate(values | word))

    async def note(self, admission: Admission, **what: Any) -> None:
        """Note a step of an operation."""
        values = {"operation_id": admission.operation_id, "fence": admission.fence}
        await self.records.note_step(StepNote.model_validate(values | what))

    async def sql(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """Look at the tables, or change them behind the records' back."""
        async with self.engine.begin() as conn:
            found = await conn.execute(text(statement), values)
            return [dict(row) for row in found.mappings()] if found.returns_rows else []

    async def instance(self, instance_id: UUID) -> dict[str, Any]:
        """The instance's row; empty when there is none."""
        return next(iter(await self.sql("SELECT * FROM instances WHERE id = :id", id=instance_id)), {})

    async def operation(self, operation_id: UUID) -> dict[str, Any]:
        """The operation's row; empty when there is none."""
        return next(iter(await self.sql("SELECT * FROM operations WHERE id = :id", id=operation_id)), {})

    async def charges(self, instance_id: UUID) -> dict[str, int]:
        """What is charged for an instance."""
        rows = await self.sql("SELECT resource, amount FROM charges WHERE thing_id = :id", id=instance_id)
        return {row["resource"]: row["amount"] for row in rows}

    async def everything(self) -> dict[str, list[dict[str, Any]]]:
        """All that an admission may write, for comparison."""
        tables = ("groups", "instances", "operations", "operation_steps", "charges")
        return {each: await self.sql(f"SELECT * FROM {each} ORDER BY 1, 2") for each in tables}
