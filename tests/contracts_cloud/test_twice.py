"""Every verb may come twice: after a success, after a lost answer, after a timeout whose request took effect later."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from contract.domain.errors import CloudFailed, QuotaExceeded
from contract.domain.resources import ResourceKind
from tests.contracts_cloud.target_cloud import Instance, TargetCloud


@dataclass(frozen=True)
class Verb:
    """A creating verb: how to say it, where it posts to, and what is there afterwards."""

    name: str
    prepare: Callable[[Instance], Callable[[], str]]
    path: str
    there: Callable[[Instance], list[str]]

    def __str__(self) -> str:
        return self.name


def _security_group(instance: Instance) -> Callable[[], str]:
    return lambda: instance.cloud.networks.create_security_group(instance.order())


def _port(instance: Instance) -> Callable[[], str]:
    return lambda: instance.cloud.networks.create_port(instance.order()).id


def _volume(instance: Instance) -> Callable[[], str]:
    return lambda: instance.cloud.volumes.create_volume(instance.new_volume())


def _server_group(instance: Instance) -> Callable[[], str]:
    return lambda: instance.cloud.servers.create_server_group(instance.order())


def _server(instance: Instance) -> Callable[[], str]:
    order = instance.server_order()
    return lambda: instance.cloud.servers.create_server(order)


def _floating_ip(instance: Instance) -> Callable[[], str]:
    order = instance.floating_ip_order()
    return lambda: instance.cloud.networks.create_floating_ip(order).address


SECURITY_GROUP = Verb("security group", _security_group, "/security-groups$", Instance.security_groups)
PORT = Verb("port", _port, "/ports$", Instance.ports)
VOLUME = Verb("volume", _volume, "/volumes$", Instance.volumes)
SERVER_GROUP = Verb("server group", _server_group, "/os-server-groups$", Instance.server_groups)
SERVER = Verb("server", _server, "/servers$", Instance.servers)
FLOATING_IP = Verb("floating IP", _floating_ip, "/floatingips$", Instance.floating_ips)
VERBS = (SECURITY_GROUP, PORT, VOLUME, SERVER_GROUP, SERVER, FLOATING_IP)
every_verb = pytest.mark.parametrize("verb", VERBS, ids=str)


@every_verb
def test_said_twice_it_makes_one_and_names_the_same(instance: Instance, verb: Verb) -> None:
    create = verb.prepare(instance)
    assert verb.there(instance) == []
    made = create()
    assert create() == made
    assert verb.there(instance) == [made]


@every_verb
def test_after_a_lost_answer_the_retry_finds_what_was_made(target: TargetCloud, instance: Instance, verb: Verb) -> None:
    create = verb.prepare(instance)
    target.fault(method="POST", path=verb.path, lose=True)
    with pytest.raises(CloudFailed):
        create()
    there = verb.there(instance)
    assert len(there) == 1  # it did happen
    assert create() == there[0]
    assert verb.there(instance) == there


def test_after_the_lost_answer_to_a_rule_the_retry_adds_only_what_is_missing(
    target: TargetCloud, instance: Instance
) -> None:
    target.fault(method="POST", path="/security-group-rules$", lose=True)
    create = SECURITY_GROUP.prepare(instance)
    with pytest.raises(CloudFailed):
        create()
    create()
    assert instance.ingress_rules() == [("IPv4", "tcp", 5432, 5432, "0.0.0.0/0")]


@every_verb
def test_an_error_of_the_cloud_is_to_be_tried_again(target: TargetCloud, instance: Instance, verb: Verb) -> None:
    create = verb.prepare(instance)
    target.fault(method="POST", path=verb.path, status=500)
    with pytest.raises(CloudFailed, match="OpenStack answered 500") as failed:
        create()
    assert not failed.value.non_retryable
    assert verb.there(instance) == []
    made = create()
    assert verb.there(instance) == [made]


@pytest.mark.parametrize(
    ("verb", "method", "path"),
    [(VOLUME, "GET", "/volumes/detail$"), (SERVER_GROUP, "POST", "/os-server-groups$"), (PORT, "POST", "/ports$")],
    ids=["Cinder", "Nova", "Neutron"],
)
def test_a_request_that_takes_too_long_is_given_up_and_not_repeated(
    target: TargetCloud, instance: Instance, verb: Verb, method: str, path: str
) -> None:
    impatient = target.open(cloud_timeout=target.impatience)
    impatient.connections.get().authorize()
    create = verb.prepare(instance.through(impatient))
    target.fault(method=method, path=path, delay=target.impatience + 1, count=5)
    began = time.monotonic()
    with pytest.raises(CloudFailed):
        create()
    assert target.impatience - 0.1 < time.monotonic() - began
    assert target.faults_left() == [4]  # one of five was used: the request came once
    target.no_more_faults()
    time.sleep(target.impatience + 0.2)  # what was given up is done by now


@pytest.mark.parametrize("verb", [VOLUME, PORT], ids=str)
def test_what_takes_effect_after_its_retry_is_deleted_for_it_is_the_younger(
    target: TargetCloud, instance: Instance, verb: Verb
) -> None:
    impatient = target.open(cloud_timeout=target.impatience)
    impatient.connections.get().authorize()
    target.fault(method="POST", path=verb.path, delay=target.impatience + 1.2)
    with pytest.raises(CloudFailed):
        verb.prepare(instance.through(impatient))()
    create = verb.prepare(instance)
    kept = create()
    target.eventually_true(lambda: len(verb.there(instance)) == 2)
    assert create() == kept
    if verb is VOLUME:
        assert (
            target.eventually(
                lambda: instance.cloud.volumes.require_volume_available(instance.part(ResourceKind.VOLUME))
            )
            == kept
        )
    target.eventually_true(lambda: verb.there(instance) == [kept])


QUOTAS = [
    (SERVER, 403, {"forbidden": {"code": 403, "message":
        "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances"}}),
    (SERVER, 413, {"overLimit": {"code": 413, "message": "Quota exceeded for cores: Requested 4", "retryAfter": 0}}),
    (SERVER_GROUP, 403, {"forbidden": {"code": 403, "message": "Quota exceeded, too many server groups."}}),
    (VOLUME, 413, {"overLimit": {"code": 413, "retryAfter": 0, "message":
        "VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded for quota 'volumes'."}}),
    (PORT, 409, {"NeutronError": {"type": "OverQuota", "detail": "", "message":
        "Quota exceeded for resources: ['port']."}}),
    (SECURITY_GROUP, 409, {"NeutronError": {"type": "OverQuota", "detail": "", "message":
        "Quota exceeded for resources: ['security_group']."}}),
    (FLOATING_IP, 409, {"NeutronError": {"type": "OverQuota", "detail": "", "message":
        "Quota exceeded for resources: ['floatingip']."}}),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "status", "answer"), QUOTAS, ids=[f"{verb} {status}" for verb, status, _ in QUOTAS])
def test_a_used_up_quota_of_any_service_is_told_as_such(
    target: TargetCloud, instance: Instance, verb: Verb, status: int, answer: dict[str, dict[str, str]]
) -> None:
    create = verb.prepare(instance)
    target.fault(method="POST", path=verb.path, status=status, answer=answer)
    with pytest.raises(QuotaExceeded) as refused:
        create()
    said_by_the_cloud = next(iter(answer.values()))["message"].rstrip(".").removeprefix("VolumeLimitExceeded: ")
    assert refused.value.message.startswith("could not ")
    assert refused.value.message.endswith(f": the cloud's own quota is used up: {said_by_the_cloud}")
    assert verb.there(instance) == []


def test_the_quota_of_the_embedded_cloud_s_cinder_is_told_as_such(target: TargetCloud, instance: Instance) -> None:
    if target.stack is None:
        pytest.skip("a real OpenStack might have that much")
    with pytest.raises(QuotaExceeded, match="allowed gigabytes quota"):
        instance.cloud.volumes.create_volume(instance.new_volume(size_gib=100_000))
    assert instance.volumes() == []
