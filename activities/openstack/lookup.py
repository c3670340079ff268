"""Finding things by what a user has written, which never becomes a part of a path.

openstacksdk's `find_…` puts it into one as it is: `..` or `?all_tenants=1` would be another request of the service user's.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from openstack.connection import Connection

from contract.domain.errors import BadRequest
from contract.domain.fact import is_uuid

FAULT_LOOKS, FAULT_PAUSE = 5, 0.5  # seconds


def by_id_or_name(list_them: Callable[..., Iterable[Any]], wanted: str) -> Any:
    """Return the thing of this id, else of this name, or None; BadRequest for a name that several have.

    `list_them` lists things whose ids are UUIDs by a filter in the query, as `conn.network.networks(name=…)` does.
    """
    for key in ("id", "name") if is_uuid(wanted) else ("name",):
        found = [each for each in list_them(**{key: wanted}) if getattr(each, key) == wanted]
        if len(found) > 1:
            raise BadRequest(f"'{wanted}' is the name of several: use an id")
        if found:
            return found[0]
    return None


def fault_of(conn: Connection, server_id: str) -> str:
    """Why Nova gave up what it did with a server, which sometimes is told a moment later than the status.

    A server in ERROR tells it in its own record. One that is left as it was tells nothing there: then the newest of its
    actions does.
    """
    for _ in range(FAULT_LOOKS):
        server = conn.compute.get_server(server_id)
        if said := (server.fault or {}).get("message") or _failure_of_newest_action(conn, server_id):
            return str(said)
        time.sleep(FAULT_PAUSE)
    return "no reason given"


def _failure_of_newest_action(conn: Connection, server_id: str) -> str | None:
    newest = next(iter(conn.compute.server_actions(server_id)), None)
    if newest is None:
        return None
    events = conn.compute.get_server_action(newest.request_id, server_id).events or []
    return next((each["details"] for each in events if each.get("result") == "Error" and each.get("details")), None)
