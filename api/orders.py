"""From a request's body to an order: everything that can be refused without asking the cloud is refused here."""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from api.context import RequestContext, Services
from api.faults import Fault
from api.models.accounts import DatabaseBody, UserBody
from api.models.instances import (
    AccessBody,
    AccessChangeBody,
    CreateInstanceBody,
    DatastoreBody,
    InstanceBody,
    NicBody,
)
from contract.domain.access import AccessChange, canonical_cidr
from contract.domain.accounts import NewDatabase, NewUser, Sealed
from contract.domain.backups import BackupStatus
from contract.domain.datastores import DATASTORES
from contract.domain.datastores.base import Datastore, Facet
from contract.domain.fact import is_uuid
from contract.domain.instance import Access, DatastoreVersion, InstanceSpec, Locality, Nic
from records.backup_reads import BackupView
from records.reads import Scope
from records.views import ConfigurationView, DatastoreView, VersionView


async def spec_of(
    services: Services, context: RequestContext, body: CreateInstanceBody, seal: Callable[[str], Sealed]
) -> InstanceSpec:
    """Return what was ordered; Fault for what cannot be."""
    wanted = body.instance
    _refuse_what_is_not_there(wanted)
    flavor = wanted.wanted_flavor
    if flavor is None:
        raise Fault(400, "flavorRef: is needed")
    if wanted.volume is None:
        raise Fault(400, "volume: is needed for this datastore")
    locality = _locality(wanted.locality)
    backup = await _backup_named(services, context, wanted)
    version = await _version_of(services, wanted, backup)
    facts = DATASTORES[version.manager].of(version.number)
    group = await configuration_named(services, context, wanted.configuration)
    if group is not None and group.datastore_version_id != version.id:
        raise Fault(400, "The datastore version of the configuration group is not that of the instance.")
    databases, users = accounts_of(facts, wanted.databases, wanted.users, seal)
    region = services.settings.region
    if wanted.region_name not in (None, region):
        raise Fault(400, f"region_name: '{wanted.region_name}' is unknown; there is only '{region}'")
    check_volume_size(services, wanted.volume.size)
    _check_restore(wanted, backup, version)
    return InstanceSpec(
        name=wanted.name,
        datastore=version.datastore,
        datastore_version=str(version.id),
        version=_catalogue_entry(version),
        flavor=flavor,
        volume_gib=wanted.volume.size,
        volume_type=wanted.volume.type,
        nic=_nic(wanted.nics[0]) if wanted.nics else None,
        access=_access(wanted.access) if wanted.access else Access(),
        locality=locality,
        availability_zone=wanted.availability_zone,
        region=region,
        configuration_id=group.id if group else None,
        backup_id=backup.id if backup else None,
        databases=databases,
        users=users,
    )


async def configuration_named(
    services: Services, context: RequestContext, wanted: str | None
) -> ConfigurationView | None:
    """The project's configuration group of an id or a unique name; None for none, 404 where there is no such group."""
    if not wanted:
        return None
    found = await services.reader.get_configuration(wanted, Scope(context.project_id))
    if found is None:
        raise Fault(404, f"Configuration {wanted[:255]} cannot be found.")
    return found


def _refuse_what_is_not_there(wanted: InstanceBody) -> None:
    if wanted.replica_of or wanted.slave_of:
        raise Fault(501, "Replicas are not implemented yet.")
    if wanted.modules:
        raise Fault(404, f"Module {wanted.modules[0].id} cannot be found.")


async def _backup_named(services: Services, context: RequestContext, wanted: InstanceBody) -> BackupView | None:
    """The project's backup that is to be restored, if there is one of this id; whether it can be is checked later."""
    if wanted.restore_point is None or not is_uuid(wanted.restore_point.backup_ref):
        return None
    return await services.backups.get_backup(UUID(wanted.restore_point.backup_ref), Scope(context.project_id))


async def _version_of(services: Services, wanted: InstanceBody, backup: BackupView | None) -> VersionView:
    """What the order names; where it names nothing, that of the backup."""
    if backup is not None and wanted.datastore is None:
        return await version_named(
            services, DatastoreBody(version=str(backup.datastore_version_id), type=backup.datastore)
        )
    return await version_named(services, wanted.datastore)


def _check_restore(wanted: InstanceBody, backup: BackupView | None, version: VersionView) -> None:
    """404, 409, 403, 400: the backup is not there, not complete, too large, or of something else."""
    if wanted.restore_point is None:
        return
    name = wanted.restore_point.backup_ref
    if backup is None or backup.deleting:
        raise Fault(404, f"Backup {name} cannot be found.")
    if backup.status != BackupStatus.COMPLETED:
        raise Fault(409, f"Backup {name} is not complete: its status is {backup.status}.")
    if wanted.volume is not None and (backup.size_bytes or 0) > wanted.volume.size * 2**30:
        raise Fault(403, f"Backup {name} is too large for a volume of {wanted.volume.size} GB.")
    if backup.datastore != version.datastore:
        raise Fault(400, f"Backup {name} is of datastore '{backup.datastore}', not of '{version.datastore}'.")
    if (backup.manager, backup.number) != (version.manager, version.number):
        raise Fault(400, f"Backup {name} is of version {backup.number}; it cannot be restored to {version.number}.")


def _locality(said: str | None) -> Locality | None:
    if said is None:
        return None
    try:
        return Locality(said)
    except ValueError:
        raise Fault(400, f"locality: '{said[:80]}' is none of {', '.join(Locality)}") from None


def check_volume_size(services: Services, size: int) -> None:
    """413 for a volume that is larger than any may be."""
    most = services.settings.max_volume_gib
    if size > most:
        raise Fault(413, f"Volume 'size' cannot exceed maximum of {most} GB, {size} cannot be accepted.")


async def version_named(services: Services, said: DatastoreBody | None) -> VersionView:
    """The active version that a body names, or the default one; Fault where there is none."""
    name = (said.type if said else None) or services.settings.default_datastore
    if not name and said and said.version and is_uuid(said.version):
        return await _by_id_alone(services, said.version)
    if not name:
        raise Fault(400, "datastore: type is needed; there is no default datastore")
    datastore = await services.reader.get_datastore(name, inactive=True)
    if datastore is None:
        raise Fault(404, f"Datastore '{name}' cannot be found.")
    found = _candidates(datastore, said.version if said else None, said.version_number if said else None)
    if len(found) != 1:
        shown = (said.version or said.version_number) if said else None
        problem = "is not unique" if found else "cannot be found"
        raise Fault(400, f"Datastore version '{shown or 'default'}' {problem}.")
    return _active(found[0])


async def _by_id_alone(services: Services, wanted: str) -> VersionView:
    for datastore in await services.reader.list_datastores(inactive=True):
        for each in datastore.versions:
            if str(each.id) == wanted.lower():
                return _active(each)
    raise Fault(400, f"Datastore version '{wanted}' cannot be found.")


def _candidates(datastore: DatastoreView, name: str | None, number: str | None) -> Sequence[VersionView]:
    found: Iterable[VersionView] = datastore.versions
    if name is None and number is None:
        return [each for each in found if each.id == datastore.default_version_id]
    if name is not None:
        found = [each for each in found if name in (str(each.id), each.name)]
    if number is not None:
        found = [each for each in found if each.number == number]
    return list(found)


def _active(version: VersionView) -> VersionView:
    if not version.active:
        raise Fault(400, f"Datastore version '{version.name}' is not active.")
    return version


def _catalogue_entry(version: VersionView) -> DatastoreVersion:
    return DatastoreVersion(
        id=version.id,
        name=version.name,
        number=version.number,
        datastore_id=version.datastore_id,
        datastore=version.datastore,
        manager=version.manager,
        image=version.image,
        image_tags=tuple(version.image_tags),
        flavors=None if version.flavors is None else tuple(version.flavors),
        volume_types=None if version.volume_types is None else tuple(version.volume_types),
    )


def _nic(said: NicBody) -> Nic:
    address = said.ip_address or said.v4_fixed_ip
    if address is not None:
        if said.subnet_id is None and said.v4_fixed_ip is None:
            raise Fault(400, "nics[0].ip_address: needs subnet_id")
        try:
            ipaddress.IPv4Address(address)
        except ValueError:
            raise Fault(400, f"nics[0].ip_address: '{address}' is not an IPv4 address") from None
    return Nic(network_id=said.network_id or said.net_id, subnet_id=said.subnet_id, ip_address=address)


def _access(said: AccessBody) -> Access:
    return Access(is_public=said.is_public, allowed_cidrs=_cidrs(said.allowed_cidrs or ()))


def access_change_of(said: AccessChangeBody) -> AccessChange:
    """What is to be different in who may reach an instance."""
    if said.allowed_cidrs is None:
        return AccessChange(is_public=said.is_public)
    return AccessChange(is_public=said.is_public, allowed_cidrs=_cidrs(said.allowed_cidrs))


def _cidrs(said: Iterable[str]) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(canonical_cidr(each) for each in said))
    except ValueError as error:
        raise Fault(400, f"access.allowed_cidrs: {error}") from None


def checked(where: str, check: Callable[..., None], *values: Any) -> None:
    """Apply an engine's check; 400 naming the field."""
    try:
        check(*values)
    except ValueError as error:
        raise Fault(400, f"{where}: {error}") from None


def database_of(facts: Datastore, where: str, said: DatabaseBody) -> NewDatabase:
    """A database to create, checked."""
    database = NewDatabase(name=said.name, character_set=said.character_set, collate=said.collate)
    checked(where, facts.check_database, database)
    return database


def user_of(facts: Datastore, where: str, said: UserBody, seal: Callable[[str], Sealed]) -> NewUser:
    """A user to create, checked, its password sealed."""
    host = said.host or "%"
    checked(where, facts.check_user, said.name, host)
    checked(where, facts.check_password, said.password)
    names = tuple(each.name for each in said.databases)
    return NewUser(name=said.name, host=facts.canonical_host(host), password=seal(said.password), databases=names)


def accounts_of(
    facts: Datastore, databases: Sequence[DatabaseBody], users: Sequence[UserBody], seal: Callable[[str], Sealed]
) -> tuple[tuple[NewDatabase, ...], tuple[NewUser, ...]]:
    """The first databases and users of an instance; a user's databases must be among them, none may come twice."""
    for facet, wanted in ((Facet.DATABASES, databases), (Facet.USERS, users)):
        if wanted:
            require(facts, facet)
    made = tuple(database_of(facts, f"databases[{number}]", each) for number, each in enumerate(databases))
    people = tuple(user_of(facts, f"users[{number}]", each, seal) for number, each in enumerate(users))
    unique("databases", [each.name for each in made])
    unique("users", [f"{each.name}@{each.host}" for each in people])
    known = {each.name for each in made}
    for number, each in enumerate(people):
        for name in each.databases:
            if name not in known:
                raise Fault(400, f"users[{number}].databases: '{name}' is not among the databases of the request")
    return made, people


def require(facts: Datastore, facet: Facet) -> None:
    """Refuse what the engine has no notion of."""
    if facet not in facts.facets:
        raise Fault(422, f"Operation not supported for datastore {facts.manager}: it has no {facet}.")


def unique(where: str, names: Sequence[str]) -> None:
    """Refuse a name that comes twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Fault(400, f"{where}: '{name}' is listed twice")
        seen.add(name)
