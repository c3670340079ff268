"""What an image of an engine is made of. Standard library alone: the set-up reads it before anything is installed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from guest_worker.datastores.store import Store


@dataclass(frozen=True)
class Recipe:
    """What `recipe.py` of an engine says. Its client library is in `requirements.txt` beside it.

    `packages`: of the distribution, by name, each with the question whether it is there; `programs`: which the
    privileged process of a guest starts; `version`: as the catalogue names it, of what is installed below a prefix
    (empty: the system's), FileNotFoundError where the engine is not installed; `store`: where else than from the
    distribution's own packages it comes from; `newer`: other series, which instances are upgraded to; `needs_older`:
    whether these take data over with the programs of the first, which then are in their images, too; `needless`: what its
    packages bring and an image for Nova leaves out, as patterns below the root; `install`: the command, of what is installed
    below a prefix, that makes a data directory with nothing in it that is an instance's own, so that an image may carry one
    to be copied.
    """

    programs: tuple[str, ...]
    version: Callable[[str], str]
    packages: Mapping[str, Callable[[], bool]] = field(default_factory=dict)
    store: Store | None = None
    newer: tuple[Store, ...] = ()
    needs_older: bool = False
    needless: tuple[str, ...] = ()
    install: Callable[[str, Path], Sequence[str]] | None = None

    @property
    def editions(self) -> tuple[Store | None, ...]:
        """What there may be an image of: its first series, then the others; None: the distribution's own packages."""
        return (self.store, *self.newer)


def requirements_of(manager: str) -> Path:
    """The locked list of an engine's client library."""
    return Path(__file__).parent / manager / "requirements.txt"
