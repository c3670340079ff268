"""What OpenStack's answers mean that test_openstack_refusals.py has not recorded, its silences, and every verb that asks it."""

import json
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import pytest
import requests
from keystoneauth1 import exceptions as transport
from openstack import exceptions as said

from activities.openstack.connection import Connections
from activities.openstack.errors import translated
from activities.openstack.leftovers import Leftover, Leftovers
from activities.openstack.networks import NeutronNetworks
from activities.openstack.objects import ContainerKeys, SwiftContainers
from activities.openstack.offers import CheckedOffers
from activities.openstack.servers import NovaServers
from activities.openstack.volumes import CinderVolumes
from contract.domain.errors import BadRequest, CloudFailed, Failed, QuotaExceeded
from contract.ports.cloud import Networks, Offers, Servers
from contract.ports.registration import verbs
from contract.ports.volumes import Volumes

FINAL, AGAIN, QUOTA = BadRequest, CloudFailed, QuotaExceeded
NOVA_500 = (
    "Unexpected API Error. Please report this at http://bugs.launchpad.net/nova/ and attach the Nova API log if possible.\n"
    "<class 'oslo_db.exception.DBConnectionError'>"
)


def nova(status: int, kind: str, message: str) -> tuple[int, str, str]:
    """A fault of Nova's or Cinder's."""
    return status, "application/json", json.dumps({kind: {"code": status, "message": message}})


def neutron(status: int, kind: str, message: str) -> tuple[int, str, str]:
    """A fault of Neutron's."""
    return status, "application/json", json.dumps({"NeutronError": {"type": kind, "message": message, "detail": ""}})


def html(status: int, text: str) -> tuple[int, str, str]:
    """A fault of Glance's, or of a proxy's."""
    return status, "text/html; charset=UTF-8", f"<html>\n <head>\n  <title>{text}</title>\n </head>\n</html>"


ANSWERS: dict[str, tuple[type[Failed], tuple[int, str, str], str]] = {
    "Nova: no valid host for a resize": (
        FINAL, nova(400, "badRequest", "No valid host was found. No valid host found for resize"), "No valid host"),
    "Nova: disk too small": (
        FINAL, nova(400, "badRequest", "Flavor's disk is too small for requested image. Flavor disk is 1"), "too small"),
    "Nova: state": (
        AGAIN, nova(409, "conflictingRequest", "Cannot 'resize' instance 1 while it is in task_state powering-off"),
        "task_state"),
    "Nova: unified limits": (
        QUOTA, nova(403, "forbidden", "Project 1 is over a limit for [Resource servers is over limit of 10]"), "limit"),
    "Nova: an error": (AGAIN, nova(500, "computeFault", NOVA_500), "OpenStack answered 500"),
    "Cinder: volumes": (
        QUOTA, nova(413, "overLimit", "VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded for quota"
                    " 'volumes'."), "volumes allowed"),
    "Cinder: no room": (AGAIN, nova(503, "serviceUnavailable", "No weighed backends available"), "503"),
    "Neutron: address in use": (FINAL, neutron(409, "IpAddressInUse", "The IP address 10.0.0.5 is in use."), "10.0.0.5"),
    "Neutron: public network full": (
        FINAL, neutron(400, "ExternalIpAddressExhausted", "Unable to find any IP address on external network 1."),
        "external network"),
    "Neutron: policy": (
        FINAL, neutron(403, "PolicyNotAuthorized", "(rule:create_port and rule:create_port:fixed_ips) is disallowed"),
        "disallowed"),
    "a proxy: service restarts": (AGAIN, html(503, "503 Service Unavailable"), "503"),
    "a proxy: no such place": (AGAIN, html(404, "404 Not Found"), "404"),
    "a proxy: too slow": (AGAIN, html(504, "504 Gateway Time-out"), "504"),
    "a proxy: bad gateway without a body": (AGAIN, (502, "", ""), "502"),
    "a proxy: too many requests": (AGAIN, html(429, "429 Too Many Requests"), "429"),
    "an old limit of the rate": (
        AGAIN, nova(413, "overLimit", "This request was rate-limited. Only 10 POST requests over the limit"), "413"),
}  # fmt: skip


def answered(status: int, content_type: str, body: str) -> said.HttpException:
    """The SDK's exception for an answer."""
    response = requests.Response()
    response.status_code = status
    response._content = body.encode()
    response.headers["content-type"] = content_type
    response.request = requests.Request("POST", "http://nova.internal:8774/v2.1/servers").prepare()
    with pytest.raises(said.HttpException) as raised:
        said.raise_from_response(response)
    return raised.value


@pytest.mark.parametrize("what", ANSWERS)
def test_each_answer_has_its_class_and_a_sentence(what: str) -> None:
    expected, answer, words = ANSWERS[what]
    with pytest.raises(Failed) as failed, translated("build the server"):
        raise answered(*answer)
    assert type(failed.value) is expected
    assert failed.value.non_retryable is (expected is not AGAIN)
    text = failed.value.message
    assert text.startswith("could not build the server: ")
    assert words in text
    assert not any(each in text for each in ("://", "nova.internal", "\n", "<", "oslo_db"))


SILENCES: dict[str, tuple[Exception, str]] = {
    "no connection": (transport.ConnectFailure("Unable to establish connection to http://10.1.1.1:8774"), "cannot be reached"),
    "reset": (transport.UnknownConnectionError("http://10.1.1.1", OSError()), "cannot be reached"),
    "too late": (transport.ConnectTimeout("Request to http://10.1.1.1:8774 timed out"), "did not answer in time"),
    "certificate": (transport.SSLError("http://10.1.1.1"), "certificate is not trusted"),
    "password": (transport.Unauthorized("http://10.1.1.1: 401"), "identity service answered 401"),
    "identity away": (transport.ServiceUnavailable("http://10.1.1.1"), "identity service answered 503"),
    "no service": (transport.EndpointNotFound("internal endpoint for compute"), "catalogue has no endpoint"),
    "no version": (transport.DiscoveryFailure("http://10.1.1.1"), "not understood"),
    "nonsense": (said.InvalidResourceQuery("nonsense"), "not understood"),
}  # fmt: skip


@pytest.mark.parametrize("what", SILENCES)
def test_no_answer_is_asked_again_and_told_in_words(what: str) -> None:
    error, words = SILENCES[what]
    with pytest.raises(CloudFailed) as failed, translated("build the server"):
        raise error
    assert not failed.value.non_retryable
    assert failed.value.message.startswith("could not build the server: OpenStack")
    assert words in failed.value.message
    assert "10.1.1.1" not in failed.value.message


class Failing:
    """A connection of which every call fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return "a-project" if name == "current_project_id" else self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise self._error


class FailingConnections(Connections):
    """Opens it."""

    def __init__(self, error: Exception) -> None:
        self._failing = Failing(error)

    def get(self) -> Any:
        """Return it."""
        return self._failing


def every_verb(connections: Connections) -> dict[str, Callable[[], Any]]:
    """All that is asked of OpenStack, ready to be called."""
    order = MagicMock()
    order.parts.return_value = [MagicMock()]
    found = [
        *verbs(Offers, CheckedOffers(connections, "net")),
        *verbs(Networks, NeutronNetworks(connections, "public")),
        *verbs(Volumes, CinderVolumes(connections)),
        *verbs(Servers, NovaServers(connections, MagicMock())),
    ]
    leftovers, containers = Leftovers(connections), SwiftContainers(connections)
    named: dict[str, Callable[[], Any]] = {each.__name__: (lambda each=each: each(order)) for each in found}  # type: ignore[misc]
    return named | {
        "list_tagged": leftovers.list_tagged,
        "delete_leftover": lambda: leftovers.delete_leftover(Leftover("port", "1", "2")),
        "list_flavors": leftovers.list_flavors,
        "list_volume_types": leftovers.list_volume_types,
        "endpoint": containers.endpoint,
        "find_keys": lambda: containers.find_keys("c"),
        "put_keys": lambda: containers.put_keys("c", ContainerKeys("a", "b")),
    }


@pytest.mark.parametrize("verb", every_verb(FailingConnections(Exception())))
def test_every_verb_says_what_it_could_not_do(verb: str) -> None:
    for error in (transport.ConnectFailure("http://10.1.1.1"), answered(*nova(500, "computeFault", NOVA_500))):
        with pytest.raises(CloudFailed, match=r"could not .*: OpenStack (cannot be reached|answered 500)$"):
            every_verb(FailingConnections(error))[verb]()
