"""Configuration groups in the records: who may have them, who deletes them when, and what administrators take away."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from activities.configurations import PostgresConfigurations
from contract.domain.configurations import Attachment
from contract.domain.errors import BadRequest, NotFound, Unsupported
from contract.domain.operation import (
    Admission,
    Caller,
    CloseOperation,
    MemberEnd,
    MemberRequest,
    OperationKind,
    OperationState,
    ResourceChanges,
)
from contract.ports.configurations import ConfigurationChange, ConfigurationName, NewConfiguration, ParameterRule
from records import sweeps
from records.reads import Reader, Scope
from tests.records.runbook_driver import Driver

AMY = Caller(project_id=f"p-{uuid4()}", user_id="amy", request_id="req-1")
BOB = Caller(project_id="p-others", user_id="bob", request_id="req-2")


class Groups:
    """The verbs, with what tests leave out."""

    def __init__(self, driver: Driver, reader: Reader) -> None:
        self.driver, self.reader, self.verbs = driver, reader, PostgresConfigurations(driver.engine)

    async def version(self) -> UUID:
        """The one version of the catalogue."""
        return (await self.driver.creation()).spec.version.id  # type: ignore[union-attr]

    async def made(self, values: dict[str, Any], caller: Caller = AMY) -> UUID:
        """A new group."""
        new = NewConfiguration(
            id=uuid4(), caller=caller, name="g", datastore_version_id=await self.version(), values=values
        )
        await self.verbs.create_configuration(new)
        await self.verbs.create_configuration(new)  # the answer was lost
        return new.id

    async def values(self, group: UUID) -> dict[str, Any]:
        """What it says."""
        found = await self.reader.get_configuration(str(group), Scope(AMY.project_id))
        assert found is not None
        return found.values

    async def attaching(self, instance_id: UUID, group: UUID | None, caller: Caller = AMY) -> Admission:
        """Admit the operation that gives it to an instance."""
        asked = self.driver.request(OperationKind.RECONFIGURE, instance_id, caller)
        member = MemberRequest(instance_id=instance_id, attachment=Attachment(configuration_id=group))
        return await self.driver.records.admit(asked.model_copy(update={"members": (member,)}))

    async def ended(
        self, admission: Admission, group: UUID | None, state: OperationState = OperationState.DONE
    ) -> None:
        """Close it."""
        instance_id = admission.members[0].instance.id
        learnt = ResourceChanges(
            instance_id=instance_id, attachment=Attachment(configuration_id=group), restart_required=True,
            configured=admission.members[0].wanted.updated if admission.members[0].wanted else None,
        )  # fmt: skip
        done = state is OperationState.DONE
        await self.driver.records.close(
            CloseOperation(
                operation_id=admission.operation_id, fence=admission.fence, state=state, reason=None if done else "why",
                learnt=(learnt,) if done else (), ends=(MemberEnd(instance_id=instance_id),),
            )
        )  # fmt: skip

    async def remove(self, group: UUID, caller: Caller = AMY) -> None:
        """Delete it."""
        await self.verbs.delete_configuration(ConfigurationName(id=group, caller=caller))


@pytest.fixture
def groups(driver: Driver, reader: Reader) -> Groups:
    """The verbs."""
    return Groups(driver, reader)


async def test_values_replaced_and_merged(groups: Groups) -> None:
    group = await groups.made({"Work_Mem": 100, "jit": True})
    for _ in range(2):  # an answer that was lost
        await groups.verbs.change_configuration(
            ConfigurationChange(id=group, caller=AMY, values={"JIT": False}, merge=True)
        )
    assert await groups.values(group) == {"work_mem": 100, "jit": False}
    await groups.verbs.change_configuration(
        ConfigurationChange(id=group, caller=AMY, values={}, name="n", description="d")
    )
    assert await groups.values(group) == {}
    found = await groups.reader.get_configuration("n", Scope(AMY.project_id))
    assert found is not None
    assert (found.id, found.description, found.instance_count) == (group, "d", 0)


async def test_what_is_refused_changes_nothing(groups: Groups) -> None:
    group = await groups.made({"work_mem": 100})
    wrong = ConfigurationChange(
        id=group, caller=AMY, values={"work_mem": 1, "fsync": False, **{f"x{n}": 1 for n in range(30)}}
    )
    with pytest.raises(Unsupported, match=r"less than the minimum.*fsync.*and 12 more"):
        await groups.verbs.change_configuration(wrong)
    assert await groups.values(group) == {"work_mem": 100}
    with pytest.raises(NotFound):
        await groups.verbs.change_configuration(ConfigurationChange(id=group, caller=BOB, values={}))
    await groups.remove(group, BOB)  # not its own: as if it were gone
    assert await groups.values(group) == {"work_mem": 100}
    new = NewConfiguration(id=uuid4(), caller=AMY, name="g", datastore_version_id=uuid4(), values={})
    with pytest.raises(BadRequest):
        await groups.verbs.create_configuration(new)


async def test_given_and_taken(groups: Groups) -> None:
    group, other = await groups.made({"work_mem": 100}), await groups.made({})
    instance_id = (await groups.driver.created(AMY.project_id)).instance_id
    admission = await groups.attaching(instance_id, group)
    assert admission.members[0].instance.configuration is None
    assert admission.members[0].wanted is not None
    assert admission.members[0].wanted.settings == {"work_mem": "100"}
    with pytest.raises(BadRequest, match="associated"):  # it is being given
        await groups.remove(group)
    await groups.ended(admission, group)
    found = await groups.reader.get_instance(str(instance_id), Scope(AMY.project_id))
    assert found is not None
    assert (found.configuration_id, found.configuration_name, found.restart_required, found.status) == (
        group,
        "g",
        True,
        "ACTIVE",
    )
    with pytest.raises(BadRequest, match="associated"):
        await groups.remove(group)
    with pytest.raises(BadRequest, match="already has"):
        await groups.attaching(instance_id, other)
    told = await groups.verbs.change_configuration(ConfigurationChange(id=group, caller=AMY, values={"jit": True}))
    assert [each.instance_id for each in told.instances] == [instance_id]
    page, marker = await groups.reader.list_instances_with(group, 5)
    assert ([each.id for each in page], marker) == ([instance_id], None)
    admission = await groups.attaching(instance_id, None)
    assert admission.members[0].instance.configuration is not None
    assert admission.members[0].wanted is None
    await groups.ended(admission, None)
    await groups.remove(group)
    await groups.remove(group)
    assert await groups.reader.get_configuration(str(group), Scope(None)) is None


async def test_the_answer_of_an_admission_is_repeated_as_it_was(groups: Groups) -> None:
    group = await groups.made({"work_mem": 100})
    instance_id = (await groups.driver.created(AMY.project_id)).instance_id
    for wanted, refresh in ((group, False), (None, True), (None, False)):
        asked = groups.driver.request(OperationKind.RECONFIGURE, instance_id, AMY)
        attachment = None if refresh else Attachment(configuration_id=wanted)
        member = MemberRequest(instance_id=instance_id, attachment=attachment)
        asked = asked.model_copy(update={"members": (member,)})
        first, second = [await groups.driver.records.admit(asked) for _ in range(2)]
        assert first == second
        assert (first.members[0].wanted is None) == (wanted is None and not refresh)
        await groups.ended(first, group if refresh else wanted)
    await groups.remove(group)


async def test_one_that_came_to_nothing_holds_nothing(groups: Groups) -> None:
    group = await groups.made({})
    instance_id = (await groups.driver.created(AMY.project_id)).instance_id
    await groups.ended(await groups.attaching(instance_id, group), None, OperationState.FAILED)
    await groups.remove(group)


async def test_only_one_s_own_and_of_the_same_version(groups: Groups) -> None:
    theirs = await groups.made({}, BOB)
    instance_id = (await groups.driver.created(AMY.project_id)).instance_id
    for wanted in (theirs, uuid4()):
        with pytest.raises(NotFound):
            await groups.attaching(instance_id, wanted)
        creation = (await groups.driver.creation(AMY.project_id)).changed(configuration_id=wanted)
        with pytest.raises(NotFound):
            await groups.driver.records.admit(creation)
    with pytest.raises(NotFound):  # an administrator's own group is no tenant's
        await groups.attaching(instance_id, theirs, BOB.model_copy(update={"is_admin": True}))


async def test_created_with_one_and_deleted(groups: Groups) -> None:
    group = await groups.made({"jit": False})
    creation = (await groups.driver.creation(AMY.project_id)).changed(configuration_id=group)
    admission = await groups.driver.records.admit(creation)
    assert admission.members[0].instance.configuration is not None
    assert admission.members[0].instance.configuration.settings == {"jit": "off"}
    await groups.driver.done(admission, OperationKind.CREATE)
    with pytest.raises(BadRequest):
        await groups.remove(group)
    deletion = await groups.driver.records.admit(groups.driver.request(OperationKind.DELETE, creation.instance_id, AMY))
    await groups.driver.done(deletion, OperationKind.DELETE, deleted=True)
    await groups.remove(group)


async def test_deleted_and_given_at_once_is_one_of_both(groups: Groups) -> None:
    instance_id = (await groups.driver.created(AMY.project_id)).instance_id
    for _ in range(10):
        group = await groups.made({})
        outcomes = await asyncio.gather(
            groups.attaching(instance_id, group), groups.remove(group), return_exceptions=True
        )
        given, removed = outcomes
        assert isinstance(given, BaseException) != isinstance(removed, BaseException), outcomes
        if isinstance(given, Admission):
            await groups.ended(given, None, OperationState.FAILED)


async def test_administrators_take_away(groups: Groups) -> None:
    version = await groups.version()

    async def rule(name: str, **said: Any) -> None:
        await groups.verbs.rule_parameter(ParameterRule(datastore_version_id=version, name=name, **said))

    await rule("work_mem", minimum=100, maximum=200)
    await rule("random_page_cost", maximum=2.5)
    await rule("jit", hidden=True)
    for values in ({"work_mem": 99}, {"work_mem": 201}, {"random_page_cost": 2.6}, {"jit": True}):
        with pytest.raises(Unsupported):
            await groups.made(values)
    await groups.made({"work_mem": 150, "random_page_cost": 2.5})
    for name, said in (("work_mem", {"minimum": 1}), ("work_mem", {"minimum": 300, "maximum": 200}), ("jit", {"minimum": 0}),
                       ("archive_command", {})):  # fmt: skip
        with pytest.raises(BadRequest):
            await rule(name, **said)
    for name in ("work_mem", "random_page_cost", "jit"):
        await rule(name)
    await groups.made({"work_mem": 99, "jit": True})


CHANGED = "UPDATE configurations SET updated = clock_timestamp() - interval '61 s'"
LONG_AGO = "UPDATE operations SET created = created - interval '10 minutes'"
TOLD_LONG_AGO = "UPDATE instances SET configured = configured - interval '10 minutes'"


@pytest.mark.parametrize(
    ("since", "is_told"),
    [
        ((), False),
        ((CHANGED,), True),
        (("UPDATE configurations SET updated = clock_timestamp()",), False),  # the change itself is telling it
        ((CHANGED, "UPDATE instances SET status = 'SHUTDOWN'"), False),
        ((CHANGED, "UPDATE instances SET operating_status = ''"), False),
        ((CHANGED, "UPDATE instances SET configuration_id = NULL"), False),
        ((CHANGED, "UPDATE instances SET configured = NULL, created = created - interval '1 hour'"), True),
        ((CHANGED, "UPDATE operations SET state = 'RUNNING' WHERE kind = 'create'"), False),
        (
            (CHANGED, "UPDATE operations SET created = clock_timestamp() WHERE kind = 'reconfigure'"),
            False,
        ),  # it refused
    ],
)
async def test_who_was_away_when_its_group_changed_is_told(
    groups: Groups, since: tuple[str, ...], is_told: bool
) -> None:
    caller = Caller(project_id=f"p-{uuid4()}", user_id="amy", request_id="req-3")
    instance_id = (await groups.driver.created(caller.project_id)).instance_id
    group = await groups.made({"work_mem": 100}, caller)
    await groups.ended(await groups.attaching(instance_id, group, caller), group)
    healthy = "UPDATE instances SET operating_status = 'HEALTHY'"
    for statement in (
        healthy,
        LONG_AGO,
        TOLD_LONG_AGO,
        "UPDATE configurations SET updated = updated - interval '10 minutes'",
    ):
        await groups.driver.sql(statement)
    for statement in since:
        await groups.driver.sql(statement)
    async with groups.driver.engine.connect() as conn:
        found = [each.instance_ids for each in await sweeps.behind(conn)]
    assert ((instance_id,) in found) is is_told
