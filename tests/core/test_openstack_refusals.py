"""What each refusal of the real services means: whether to try again, and the sentence that the tenant reads.

`python -m tests.openstack.refusals` has recorded the answers, of Debian's OpenStack (Zed).
"""

import json
from pathlib import Path

import pytest

from activities.openstack.errors import translated
from contract.domain.errors import BadRequest, CloudFailed, Failed, QuotaExceeded
from tests.core.test_openstack_errors import answered

RECORDED = json.loads(Path(__file__).with_name("openstack_refusals.json").read_text())
FINAL, AGAIN, QUOTA = BadRequest, CloudFailed, QuotaExceeded
MEANINGS: dict[str, tuple[type[Failed], str]] = {
    "Cinder: delete what is attached": (FINAL, "Invalid volume: Volume status must be available or error or"),
    "Cinder: delete what is gone": (FINAL, "Volume id-1 could not be found"),
    "Cinder: description too long": (FINAL, "Invalid input received: description has 300 characters, more than 255"),
    "Cinder: grow what is gone": (FINAL, "Volume id-1 could not be found"),
    "Cinder: image gone": (FINAL, "Invalid image identifier or unable to access requested image"),
    "Cinder: make it smaller": (FINAL, "Invalid input received: New size for extend must be greater than current size."),
    "Cinder: name too long": (FINAL, "Invalid input received: name has 300 characters, more than 255"),
    "Cinder: policy": (FINAL, "Policy doesn't allow volume_extension:volume_admin_actions:reset_status to be performed"),
    "Cinder: quota of a volume's size": (FINAL, "Requested volume size 6G is larger than maximum allowed limit 5G"),
    "Cinder: quota of a volume's size when it grows": (FINAL, "Requested volume size 6G is larger than maximum allowed"),
    "Cinder: quota of gigabytes": (QUOTA, "Requested volume or snapshot exceeds allowed gigabytes quota. Requested 1G,"),
    "Cinder: quota of snapshots": (QUOTA, "Requested volume or snapshot exceeds allowed gigabytes quota. Requested 1G,"),
    "Cinder: quota of volumes": (QUOTA, "Requested volume or snapshot exceeds allowed gigabytes quota. Requested 1G,"),
    "Cinder: size of nothing": (FINAL, "Invalid input for field/attribute size. Value: 0. 0 is less than the minimum"),
    "Cinder: snapshot gone": (FINAL, "Snapshot id-1 could not be found"),
    "Cinder: snapshot of what is attached": (FINAL, "Invalid volume: Volume id-1 status must be available, but current"),
    "Cinder: snapshot of what is gone": (FINAL, "Volume id-1 could not be found"),
    "Cinder: token": (AGAIN, "The request you have made requires authentication"),
    "Cinder: type gone": (FINAL, "Volume type with name nowhere could not be found"),
    "Cinder: version": (FINAL, "Version 3.999 is not supported by the API. Minimum is 3.0 and maximum is 3.70"),
    "Cinder: volume gone": (FINAL, "Volume id-1 could not be found"),
    "Cinder: zone": (FINAL, "Availability zone 'nowhere' is invalid"),
    "Glance: data of an image that is gone": (FINAL, "No image found with ID id-1"),
    "Glance: delete what is gone": (FINAL, "Failed to find image id-1 to delete"),
    "Glance: filter": (FINAL, "Invalid sort key: nothing. It must be one of the following: name, status,"),
    "Glance: format": (FINAL, "Provided object does not match schema 'image': 'floppy' is not one of [None, 'ami',"),
    "Glance: image gone": (FINAL, "No image found with ID id-1"),
    "Glance: marker": (FINAL, "No image found with ID id-1"),
    "Glance: name too long": (FINAL, "Provided object does not match schema 'image': 'xxx' is too long: Failed"),
    "Glance: policy": (FINAL, "You do not own this image"),
    "Glance: token": (AGAIN, "This server could not verify that you are authorized to access the document you"),
    "Keystone: name taken": (AGAIN, "Conflict occurred attempting to store project - it is not permitted to have two"),
    "Keystone: name too long": (FINAL, "Invalid input for field 'name': 'xxx' is too long Failed validating"),
    "Keystone: project gone": (FINAL, "Could not find project: id-1"),
    "Keystone: token": (AGAIN, "The request you have made requires authentication"),
    "Keystone: user gone": (AGAIN, "The request you have made requires authentication"),
    "Keystone: user not found": (FINAL, "Could not find user: id-1"),
    "Keystone: wrong password": (AGAIN, "The request you have made requires authentication"),
    "Neutron: address of another subnet": (FINAL, "IP address 192.0.2.1 is not a valid IP for the specified subnet"),
    "Neutron: address taken": (FINAL, "IP address 10.99.0.6 already allocated in subnet id-1"),
    "Neutron: description too long": (FINAL, "Invalid input for description. Reason: 'xxx' exceeds maximum length of"),
    "Neutron: group gone": (FINAL, "Security group id-1 does not exist"),
    "Neutron: group in use": (AGAIN, "Security Group id-1 in use"),
    "Neutron: hardware address taken": (FINAL, "Unable to complete operation for network id-1. The mac address"),
    "Neutron: name too long": (FINAL, "Invalid input for name. Reason: 'xxx' exceeds maximum length of 255"),
    "Neutron: network full": (FINAL, "No more IP addresses available on network id-1"),
    "Neutron: network gone": (FINAL, "Network id-1 could not be found"),
    "Neutron: network in use": (AGAIN, "Unable to complete operation on network id-1. There are one or more ports"),
    "Neutron: no address": (FINAL, "Invalid input for fixed_ips. Reason: 'nonsense' is not a valid IP address"),
    "Neutron: policy": (FINAL, "(rule:update_network and rule:update_network:shared) is disallowed by policy"),
    "Neutron: port gone": (FINAL, "Port id-1 could not be found"),
    "Neutron: public address of a port that is gone": (FINAL, "Port id-1 could not be found"),
    "Neutron: public address of an inner network": (FINAL, "Bad floatingip request: Network id-1 is not a valid"),
    "Neutron: public address without a router": (FINAL, "External network id-1 is not reachable from subnet id-2."),
    "Neutron: public network gone": (FINAL, "Network id-1 could not be found"),
    "Neutron: quota of ports": (QUOTA, "Quota exceeded for resources: ['port']"),
    "Neutron: quota of public addresses": (QUOTA, "Quota exceeded for resources: ['floatingip']"),
    "Neutron: quota of rules": (QUOTA, "Quota exceeded for resources: ['security_group_rule']"),
    "Neutron: quota of security groups": (QUOTA, "Quota exceeded for resources: ['security_group']"),
    "Neutron: rule there": (AGAIN, "Security group rule already exists. Rule id is id-1"),
    "Neutron: rule's group gone": (FINAL, "Security group id-1 does not exist"),
    "Neutron: rule's port too high": (FINAL, "Invalid value for port 99999"),
    "Neutron: rule's ports": (FINAL, "For TCP/UDP protocols, port_range_min must be <= port_range_max"),
    "Neutron: rule's range is no network": (FINAL, "Invalid CIDR nonsense given as IP prefix"),
    "Neutron: rule's range of the other kind": (FINAL, "Conflicting value ethertype IPv4 for CIDR 2001:db8::/64"),
    "Neutron: security group gone": (FINAL, "Security group id-1 does not exist"),
    "Neutron: subnet gone": (FINAL, "Subnet id-1 could not be found"),
    "Neutron: subnet in use": (AGAIN, "Unable to complete operation on subnet id-1: One or more ports have an IP"),
    "Neutron: token": (AGAIN, "The request you have made requires authentication"),
    "Neutron: what others have": (FINAL, "rule:delete_network is disallowed by policy"),
    "Nova: attach what is attached": (FINAL, "Invalid volume: volume id-1 is already attached to instances: id-2"),
    "Nova: attach what is gone": (FINAL, "Volume id-1 could not be found"),
    "Nova: confirm without a resize": (AGAIN, "Cannot 'confirmResize' instance id-1 while it is in vm_state active"),
    "Nova: delete what is gone": (FINAL, "Instance id-1 could not be found"),
    "Nova: detach what is not attached": (FINAL, "Volume id-1 could not be found"),
    "Nova: disk too small": (FINAL, "Flavor's disk is smaller than the minimum size specified in image metadata."),
    "Nova: flavor gone": (FINAL, "Flavor id-1 could not be found"),
    "Nova: image gone": (FINAL, "Can not find requested image"),
    "Nova: image without data": (FINAL, "Image id-1 is not active"),
    "Nova: migrate to a host that is gone": (FINAL, "Compute host nowhere could not be found"),
    "Nova: name too long": (FINAL, "Invalid input for field/attribute name. Value: xxx. 'xxx' is too long"),
    "Nova: network gone": (FINAL, "Network id-1 could not be found"),
    "Nova: policy": (FINAL, "Policy doesn't allow os_compute_api:os-admin-actions:reset_state to be performed"),
    "Nova: port gone": (FINAL, "Port id id-1 could not be found"),
    "Nova: port in use": (AGAIN, "Port id-1 is still in use"),
    "Nova: quota of metadata": (QUOTA, "Maximum number of metadata items exceeds 1"),
    "Nova: quota of server groups": (QUOTA, "Quota exceeded, too many server groups"),
    "Nova: quota of servers": (QUOTA, "Quota exceeded for cores, instances, ram: Requested 1, 1, 512, but already used"),
    "Nova: quota on a resize": (QUOTA, "Quota exceeded for ram: Requested 512, but already used 512 of 1 ram"),
    "Nova: rebuild on an image that is gone": (FINAL, "Cannot find image for rebuild"),
    "Nova: rebuild on an image that wants a larger disk": (FINAL, "Flavor's disk is smaller than the minimum size"),
    "Nova: rebuild on an image without data": (FINAL, "Image id-1 is not active"),
    "Nova: resize to a flavor that is gone": (FINAL, "Flavor id-1 could not be found"),
    "Nova: resize to a smaller disk": (FINAL, "Flavor's disk is smaller than the minimum size specified in image"),
    "Nova: resize to the flavor that it has": (FINAL, "When resizing, instances must change flavor!"),
    "Nova: revert without a resize": (AGAIN, "Cannot 'revertResize' instance id-1 while it is in vm_state active"),
    "Nova: server gone": (FINAL, "Instance id-1 could not be found"),
    "Nova: server group gone": (FINAL, "Instance group id-1 could not be found"),
    "Nova: server group policy": (FINAL, "Invalid input for field/attribute policy. Value: together. 'together' is not"),
    "Nova: start what runs": (AGAIN, "Cannot 'start' instance id-1 while it is in vm_state active"),
    "Nova: token": (AGAIN, "The request you have made requires authentication"),
    "Nova: user data too long": (FINAL, "Invalid input for field/attribute user_data. Value: eA==. 'eA==' is too long"),
    "Nova: version": (FINAL, "Version 2.999 is not supported by the API. Minimum is 2.1 and maximum is 2.93"),
    "Nova: volume gone": (FINAL, "Volume id-1 could not be found"),
    "Nova: volume in use": (FINAL, "Invalid volume: Invalid input received: Invalid volume: Volume id-1 status must be"),
    "Nova: zone": (FINAL, "The requested availability zone is not available"),
}  # fmt: skip


def test_every_recorded_answer_has_a_meaning() -> None:
    assert set(RECORDED) == set(MEANINGS)


@pytest.mark.parametrize("what", MEANINGS)
def test_a_refusal_has_its_class_and_a_sentence(what: str) -> None:
    (expected, words), answer = MEANINGS[what], RECORDED[what]
    with pytest.raises(Failed) as failed, translated("build the server"):
        raise answered(answer["status"], answer["content_type"], answer["body"])
    assert type(failed.value) is expected
    assert failed.value.non_retryable is (expected is not AGAIN)
    before = {FINAL: "", AGAIN: f"OpenStack answered {answer['status']}: ", QUOTA: "the cloud's own quota is used up: "}
    assert failed.value.message.startswith(f"could not build the server: {before[expected]}{words}")
    assert not any(each in failed.value.message for each in ("://", "\n", "<br", "&#", "(HTTP", "Request-ID"))
