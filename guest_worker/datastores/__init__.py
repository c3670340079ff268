"""What to do on the machine, engine by engine: a folder each. Only the guest's own engine is ever imported.

A folder has `driver.py` with the `DRIVER`, `recipe.py` with what an image of the engine is made of, and `client.py` with
what a tenant's client does. Nothing is imported here: the set-up reads the recipes before any library is installed.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guest_worker.datastores.base import Datastore, EngineContext
    from guest_worker.datastores.client import Client
    from guest_worker.datastores.recipe import Recipe


def managers() -> list[str]:
    """The engines that there are, by name."""
    return sorted(each.parent.name for each in Path(__file__).parent.glob("*/recipe.py"))


def driver_of(manager: str) -> type[Datastore]:
    """The driver of an engine. A driver's module costs memory, so the others stay unread."""
    driver: type[Datastore] = import_module(f"{__name__}.{manager}.driver").DRIVER
    return driver


def open_datastore(manager: str, context: EngineContext) -> Datastore:
    """An engine on this machine."""
    return driver_of(manager)(context)


def recipe_of(manager: str) -> Recipe:
    """What an image of an engine is made of."""
    recipe: Recipe = import_module(f"{__name__}.{manager}.recipe").RECIPE
    return recipe


def client_of(manager: str) -> Client:
    """What a tenant's client does with an engine."""
    client: Client = import_module(f"{__name__}.{manager}.client").CLIENT
    return client
