"""Changing global variables while the engine runs; MySQL's, too."""

import re
from collections.abc import Mapping

from guest_worker.datastores.mariadb import sql
from guest_worker.datastores.mariadb.session import Session, StatementRefused

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?")


def set_globals(session: Session, old: Mapping[str, str], new: Mapping[str, str], defaults: Mapping[str, str]) -> None:
    """Go from some settings to others; what is set no more is as `defaults` says, or as the engine has it by itself."""
    changed = {name: new.get(name, defaults.get(name)) for name in (*old, *new) if old.get(name) != new.get(name)}
    for _ in range(2):  # some are bounded by others, and cut without an error
        _set(session, changed)


def _set(session: Session, left: dict[str, str | None]) -> None:
    while left:
        refused: dict[str, StatementRefused] = {}
        for name, value in left.items():
            try:
                session.rows(f"SET GLOBAL {sql.name(name)} = {literal(value)}")
            except StatementRefused as error:
                refused[name] = error
        if len(refused) == len(left):
            raise next(iter(refused.values()))
        left = {name: left[name] for name in refused}  # by the others, which are set now


def literal(value: str | None) -> str:
    """A value in a statement; None stands for the engine's own."""
    if value is None:
        return "DEFAULT"
    return value if NUMBER.fullmatch(value) else sql.text(value)
