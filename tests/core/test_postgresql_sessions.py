"""The administrator's sessions with PostgreSQL run no tenant's event trigger at their login, where a version has such."""

from pathlib import Path

import pytest

from guest_worker.datastores.postgresql.connecting import quiet


@pytest.mark.parametrize(
    ("versions", "settings"),
    [
        ((), {}),
        (("15",), {}),
        (("9", "16"), {}),
        (("17",), {"event_triggers": "off"}),
        (("15", "17"), {"event_triggers": "off"}),
        (("9", "18"), {"event_triggers": "off"}),
    ],
)
def test_event_triggers_are_off_from_17_on(tmp_path: Path, versions: tuple[str, ...], settings: dict[str, str]) -> None:
    for each in versions:
        (tmp_path / "usr/lib/postgresql" / each / "bin").mkdir(parents=True)
    assert quiet(str(tmp_path)) == settings
