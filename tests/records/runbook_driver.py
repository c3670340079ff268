"""Orders as runbooks bring them to the records, and the answers of Temporal that a test decides."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

from sqlalchemy import text

from activities.records import PostgresRecords, RunQuestions
from contract.domain.instance import CloudOffer, Flavor, InstanceSpec, InstanceStatus
from contract.domain.operation import (
    Admission,
    AdmissionRequest,
    Caller,
    CloseOperation,
    MemberEnd,
    MemberRequest,
    OperationKind,
    OperationState,
    ResourceChanges,
    Step,
    StepsNote,
)
from contract.domain.resources import Resource, ResourceKind
from contract.names import lock_id
from records.datastores import Catalogue, CatalogueDatastore, CatalogueVersion, find_version, seed
from records.engine import AsyncEngine
from records.settings import RecordsSettings

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


ITS_OWN = UUID(int=0)  # of what was learnt: the driver puts in the member


class Asked(AdmissionRequest):
    """A request for an operation on one instance."""

    @property
    def instance_id(self) -> UUID:
        """That instance."""
        return self.members[0].instance_id

    @property
    def spec(self) -> InstanceSpec:
        """Of a creation: what was ordered."""
        assert self.members[0].spec is not None
        return self.members[0].spec

    def changed(self, **spec: Any) -> "Asked":
        """The same with another spec."""
        member = self.members[0].model_copy(update={"spec": self.spec.model_copy(update=spec)})
        return self.model_copy(update={"members": (member,)})


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


def learnt_server(server_id: str) -> ResourceChanges:
    """That a server was found."""
    return ResourceChanges(instance_id=ITS_OWN, resources=(Resource(kind=ResourceKind.SERVER, id=server_id),))


@dataclass
class Driver:
    """The records' verbs, and orders that differ in what a test names."""

    engine: AsyncEngine
    runs: Runs = field(default_factory=Runs)
    steps: dict[UUID, list[Step]] = field(default_factory=dict)

    @property
    def records(self) -> PostgresRecords:
        """The activities."""
        return PostgresRecords(self.engine, cast(RunQuestions, self.runs), RecordsSettings().default_quotas())

    async def creation(self, project: str | None = None, **changed: Any) -> Asked:
        """A request to admit the creation of a new instance, by default of a project of its own."""
        spec = InstanceSpec(name=changed.pop("name", "db"), datastore="postgresql", flavor="1",
                            volume_gib=changed.pop("volume_gib", 2))  # fmt: skip
        async with self.engine.connect() as conn:
            version = await find_version(conn, spec)
        spec = changed.pop("spec", None) or spec.model_copy(update={"version": version})
        caller = Caller(project_id=project or f"p-{uuid4()}", user_id="amy", request_id="req-1")
        return self.request(OperationKind.CREATE, uuid4(), caller, spec=spec, offer=OFFER, **changed)

    def request(self, kind: OperationKind, instance_id: UUID, caller: Caller, **changed: Any) -> Asked:
        """A request of a run of its own, about one instance."""
        run = str(uuid4())
        more = {name: changed.pop(name) for name in ("spec", "offer", "flavor") if name in changed}
        values = {
            "kind": kind,
            "operation_id": uuid4(),
            "members": (MemberRequest(instance_id=instance_id, **more),),
            "group_id": instance_id,
            "caller": caller,
            "workflow_id": lock_id(instance_id),
            "run_id": run,
            "first_execution_run_id": run,
        }
        return Asked.model_validate(values | changed)

    async def created(self, project: str | None = None, **changed: Any) -> Asked:
        """Bring a creation to its good end; return what was asked."""
        asked = await self.creation(project, **changed)
        await self.done(await self.records.admit(asked), OperationKind.CREATE)
        return asked

    async def done(self, admission: Admission, kind: OperationKind, **word: Any) -> None:
        """Close an operation as done; a creation has found its server by then."""
        if kind is OperationKind.CREATE:
            for each in admission.members:
                await self.note(admission, learnt=learnt_server(f"server of {each.instance.id}"), of=each.instance.id)
        await self.close(admission, OperationState.DONE, status=LAST_STATUS.get(kind), **word)

    async def close(self, admission: Admission, state: OperationState, **word: Any) -> None:
        """The last word on an operation, the same for each of its members."""
        end = {name: word.pop(name) for name in ("status", "deleted") if name in word}
        ends = [MemberEnd(instance_id=each.instance.id, **end) for each in admission.members]
        values = {"operation_id": admission.operation_id, "fence": admission.fence, "state": state, "ends": ends}
        await self.records.close(CloseOperation.model_validate(values | word))

    async def note(
        self,
        admission: Admission,
        *,
        ended: str | None = None,
        begins: str | None = None,
        learnt: Any = None,
        of: UUID | None = None,
    ) -> StepsNote:
        """Note the end of a step, the beginning of another, and what was found out of a member; return the note."""
        about = of or admission.members[0].instance.id
        steps = self.steps.setdefault(admission.operation_id, [])
        new = []
        if ended is not None:
            (running,) = [each for each in steps if each.name == ended and each.outcome is None]
            over = running.model_copy(update={"ended": datetime.now(UTC), "outcome": OperationState.DONE})
            steps[running.number - 1] = over
            new.append(over)
        if begins is not None:
            steps.append(Step(number=len(steps) + 1, name=begins, instance_id=about, began=datetime.now(UTC)))
            new.append(steps[-1])
        found = () if learnt is None else (learnt.model_copy(update={"instance_id": about}),)
        note = StepsNote(operation_id=admission.operation_id, fence=admission.fence, steps=tuple(new), learnt=found)
        await self.records.note_steps(note)
        return note

    async def sql(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """Look at the tables, or change them behind the records' back."""
        async with self.engine.begin() as conn:
            found = await conn.execute(text(statement), values)
            return [dict(row) for row in found.mappings()] if found.returns_rows else []

    async def instance(self, instance_id: UUID) -> dict[str, Any]:
        """The instance's row; empty when there is none."""
        return next(iter(await self.sql("SELECT * FROM instances WHERE id = :id", id=instance_id)), {})

    async def resources(self, instance_id: UUID) -> dict[str, str]:
        """Ids of its resources by kind, role and generation: `volume main 1`."""
        rows = await self.sql("SELECT * FROM resources WHERE instance_id = :id", id=instance_id)
        return {f"{row['kind']} {row['role']} {row['generation']}": row["id"] for row in rows}

    async def member(self, operation_id: UUID) -> dict[str, Any]:
        """What the records have of the operation's one member."""
        (row,) = await self.sql("SELECT * FROM operation_members WHERE operation_id = :id", id=operation_id)
        return row

    async def operation(self, operation_id: UUID) -> dict[str, Any]:
        """The operation's row; empty when there is none."""
        return next(iter(await self.sql("SELECT * FROM operations WHERE id = :id", id=operation_id)), {})

    async def charges(self, instance_id: UUID) -> dict[str, int]:
        """What is charged for an instance."""
        rows = await self.sql("SELECT resource, amount FROM charges WHERE thing_id = :id", id=instance_id)
        return {row["resource"]: row["amount"] for row in rows}

    async def everything(self) -> dict[str, list[dict[str, Any]]]:
        """All that an admission may write, for comparison."""
        tables = ("groups", "instances", "operations", "operation_members", "operation_steps", "charges",
                  "resources")  # fmt: skip
        return {each: await self.sql(f"SELECT * FROM {each} t ORDER BY t::text") for each in tables}
