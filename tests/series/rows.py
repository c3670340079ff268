"""Rows in any engine's words: a table that is read to tell whether all of it is there."""

import hashlib
from typing import Any

from tests.contracts.engines import DIALECTS

SIDE = 140
MAKE = f"""
CREATE TABLE kept AS WITH RECURSIVE side (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM side WHERE number < {SIDE})
SELECT a.number * 1000 + b.number AS number, md5(CAST(a.number * 1000 + b.number AS CHAR(9))) AS hash FROM side a, side b
"""


def make_rows(manager: str, connection: Any) -> None:
    """Make the table."""
    DIALECTS[manager].ask(connection, MAKE)


def digest_of_rows(manager: str, connection: Any) -> str:
    """Of all rows, as a tenant reads them."""
    rows = DIALECTS[manager].ask(connection, "SELECT number, hash FROM kept ORDER BY number")
    assert len(rows) == SIDE**2
    return hashlib.sha256(repr(rows).encode()).hexdigest()
