"""A server on another image: its volume, port and id stay; once for each generation of its guest."""

import json
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from activities.openstack.images import GENERATION
from contract.domain.errors import BadRequest, CloudFailed, ResourceFailed
from contract.ports.images import ImageChoice, Reimage
from tests.contracts_cloud.target_cloud import Instance, TargetCloud, version

NOBODYS = "00000000-0000-4000-8000-000000000000"  # the same in each of xdist's processes


def reimage(instance: Instance, server: str, generation: int = 4) -> Reimage:
    """On the image that it is on, which is what an upgrade to the newest image of a version may come to."""
    offer = instance.order().offer
    return Reimage(instance_id=instance.id, server_id=server, image_id=offer.image_id, manager="postgresql",
                   datastore_version="15", generation=generation)  # fmt: skip


def test_it_keeps_its_id_volume_and_port(target: TargetCloud, instance: Instance) -> None:
    server, ports, volumes = instance.running_server(), instance.ports(), instance.volumes()
    order, images = reimage(instance, server), instance.cloud.images
    target.eventually(partial(images.rebuild_server, order))
    target.eventually(partial(images.require_server_rebuilt, order))
    assert (instance.servers(), instance.ports(), instance.volumes()) == ([server], ports, volumes)
    found = instance.conn.compute.get_server(server)
    assert found.metadata[GENERATION] == "4"
    assert found.metadata["coffer_instance"] == str(instance.id)
    assert [each.volume_id for each in instance.conn.compute.volume_attachments(server)] == volumes
    assert target.eventually(partial(images.get_image_of, server)) == order.image_id


def asked(instance: Instance, order: Reimage, times: int) -> list[dict[str, Any]]:
    """The rebuilds that Nova was sent."""
    cloud, sent = instance.target.open(), []
    connection = cloud.connections.get()
    connection.authorize()
    connection.session.session.hooks["response"].append(lambda answer, **_: sent.append(answer.request))
    for _ in range(times):
        instance.target.eventually(partial(cloud.images.rebuild_server, order))
    bodies = [json.loads(each.body) for each in sent if each.method == "POST" and each.url.endswith("/action")]
    return [each["rebuild"] for each in bodies if "rebuild" in each]


def test_it_is_asked_for_once_in_a_generation_with_the_guest_s_boot_file(
    target: TargetCloud, instance: Instance
) -> None:
    order = reimage(instance, instance.running_server())
    (first,) = asked(instance, order, 3)
    assert first["user_data"]
    target.eventually(partial(instance.cloud.images.require_server_rebuilt, order))
    assert asked(instance, order, 1) == []
    (second,) = asked(instance, reimage(instance, order.server_id, 5), 1)
    assert second["user_data"] != first["user_data"]  # another ticket


def test_an_answer_that_is_lost_is_no_second_rebuild(target: TargetCloud, instance: Instance) -> None:
    order = reimage(instance, instance.running_server())
    target.fault(method="POST", path=f"{order.server_id}/action", body="rebuild", lose=True)
    with pytest.raises(CloudFailed):
        instance.cloud.images.rebuild_server(order)
    assert asked(instance, order, 1) == []
    target.eventually(partial(instance.cloud.images.require_server_rebuilt, order))


def test_what_nova_cannot_rebuild_is_told_and_can_be_asked_again(target: TargetCloud, instance: Instance) -> None:
    order, images = reimage(instance, instance.running_server()), instance.cloud.images
    target.fault(server=instance.name)
    target.eventually(partial(images.rebuild_server, order))
    with pytest.raises(ResourceFailed, match="could not rebuild the server: No valid host"):
        target.eventually(partial(images.require_server_rebuilt, order))
    again = order.model_copy(update={"generation": 5})
    target.eventually(partial(images.rebuild_server, again))
    target.eventually(partial(images.require_server_rebuilt, again))


def test_an_image_by_id_by_name_or_the_version_s_own(target: TargetCloud, instance: Instance) -> None:
    own, offer = version(image=target.image), instance.order().offer
    for wanted in (None, target.image, offer.image_id):
        assert instance.cloud.images.choose_image(ImageChoice(version=own, image=wanted)) == offer.image_id


@pytest.mark.parametrize("image", ["no-such-image", NOBODYS, "../images", "?limit=1"])
def test_an_unknown_image_is_refused(target: TargetCloud, instance: Instance, image: str) -> None:
    with pytest.raises(BadRequest, match="cannot be found"):
        instance.cloud.images.choose_image(ImageChoice(version=version(image=target.image), image=image))


def test_an_image_of_another_datastore_is_refused(target: TargetCloud, instance: Instance) -> None:
    elsewhere = version(image=str(uuid4()))
    with pytest.raises(BadRequest, match="is not for postgresql 15"):
        instance.cloud.images.choose_image(ImageChoice(version=elsewhere, image=target.image))
