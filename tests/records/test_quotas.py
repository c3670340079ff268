"""Quota under concurrency: exactly as many as fit, and what is given back fits again."""

import asyncio
from uuid import uuid4

import pytest

from records.reads import Reader
from tests.records.desk import Desk
from workflows.domain.errors import BadRequest, NotFound, QuotaExceeded
from workflows.domain.instance import InstanceStatus
from workflows.domain.operation import Admission, AdmissionRequest, OperationKind, OperationState
from workflows.ports.records import QuotaChange

CEILING = 5
ASKERS = 20


@pytest.fixture
def project() -> str:
    """A project that nothing is charged to."""
    return f"p-{uuid4()}"


async def limit(desk: Desk, project: str, **limits: int) -> None:
    """Set ceilings."""
    await desk.records.set_quotas(QuotaChange(project_id=project, limits=limits))


async def admit_all(desk: Desk, requests: list[AdmissionRequest]) -> tuple[list[Admission], list[BaseException]]:
    """All at once: who was admitted, and why the others were not."""
    ends = await asyncio.gather(*(desk.records.admit(each) for each in requests), return_exceptions=True)
    admitted = [each for each in ends if isinstance(each, Admission)]
    return admitted, [each for each in ends if isinstance(each, BaseException)]


async def used(reader: Reader, project: str) -> dict[str, int]:
    """What the project uses."""
    return {each.resource: each.in_use for each in await reader.list_quotas(project)}


async def test_exactly_as_many_as_fit_are_admitted(desk: Desk, reader: Reader, project: str) -> None:
    await limit(desk, project, instances=CEILING)
    requests = [await desk.creation(project, volume_gib=2) for _ in range(ASKERS)]
    admitted, refused = await admit_all(desk, requests)
    assert len(admitted) == CEILING
    assert [type(each) for each in refused] == [QuotaExceeded] * (ASKERS - CEILING)
    assert all("['instances']" in str(each) for each in refused)
    assert await used(reader, project) == {"instances": 5, "volumes": 10, "ram": 2560, "backups": 0}
    rows = await desk.sql("SELECT id FROM instances WHERE project_id = :p", p=project)
    assert {each["id"] for each in rows} == {each.instance.id for each in admitted}


async def test_sums_are_as_exact_as_numbers(desk: Desk, reader: Reader, project: str) -> None:
    await limit(desk, project, instances=-1, volumes=11)
    requests = [await desk.creation(project, volume_gib=2) for _ in range(ASKERS)]
    admitted, refused = await admit_all(desk, requests)
    assert len(admitted) == 5
    assert all("['volumes']" in str(each) for each in refused)
    assert (await used(reader, project))["volumes"] == 10


async def test_projects_do_not_share_a_ceiling(desk: Desk, reader: Reader) -> None:
    projects = [f"p-{uuid4()}" for _ in range(4)]
    for each in projects:
        await limit(desk, each, instances=2)
    requests = [await desk.creation(project) for project in projects for _ in range(4)]
    admitted, _ = await admit_all(desk, requests)
    assert len(admitted) == 8
    assert [(await used(reader, each))["instances"] for each in projects] == [2, 2, 2, 2]


async def test_what_is_given_back_fits_again(desk: Desk, reader: Reader, project: str) -> None:
    await limit(desk, project, instances=CEILING)
    requests = [await desk.creation(project) for _ in range(ASKERS)]
    admitted, _ = await admit_all(desk, requests)
    failed, doomed, *_ = admitted
    await desk.close(failed, OperationState.FAILED, status=InstanceStatus.ERROR, reason="no host")
    caller = requests[0].caller
    deletion = await desk.records.admit(desk.request(OperationKind.DELETE, doomed.instance.id, caller))
    assert (await used(reader, project))["instances"] == CEILING - 1  # a deletion that runs has given nothing back
    await desk.done(deletion, OperationKind.DELETE, deleted=True)
    assert (await used(reader, project))["instances"] == CEILING - 2
    again, refused = await admit_all(desk, [await desk.creation(project) for _ in range(ASKERS)])
    assert (len(again), len(refused)) == (2, ASKERS - 2)
    assert (await used(reader, project))["instances"] == CEILING


async def test_giving_back_and_taking_at_the_same_time_never_exceeds(desk: Desk, reader: Reader, project: str) -> None:
    await limit(desk, project, instances=CEILING)
    admitted, _ = await admit_all(desk, [await desk.creation(project) for _ in range(CEILING)])
    requests = [await desk.creation(project) for _ in range(ASKERS)]
    failed = {"status": InstanceStatus.ERROR, "reason": "no host"}
    closing = [desk.close(each, OperationState.FAILED, **failed) for each in admitted[:3]]
    closings = asyncio.gather(*closing)
    more, refused = await admit_all(desk, requests)
    await closings
    assert len(more) <= 3
    assert all(isinstance(each, QuotaExceeded) for each in refused)
    assert (await used(reader, project))["instances"] == CEILING - 3 + len(more)


async def test_no_ceiling_is_no_limit(desk: Desk, reader: Reader, project: str) -> None:
    await limit(desk, project, instances=-1, volumes=-1)
    admitted, refused = await admit_all(desk, [await desk.creation(project, volume_gib=1000) for _ in range(12)])
    assert (len(admitted), refused) == (12, [])
    assert (await used(reader, project))["volumes"] == 12_000


async def test_ceilings_are_the_defaults_until_others_are_set(desk: Desk, reader: Reader, project: str) -> None:
    before = {each.resource: each.limit for each in await reader.list_quotas(project)}
    await limit(desk, project, volumes=3)
    await limit(desk, project, volumes=4, backups=0)
    after = {each.resource: each.limit for each in await reader.list_quotas(project)}
    assert after == {**before, "volumes": 4, "backups": 0}
    other = {each.resource: each.limit for each in await reader.list_quotas(f"{project}-other")}
    assert other == before


async def test_impossible_ceilings_are_refused(desk: Desk, reader: Reader, project: str) -> None:
    before = await reader.list_quotas(project)
    with pytest.raises(NotFound, match="Quota could not be found for resource cores"):
        await limit(desk, project, volumes=1, cores=1)
    with pytest.raises(BadRequest, match="-1"):
        await limit(desk, project, volumes=1, instances=-2)
    assert await reader.list_quotas(project) == before
