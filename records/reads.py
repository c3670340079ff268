"""Reading the records: one query an answer, paged by the database."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Row, Select, and_, func, literal, null, select
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.domain.datastores.parameters import Parameters, parameters_of
from contract.domain.resources import ResourceKind
from contract.domain.tls import TlsChange
from records import quotas
from records.engine import bounded
from records.parameters import narrowed, rules_of
from records.resources import current
from records.tables import (
    configurations,
    datastore_versions,
    datastores,
    flavors,
    guest_identities,
    instances,
    operation_members,
    operation_steps,
    operations,
    root_changes,
    volume_types,
    waiting,
)
from records.views import (
    ConfigurationView,
    DatastoreView,
    FlavorView,
    GuestView,
    InstanceView,
    OperationView,
    Page,
    QuotaView,
    RootView,
    StepView,
    VersionView,
    VolumeTypeView,
)

SECONDS = 4.0  # that the records have for an answer
View = TypeVar("View")
_i, _v, _d, _c = instances.c, datastore_versions.c, datastores.c, configurations.c
_INSTANCE = select(
    _i.id, _i.group_id, _i.project_id, _i.name, _i.status, _i.operating_status,
    _d.name.label("datastore"), _v.name.label("datastore_version"), _v.number.label("datastore_version_number"),
    _i.datastore_version_id, _v.manager, _i.flavor_id, _i.volume_gib, _i.volume_type, _i.volume_used_bytes,
    _i.volume_total_bytes, _i.region, _i.access, _i.addresses, _i.availability_zone, _i.locality,
    current(ResourceKind.SERVER).label("server_id"), current(ResourceKind.VOLUME).label("volume_id"),
    _i.fault_message, _i.fault_details, _i.fault_created, _i.created, _i.updated,
    _i.service_status_updated, _i.deleted, _i.deleted_at,
    _i.operating_status_reason, _i.restart_required, _i.configuration_id, _c.name.label("configuration_name"),
).select_from(
    instances.join(datastore_versions, _v.id == _i.datastore_version_id).join(datastores, _d.id == _v.datastore_id)
    .outerjoin(configurations, _c.id == _i.configuration_id)
)  # fmt: skip
_COUNT = select(func.count()).where(_i.configuration_id == _c.id, ~_i.deleted).correlate(configurations)
_CONFIGURATION = select(
    _c.id, _c.project_id, _c.name, _c.description, _c["values"], _c.datastore_version_id, _d.name.label("datastore"),
    _v.name.label("datastore_version"), _v.number, _c.created, _c.updated, _COUNT.scalar_subquery(),
).select_from(
    configurations.join(datastore_versions, _v.id == _c.datastore_version_id).join(datastores, _d.id == _v.datastore_id)
)  # fmt: skip
_o = operations.c
_m = operation_members.c
_OPERATION = select(
    _o.id, _o.kind, _m.instance_id, _o.project_id, _o.user_id, _o.request_id, _o.state, _o.reason, _o.workflow_id,
    _o.run_id, _o.first_execution_run_id, _o.created, _o.finished,
).join(operation_members, _m.operation_id == _o.id)  # fmt: skip
_VERSION = select(
    _v.id, _v.datastore_id, _d.name.label("datastore"), _v.name, _v.number, _v.manager, _v.image, _v.image_tags,
    _v.packages, _v.active, _v.flavors, _v.volume_types,
).select_from(datastore_versions.join(datastores, _d.id == _v.datastore_id))  # fmt: skip


@dataclass(frozen=True)
class Scope:
    """Whose instances: a project's, or with None everybody's; deleted ones where an administrator asks, or None: both."""

    project_id: str | None
    deleted: bool | None = False


@dataclass(frozen=True)
class Reader:
    """Answers the API's questions."""

    engine: AsyncEngine
    default_quotas: Mapping[str, int]

    @bounded(SECONDS)
    async def ask(self, statement: Select[Any]) -> list[Row[Any]]:
        """Return the rows of one query."""
        async with self.engine.connect() as conn:
            rows = list((await conn.execute(statement)).all())
            await conn.rollback()
            return rows

    async def check(self) -> None:
        """Raise unless the records answer."""
        await self.ask(select(func.now()))

    async def list_instances(self, scope: Scope, limit: int, marker: UUID | None = None) -> Page:
        """Return a page cut by id; inside it the youngest comes first, as Trove has it."""
        statement = _INSTANCE.order_by(_i.id).limit(limit + 1)
        if scope.deleted is not None:
            statement = statement.where(_i.deleted == scope.deleted)
        if scope.project_id is not None:
            statement = statement.where(_i.project_id == scope.project_id)
        if marker is not None:
            statement = statement.where(_i.id > marker)
        found = [_view(InstanceView, row) for row in await self.ask(statement)]
        page = found[:limit]
        more = str(page[-1].id) if page and len(found) > limit else None
        return Page(sorted(page, key=lambda each: each.created, reverse=True), more)

    async def get_instance(self, wanted: str, scope: Scope) -> InstanceView | None:
        """Return the instance of this id, or of this name where the name is unique in the scope."""
        by_id = _uuid(wanted)
        condition = _i.id == by_id if by_id else _i.name == wanted
        statement = _INSTANCE.where(condition).limit(2)
        if scope.deleted is not None:
            statement = statement.where(_i.deleted == scope.deleted)
        if scope.project_id is not None:
            statement = statement.where(_i.project_id == scope.project_id)
        rows = await self.ask(statement)
        return _view(InstanceView, rows[0]) if len(rows) == 1 else None

    async def list_configurations(
        self, project_id: str, limit: int, marker: UUID | None = None
    ) -> tuple[list[ConfigurationView], str | None]:
        """Return a page of a project's groups by id, and the marker of the next one."""
        statement = _CONFIGURATION.where(_c.project_id == project_id).order_by(_c.id).limit(limit + 1)
        if marker is not None:
            statement = statement.where(_c.id > marker)
        return _page([_view(ConfigurationView, row) for row in await self.ask(statement)], limit)

    async def get_configuration(self, wanted: str, scope: Scope) -> ConfigurationView | None:
        """Return the group of this id, or of this name where the name is unique in the scope."""
        by_id = _uuid(wanted)
        statement = _CONFIGURATION.where(_c.id == by_id if by_id else _c.name == wanted).limit(2)
        if scope.project_id is not None:
            statement = statement.where(_c.project_id == scope.project_id)
        rows = await self.ask(statement)
        return _view(ConfigurationView, rows[0]) if len(rows) == 1 else None

    async def list_instances_with(
        self, configuration_id: UUID, limit: int, marker: UUID | None = None
    ) -> tuple[list[InstanceView], str | None]:
        """Return a page of the instances that have a group, by id, and the marker of the next one."""
        statement = _INSTANCE.where(_i.configuration_id == configuration_id, ~_i.deleted).order_by(_i.id)
        if marker is not None:
            statement = statement.where(_i.id > marker)
        return _page([_view(InstanceView, row) for row in await self.ask(statement.limit(limit + 1))], limit)

    async def offered(self, version: VersionView) -> Parameters:
        """Return what tenants may set of a version, by name."""
        return narrowed(parameters_of(version.manager, version.number), await self.ask(rules_of(version.id)))

    async def running_kind(self, group_id: UUID) -> str | None:
        """Return the kind of the operation that runs on a group."""
        rows = await self.ask(select(_o.kind).where(_o.group_id == group_id, _o.state == "RUNNING"))
        return str(rows[0].kind) if rows else None

    async def list_ends(self, operation_ids: Collection[UUID]) -> list[tuple[str, str | None]]:
        """Return how those of the operations ended that have ended: state and reason."""
        statement = select(_o.state, _o.reason).where(_o.id.in_(operation_ids), _o.state != "RUNNING")
        return [(row.state, row.reason) for row in await self.ask(statement)]

    async def list_operations(self, instance_id: UUID, limit: int = 100) -> list[OperationView]:
        """Return an instance's operations with its steps and those of its group, the newest first; before them who waits."""
        statement = _OPERATION.where(_m.instance_id == instance_id).order_by(_o.created.desc()).limit(limit)
        begun = await self._with_steps([_view(OperationView, row) for row in await self.ask(statement)])
        return [*await self._waiting(instance_id), *begun]

    async def _waiting(self, instance_id: UUID) -> list[OperationView]:
        """Operations that wait for the lock, the newest first."""
        w = waiting.c
        columns = (w.operation_id, w.kind, literal(instance_id), w.project_id, w.user_id, w.request_id,
                   literal("WAITING"), w.reason, w.workflow_id, w.run_id, w.run_id, w.noted, null())  # fmt: skip
        mine = (w.instance_ids.contains([instance_id]), w.until > func.now())
        rows = await self.ask(select(*columns).where(*mine).order_by(w.noted.desc()))
        return [_view(OperationView, row) for row in rows]

    async def get_operation(self, operation_id: UUID, instance_id: UUID) -> OperationView | None:
        """Return one of the instance's operations with its steps."""
        rows = await self.ask(_OPERATION.where(_o.id == operation_id, _m.instance_id == instance_id))
        if rows:
            return (await self._with_steps([_view(OperationView, row) for row in rows]))[0]
        return next((each for each in await self._waiting(instance_id) if each.id == operation_id), None)

    async def _with_steps(self, found: list[OperationView]) -> list[OperationView]:
        if not found:
            return []
        s = operation_steps.c
        statement = select(s.operation_id, s.name, s.outcome, s.started, s.finished).where(
            s.operation_id.in_([each.id for each in found]),
            s.instance_id.is_(None) | (s.instance_id == found[0].instance_id),
        )
        steps: dict[UUID, list[StepView]] = {each.id: [] for each in found}
        for row in await self.ask(statement.order_by(s.operation_id, s.number)):
            steps[row[0]].append(_view(StepView, row[1:]))
        return [replace(each, steps=tuple(steps[each.id])) for each in found]

    async def list_datastores(self, *, inactive: bool) -> list[DatastoreView]:
        """Return the datastores with versions; inactive versions, and datastores without any, for administrators."""
        statement = _VERSION.where(~_v.removed).order_by(_d.name, _v.number, _v.name)
        if not inactive:
            statement = statement.where(_v.active)
        named = select(_d.id, _d.name, _d.default_version_id).where(~_d.removed).order_by(_d.name)
        rows, found = await asyncio.gather(self.ask(statement), self.ask(named))
        versions = [_view(VersionView, row) for row in rows]
        views = [
            _view(DatastoreView, (*row, tuple(each for each in versions if each.datastore_id == row.id)))
            for row in found
        ]
        return [each for each in views if each.versions or inactive]

    async def get_datastore(self, wanted: str, *, inactive: bool) -> DatastoreView | None:
        """Return the datastore of this id or name."""
        listed = await self.list_datastores(inactive=inactive)
        return next((each for each in listed if wanted in (str(each.id), each.name)), None)

    async def list_flavors(self) -> list[FlavorView]:
        """Return the mirrored flavors, the smallest first."""
        f = flavors.c
        statement = select(f.id, f.name, f.ram_mib, f.vcpus, f.disk_gib, f.ephemeral_gib).order_by(f.ram_mib, f.id)
        return [_view(FlavorView, row) for row in await self.ask(statement)]

    async def list_volume_types(self) -> list[VolumeTypeView]:
        """Return the mirrored volume types."""
        t = volume_types.c
        statement = select(t.id, t.name, t.is_public, t.description).order_by(t.name)
        return [_view(VolumeTypeView, row) for row in await self.ask(statement)]

    @bounded(SECONDS)
    async def list_quotas(self, project_id: str) -> list[QuotaView]:
        """Return ceilings and use of every resource."""
        async with self.engine.connect() as conn:
            ceilings = await quotas.limits(conn, project_id, self.default_quotas)
            used = await quotas.usage(conn, project_id)
            await conn.rollback()
        return [QuotaView(resource, ceiling, used.get(resource, 0)) for resource, ceiling in sorted(ceilings.items())]

    async def get_guest(self, instance_id: UUID) -> GuestView | None:
        """Return what the instance's guest is known by; None before its server was ordered."""
        g = guest_identities.c
        columns = (g.generation, g.enrolled, g.revoked, g.doubles, g.last_double, g.last_double_from)
        rows = await self.ask(select(*columns).where(g.instance_id == instance_id))
        return _view(GuestView, rows[0]) if rows else None

    async def get_tls(self, instance_id: UUID) -> TlsChange:
        """Return what TLS an instance has, and what a rollback goes back to."""
        rows = await self.ask(select(_i.tls, _i.tls_before).where(_i.id == instance_id))
        now, before = rows[0] if rows else ({}, None)
        return TlsChange(now=now, before=before)

    async def get_root(self, instance_id: UUID) -> RootView:
        """Return whether root is enabled. An intent without an answer counts as enabled: it may have happened."""
        r = root_changes.c
        statement = select(r.user_id, r.wanted, r.done, r.noted).where(
            and_(r.instance_id == instance_id, func.coalesce(r.done, r.wanted))
        )
        changes = await self.ask(statement.order_by(r.noted))
        given = [each for each in changes if each.wanted]
        enabled = bool(changes) and bool(changes[-1].wanted)
        first = given[0] if given else None
        return RootView(enabled, bool(given), first.noted if first else None, first.user_id if first else None)


def _view(shape: Callable[..., View], row: Iterable[Any]) -> View:
    """A row as a view: the columns are selected in the order of the view's fields."""
    return shape(*row)


def _page(found: list[View], limit: int) -> tuple[list[View], str | None]:
    """So many of what was found, and where the next page begins if there is more."""
    page: list[Any] = found[:limit]
    return page, str(page[-1].id) if page and len(found) > limit else None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
