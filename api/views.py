"""The records' rows in Trove's JSON."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from api.context import RequestContext
from records.views import DatastoreView, FlavorView, GuestView, InstanceView, OperationView, VersionView

GIB = 2**30
View = dict[str, Any]
Item = TypeVar("Item")
Key = TypeVar("Key", str, tuple[str, str])


def moment(when: datetime | None) -> str | None:
    """A time as Trove writes it: UTC, without fraction or zone."""
    return when.strftime("%Y-%m-%dT%H:%M:%S") if when else None


def links(context: RequestContext, collection: str, name: object) -> list[View]:
    """`self` and `bookmark` of a resource."""
    return [
        {"rel": "self", "href": f"{context.base}/v1.0/{context.project_id}/{collection}/{name}"},
        {"rel": "bookmark", "href": f"{context.base}/{collection}/{name}"},
    ]


def paged(context: RequestContext, path: str, name: str, items: Sequence[Any], query: str | None) -> View:
    """A page, with links to the next one where there is one: under both names that clients look for."""
    body: View = {name: list(items)}
    if query is not None:
        following = [{"rel": "next", "href": f"{context.base}/v1.0/{context.project_id}/{path}?{query}"}]
        body |= {"links": following, f"{name}_links": following}
    return body


def cut(items: Iterable[Item], key: Callable[[Item], Key], limit: int, after: Key | None) -> tuple[list[Item], bool]:
    """A page in the order of the keys, of what comes after one of them; and whether there is more."""
    rest = sorted((each for each in items if after is None or key(each) > after), key=key)
    return rest[:limit], len(rest) > limit


def instance(context: RequestContext, row: InstanceView) -> View:
    """An instance in a list."""
    addresses = [{key: value for key, value in each.items() if value is not None} for each in row.addresses]
    view: View = {
        "id": str(row.id),
        "name": row.name,
        "status": _status(row),
        "operating_status": row.operating_status,
        "links": links(context, "instances", row.id),
        "flavor": {"id": row.flavor_id, "links": links(context, "flavors", row.flavor_id)},
        "datastore": {"type": row.datastore, "version": row.datastore_version},
        "region": row.region,
        "access": {
            "is_public": bool(row.access.get("is_public")),
            "allowed_cidrs": row.access.get("allowed_cidrs", []),
        },
        "volume": {"size": row.volume_gib},
    }
    if addresses:
        view |= {"ip": [each["address"] for each in addresses], "addresses": addresses}
    if context.is_admin:
        view["tenant_id"] = row.project_id
    return view


def instance_detail(context: RequestContext, row: InstanceView) -> View:
    """An instance alone."""
    view = instance(context, row)
    view |= {
        "created": moment(row.created),
        "updated": moment(row.updated),
        "service_status_updated": moment(row.service_status_updated or row.created),
        "operating_status": row.operating_status,
        "operating_status_reason": row.operating_status_reason,
    }
    view["datastore"]["version_number"] = row.datastore_version_number
    if row.volume_type:
        view["volume"]["type"] = row.volume_type
    if row.volume_used_bytes is not None:
        view["volume"]["used"] = round(row.volume_used_bytes / GIB, 2)
        total = row.volume_total_bytes or row.volume_gib * GIB
        view["volume"]["used_percent"] = round(100 * row.volume_used_bytes / total, 2)
    if row.locality:
        view["locality"] = row.locality
    if row.configuration_id:
        group = links(context, "configurations", row.configuration_id)
        view["configuration"] = {"id": str(row.configuration_id), "name": row.configuration_name, "links": group}
    if row.fault_message and _is_faulty(row):
        details = row.fault_details if context.is_admin else None
        view["fault"] = {"message": row.fault_message, "created": moment(row.fault_created), "details": details}
    if context.is_admin:
        view |= {"server_id": row.server_id, "volume_id": row.volume_id}
    return view


def _status(row: InstanceView) -> str:
    """An instance that serves, and has not all of its settings yet, says so."""
    return "RESTART_REQUIRED" if row.status == "ACTIVE" and row.restart_required else row.status


def _is_faulty(row: InstanceView) -> bool:
    """Whether what the last operation failed of is still to be seen."""
    return row.status in ("ERROR", "SHUTDOWN") or (row.status == "ACTIVE" and row.operating_status != "HEALTHY")


def mgmt_instance(context: RequestContext, row: InstanceView) -> View:
    """An instance as an administrator sees it."""
    view = instance_detail(context, row)
    view |= {
        "server": {"id": row.server_id, "name": f"coffer-{row.id}"} if row.server_id else None,
        "service_status": row.operating_status,
        "tenant_id": row.project_id,
        "deleted": row.deleted,
        "deleted_at": moment(row.deleted_at),
        "task_description": view["status"],
    }
    return view


def guest(row: GuestView) -> View:
    """What an instance's guest is known by: a second enrolment with its user data is reported here."""
    return {
        "generation": row.generation,
        "enrolled": moment(row.enrolled),
        "revoked": moment(row.revoked),
        "refused_enrolments": row.doubles,
        "last_refused_enrolment": moment(row.last_double),
        "last_refused_enrolment_from": row.last_double_from,
    }


def version(context: RequestContext, row: VersionView) -> View:
    """A datastore version; more of it for administrators."""
    view: View = {
        "id": str(row.id),
        "name": row.name,
        "version": row.number,
        "links": links(context, "datastores/versions", row.id),
        "datastore": str(row.datastore_id),
    }
    if context.is_admin:
        view |= {
            "active": row.active,
            "packages": ",".join(row.packages),
            "image": row.image,
            "image_tags": row.image_tags,
            "registry_ext": "",
            "repl_strategy": "",
        }
    return view


def datastore(context: RequestContext, row: DatastoreView) -> View:
    """A datastore with its versions."""
    view: View = {
        "id": str(row.id),
        "name": row.name,
        "links": links(context, "datastores", row.id),
        "versions": [version(context, each) for each in row.versions],
    }
    if row.default_version_id:
        view["default_version"] = str(row.default_version_id)
    return view


def mgmt_version(row: VersionView, default: UUID | None) -> View:
    """A datastore version in the management list."""
    return {
        "id": str(row.id),
        "name": row.name,
        "version": row.number,
        "datastore_id": str(row.datastore_id),
        "datastore_name": row.datastore,
        "datastore_manager": row.manager,
        "image": row.image,
        "image_tags": row.image_tags or [""],
        "packages": row.packages or [""],
        "active": row.active,
        "registry_ext": "",
        "repl_strategy": "",
        "default": row.id == default,
    }


def flavor(context: RequestContext, row: FlavorView) -> View:
    """A flavor; its id is a number where it looks like one, as in Trove."""
    number = int(row.id) if row.id.isascii() and row.id.isdigit() and (row.id == "0" or row.id[0] != "0") else None
    return {
        "id": number,
        "str_id": row.id,
        "links": links(context, "flavors", row.id),
        "name": row.name,
        "ram": row.ram_mib,
        "vcpus": row.vcpus,
        "disk": row.disk_gib,
        "ephemeral": row.ephemeral_gib,
    }


def operation(context: RequestContext, row: OperationView) -> View:
    """An operation with its steps (beyond Trove)."""
    return {
        "id": str(row.id),
        "kind": row.kind,
        "instance_id": str(row.instance_id),
        "state": row.state,
        "reason": row.reason,
        "request_id": row.request_id,
        "user_id": row.user_id,
        "created": moment(row.created),
        "finished": moment(row.finished),
        "steps": [
            {
                "name": each.name,
                "outcome": each.outcome,
                "started": moment(each.started),
                "finished": moment(each.finished),
            }
            for each in row.steps
        ],
        "links": links(context, f"instances/{row.instance_id}/operations", row.id),
    }
