"""What the watch says of a silent guest, and what a guest may say of itself."""

import pytest

from contract.domain.instance import OperatingStatus, ServerState
from contract.ports.guest import Health
from workflows.instance.watch import why_silent


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (ServerState(), "deleted in Nova"),
        (ServerState(volume_status="available"), "deleted in Nova"),
        (ServerState(status="SHUTOFF", volume_status="in-use"), "stopped in Nova"),
        (ServerState(status="PAUSED", volume_status="in-use"), "PAUSED in Nova"),
        (ServerState(status="ERROR", volume_status="in-use"), "ERROR in Nova"),
        (ServerState(status="ACTIVE"), "volume was deleted"),
        (ServerState(status="ACTIVE", volume_status="available"), "not attached"),
        (ServerState(status="ACTIVE", volume_status="in-use"), "the guest does not answer"),
    ],
)
def test_a_silent_guest_has_a_sentence(found: ServerState, words: str) -> None:
    assert words in why_silent(found)
    assert len(why_silent(found)) <= 300


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[31mb", "a\x00b", "a b", "a\u202eb", "a\x85b"])
def test_a_guest_s_reason_is_one_printable_line(text: str) -> None:
    said = Health(operating_status=OperatingStatus.FAILED, reason=text * 200).reason
    assert said is not None
    assert said.isprintable()
    assert len(said) == 300
