"""Names of resources: derived from instance, role and generation, and read back by the sweep."""

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activities.openstack.connection import instance_of, name_of_part
from contract.domain.resources import Belongings, Part, ResourceKind

PARTS = st.builds(
    Part,
    instance_id=st.uuids(),
    kind=st.sampled_from(list(ResourceKind)),
    role=st.sampled_from(["main", "copy", "old"]),
    generation=st.integers(1, 40),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(one=PARTS, other=PARTS)
def test_names_tell_the_instance_and_no_two_parts_share_one(one: Part, other: Part) -> None:
    assert instance_of(name_of_part(one)) == str(one.instance_id)
    other = other.model_copy(update={"instance_id": one.instance_id, "kind": one.kind})
    assert (name_of_part(one) == name_of_part(other)) == (one == other)


@pytest.mark.parametrize("name", ["", "web", "coffer", "my-coffer-1", "Coffer-x"])
def test_names_of_others_tell_none(name: str) -> None:
    assert instance_of(name) is None


def test_without_any_record_the_first_of_a_kind_is_meant() -> None:
    instance = uuid4()
    assert Belongings(instance_id=instance).parts(ResourceKind.VOLUME) == (
        Part(instance_id=instance, kind=ResourceKind.VOLUME),
    )
