"""Quota under concurrency: exactly as many as fit, and what is given back fits again."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import pytest

from contract.domain.errors import BadRequest, NotFound, QuotaExceeded
from contract.domain.instance import InstanceStatus
from contract.domain.operation import Admission, AdmissionRequest, OperationKind, OperationState
from contract.ports.records import QuotaChange
from records.reads import Reader
from tests.records.runbook_driver import Driver

CEILING = 5
ASKERS = 20


@pytest.fixture
def project() -> str:
    """A project that nothing is charged to."""
    return f"p-{uuid4()}"


async def limit(driver: Driver, project: str, **limits: int) -> None:
    """Set ceilings."""
    await driver.records.set_quotas(QuotaChange(project_id=project, limits=limits))


async def admit_all(
    driver: Driver, requests: Sequence[AdmissionRequest]
) -> tuple[list[Admission], list[BaseException]]:
    """All at once: who was admitted, and why the others were not."""
    ends = await asyncio.gather(*(driver.records.admit(each) for each in requests), return_exceptions=True)
    admitted = [each for each in ends if isinstance(each, Admission)]
    return admitted, [each for each in ends if isinstance(each, BaseException)]


async def used(reader: Reader, project: str) -> dict[str, int]:
    """What the project uses."""
    return {each.resource: each.in_use for each in await reader.list_quotas(project)}


async def test_exactly_as_many_as_fit_are_admitted(driver: Driver, reader: Reader, project: str) -> None:
    await limit(driver, project, instances=CEILING)
    requests = [await driver.creation(project, volume_gib=2) for _ in range(ASKERS)]
    admitted, refused = await admit_all(driver, requests)
    assert len(admitted) == CEILING
    assert [type(each) for each in refused] == [QuotaExceeded] * (ASKERS - CEILING)
    assert all("['instances']" in str(each) for each in refused)
    assert await used(reader, project) == {"instances": 5, "volumes": 10, "ram": 2560, "backups": 0}
    rows = await driver.sql("SELECT id FROM instances WHERE project_id = :p", p=project)
    assert {each["id"] for each in rows} == {each.members[0].instance.id for each in admitted}


async def test_sums_are_as_exact_as_numbers(driver: Driver, reader: Reader, project: str) -> None:
    await limit(driver, project, instances=-1, volumes=11)
    requests = [await driver.creation(project, volume_gib=2) for _ in range(ASKERS)]
    admitted, refused = await admit_all(driver, requests)
    assert len(admitted) == 5
    assert all("['volumes']" in str(each) for each in refused)
    assert (await used(reader, project))["volumes"] == 10


async def test_projects_do_not_share_a_ceiling(driver: Driver, reader: Reader) -> None:
    projects = [f"p-{uuid4()}" for _ in range(4)]
    for each in projects:
        await limit(driver, each, instances=2)
    requests = [await driver.creation(project) for project in projects for _ in range(4)]
    admitted, _ = await admit_all(driver, requests)
    assert len(admitted) == 8
    assert [(await used(reader, each))["instances"] for each in projects] == [2, 2, 2, 2]


async def test_what_is_given_back_fits_again(driver: Driver, reader: Reader, project: str) -> None:
    await limit(driver, project, instances=CEILING)
    requests = [await driver.creation(project) for _ in range(ASKERS)]
    admitted, _ = await admit_all(driver, requests)
    failed, doomed, *_ = admitted
    await driver.close(failed, OperationState.FAILED, status=InstanceStatus.ERROR, reason="no host")
    caller = requests[0].caller
    deletion = await driver.records.admit(driver.request(OperationKind.DELETE, doomed.members[0].instance.id, caller))
    assert (await used(reader, project))["instances"] == CEILING - 1  # a deletion that runs has given nothing back
    await driver.done(deletion, OperationKind.DELETE, deleted=True)
    assert (await used(reader, project))["instances"] == CEILING - 2
    again, refused = await admit_all(driver, [await driver.creation(project) for _ in range(ASKERS)])
    assert (len(again), len(refused)) == (2, ASKERS - 2)
    assert (await used(reader, project))["instances"] == CEILING


async def test_giving_back_and_taking_at_the_same_time_never_exceeds(
    driver: Driver, reader: Reader, project: str
) -> None:
    await limit(driver, project, instances=CEILING)
    admitted, _ = await admit_all(driver, [await driver.creation(project) for _ in range(CEILING)])
    requests = [await driver.creation(project) for _ in range(ASKERS)]
    failed = {"status": InstanceStatus.ERROR, "reason": "no host"}
    closing = [driver.close(each, OperationState.FAILED, **failed) for each in admitted[:3]]
    closings = asyncio.gather(*closing)
    more, refused = await admit_all(driver, requests)
    await closings
    assert len(more) <= 3
    assert all(isinstance(each, QuotaExceeded) for each in refused)
    assert (await used(reader, project))["instances"] == CEILING - 3 + len(more)


async def test_no_ceiling_is_no_limit(driver: Driver, reader: Reader, project: str) -> None:
    await limit(driver, project, instances=-1, volumes=-1)
    admitted, refused = await admit_all(driver, [await driver.creation(project, volume_gib=1000) for _ in range(12)])
    assert (len(admitted), refused) == (12, [])
    assert (await used(reader, project))["volumes"] == 12_000


async def test_ceilings_are_the_defaults_until_others_are_set(driver: Driver, reader: Reader, project: str) -> None:
    before = {each.resource: each.limit for each in await reader.list_quotas(project)}
    await limit(driver, project, volumes=3)
    await limit(driver, project, volumes=4, backups=0)
    after = {each.resource: each.limit for each in await reader.list_quotas(project)}
    assert after == {**before, "volumes": 4, "backups": 0}
    other = {each.resource: each.limit for each in await reader.list_quotas(f"{project}-other")}
    assert other == before


async def test_impossible_ceilings_are_refused(driver: Driver, reader: Reader, project: str) -> None:
    before = await reader.list_quotas(project)
    with pytest.raises(NotFound, match="Quota could not be found for resource cores"):
        await limit(driver, project, volumes=1, cores=1)
    with pytest.raises(BadRequest, match="-1"):
        await limit(driver, project, volumes=1, instances=-2)
    assert await reader.list_quotas(project) == before
