"""The log format: whatever a stranger writes, a line that begins with a time is ours."""

import io
import logging
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.logs import CONTINUED, LineFormatter

FORGED = "2026-11-26 13:00:00,000 WARNING records.guests SECURITY a second enrolment for instance 4b876cfa"
OURS = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ [\w.]+ ")


def logged(message: str, *values: object, error: BaseException | None = None) -> list[str]:
    """The lines that a file would hold, as `grep` and a terminal would split them."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    logger = logging.Logger("api")
    logger.addHandler(handler)
    if error is None:
        logger.warning(message, *values)
    else:
        try:
            raise error
        except type(error):
            logger.warning(message, *values, exc_info=sys.exc_info())
    return stream.getvalue().removesuffix("\n").split("\n")


@pytest.mark.parametrize(
    "separator",
    ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\x00", "\x1b[2K\x1b[1A",
     "\x9b2K", "\u202e", "\u2066", "\ud800", "\x7f\x08"],
)  # fmt: skip
def test_no_separator_begins_a_line_of_a_stranger(separator: str) -> None:
    for lines in (
        logged("GET %s", f"/x{separator}{FORGED}"),
        logged("failed", error=ValueError(f"network 'n{separator}{FORGED}' cannot be found")),
    ):
        assert [line for line in lines if OURS.match(line)] == lines[:1]
        assert all(line.startswith(CONTINUED) for line in lines[1:])
        assert all(line.isprintable() for line in lines)


@given(st.text(alphabet=st.characters()))
def test_any_text_stays_in_its_line(text: str) -> None:
    lines = logged("%s", text, error=ValueError(text))
    assert all(line.isprintable() and len(line.splitlines()) == 1 for line in lines)
    assert [line for line in lines if not line.startswith(CONTINUED)] == lines[:1]


@given(st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P", "S"])))
def test_what_prints_is_left_as_it_is(text: str) -> None:
    assert logged("%s", text)[0].endswith(f"WARNING api {text}")
