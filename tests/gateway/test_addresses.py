"""By which address connections are counted."""

import pytest

from gateway.link import names_of


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (("192.0.2.1", 5), ("ipv4:192.0.2.1:5", "192.0.2.1")),
        (("::ffff:192.0.2.1", 5), ("ipv4:192.0.2.1:5", "192.0.2.1")),
        (("2001:db8:0:1:2:3:4:5", 5), ("ipv6:[2001:db8:0:1:2:3:4:5]:5", "2001:db8:0:1::/64")),
        (("fe80::1%eth0", 5), ("ipv6:[fe80::1]:5", "fe80::/64")),
        (None, ("", "")),
    ],
)
def test_addresses_are_counted_as_they_are_given_out(peer: tuple[str, int] | None, expected: tuple[str, str]) -> None:
    assert names_of(peer) == expected
