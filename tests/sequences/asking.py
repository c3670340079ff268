"""Which requests are possible: each maker chooses one for an instance, or has none."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from random import Random
from typing import Any

from tests.sequences.model import Asked, Model, password_of

MOST_GIB = 3
CIDRS: tuple[list[str], ...] = ([], ["0.0.0.0/0"], ["0.0.0.0/0", "192.0.2.0/24"])  # the test itself is always let in
ONE = frozenset({1})


class Maker:
    """Makes requests from a seed; names that it gives to databases and users are not used again."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self._names = (f"n{number}" for number in count())

    def round(self, models: list[Model], size: int) -> Iterator[Asked]:
        """Requests to be sent at once, no two about the same part of an instance."""
        taken: set[str] = set()
        while size:
            asked = self._one(self.random.choice(models))
            if asked is not None and not taken & asked.parts:
                taken |= asked.parts
                size -= 1
                yield asked

    def _one(self, model: Model) -> Asked | None:
        make = self.random.choices(list(MAKERS), list(MAKERS.values()))[0]
        return make(self, model)

    def power(self, model: Model) -> Asked:
        """Restart, stop, reboot or migrate; what is stopped is started, but by no migration."""
        verb = self.random.choice(("restart", "restart", "stop", "reboot", "migrate"))

        def then() -> None:
            model.stopped = verb == "stop"  # to migrate what is stopped is refused

        path = f"{'' if verb == 'restart' else '/mgmt'}{model.path}/action"
        return Asked("POST", path, {verb: {}}, _parts(model, "power"), then, ONE, verb != "restart")

    def resize_flavor(self, model: Model) -> Asked:
        """To another flavor, or to the one that it has."""
        wanted = self.random.choice(("1", "2", "3"))

        def then() -> None:
            model.flavor = wanted

        return _action(model, {"resize": {"flavorRef": wanted}}, "flavor", then)

    def resize_volume(self, model: Model) -> Asked:
        """A larger volume, or one that it cannot have."""
        wanted = self.random.randint(1, MOST_GIB)

        def then() -> None:
            model.volume = wanted

        return _action(model, {"resize": {"volume": {"size": wanted}}}, "volume", then)

    def change_access(self, model: Model) -> Asked:
        """Another address, or others who may reach it."""
        public, cidrs = self.random.random() < 0.5, self.random.choice(CIDRS)

        def then() -> None:
            model.public, model.cidrs = public, cidrs

        body = {"instance": {"access": {"is_public": public, "allowed_cidrs": cidrs}}}
        return Asked("PUT", model.path, body, _parts(model, "access"), then, ONE)

    def reconfigure(self, model: Model) -> Asked:
        """Attach a group or none."""
        wanted = self.random.choice((None, *model.groups))

        def then() -> None:
            model.group = wanted

        number = ONE if wanted else frozenset({0, 1})  # to detach none is no operation
        return Asked("PUT", model.path, {"instance": {"configuration": wanted}}, _parts(model, "group"), then, number)

    def reimage(self, model: Model) -> Asked:
        """Have an administrator rebuild it, or have its owner upgrade it to the newest image of its version."""
        parts = _parts(model, "power")
        if self.random.random() < 0.5:
            body = {"rebuild": {"image_id": model.image}}
            return Asked("POST", f"/mgmt{model.path}/action", body, parts, _nothing, ONE, by_administrator=True)
        return Asked("PATCH", model.path, {"instance": {"datastore_version": model.version}}, parts, _nothing, ONE)

    def change_tls(self, model: Model) -> Asked:
        """A certificate that clients can check, or what the engine has by itself; without TLS one is let in all the same."""
        mode = self.random.choice(("basic", None))

        def then() -> None:
            model.tls = mode

        body = {"ssl": {"enable": True, "mode": mode} if mode else {"enable": False}}
        return Asked("POST", f"{model.path}/ssl", body, _parts(model, "tls"), then, ONE)

    def rename(self, model: Model) -> Asked:
        """Done by the records alone."""
        return Asked("PATCH", model.path, {"instance": {"name": next(self._names)}}, _parts(model, "name"), _nothing)

    def create_database(self, model: Model) -> Asked:
        """One."""
        name = next(self._names)
        return Asked("POST", f"{model.path}/databases", {"databases": [{"name": name}]}, _parts(model, name),
                     lambda: model.databases.add(name))  # fmt: skip

    def delete_database(self, model: Model) -> Asked | None:
        """One that is there."""
        name = self._any(model.databases - {"app"})
        if name is None:
            return None

        def then() -> None:
            model.databases.discard(name)
            for each in model.users.values():
                each.discard(name)

        return Asked("DELETE", f"{model.path}/databases/{name}", None, _parts(model, name), then)

    def create_user(self, model: Model) -> Asked:
        """With a database that is there."""
        name, database = next(self._names), self._any(model.databases) or "app"
        user = {"name": name, "password": password_of(name), "databases": [{"name": database}]}
        return Asked("POST", f"{model.path}/users", {"users": [user]}, _parts(model, name, database),
                     lambda: model.users.update({name: {database}}))  # fmt: skip

    def delete_user(self, model: Model) -> Asked | None:
        """One that is there."""
        name = self._any(model.users.keys() - {"amy"})
        if name is None:
            return None
        return Asked("DELETE", f"{model.path}/users/{name}", None, _parts(model, name), lambda: _pop(model, name))

    def grant_or_revoke(self, model: Model) -> Asked | None:
        """Take a database from a user who has it, give it to one who has not."""
        user, database = self._any(model.users.keys() - {"amy"}), self._any(model.databases)
        if user is None or database is None:
            return None
        path, parts = f"{model.path}/users/{user}/databases", _parts(model, user, database)
        if database in model.users[user]:
            return Asked("DELETE", f"{path}/{database}", None, parts, lambda: model.users[user].discard(database))
        body = {"databases": [{"name": database}]}
        return Asked("PUT", path, body, parts, lambda: model.users[user].add(database))

    def delete(self, model: Model) -> Asked:
        """Whatever runs makes way."""

        def then() -> None:
            model.deleted = True

        return Asked("DELETE", model.path, None, _parts(model, "instance"), then, ONE)

    def _any(self, names: Any) -> str | None:
        return self.random.choice(sorted(names)) if names else None


MAKERS: Mapping[Callable[[Maker, Model], Asked | None], float] = {
    Maker.power: 3,
    Maker.resize_flavor: 2,
    Maker.resize_volume: 2,
    Maker.change_access: 2,
    Maker.reconfigure: 2,
    Maker.reimage: 1,
    Maker.change_tls: 1,
    Maker.rename: 1,
    Maker.create_database: 2,
    Maker.delete_database: 1,
    Maker.create_user: 2,
    Maker.delete_user: 1,
    Maker.grant_or_revoke: 2,
    Maker.delete: 0.5,
}


def _parts(model: Model, *parts: str) -> frozenset[str]:
    return frozenset(f"{model.id} {each}" for each in parts)


def _action(model: Model, body: Any, part: str, then: Callable[[], None]) -> Asked:
    return Asked("POST", f"{model.path}/action", body, _parts(model, part), then, ONE)


def _pop(model: Model, user: str) -> None:
    model.users.pop(user)


def _nothing() -> None:
    pass
