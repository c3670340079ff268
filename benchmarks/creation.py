"""What a creation adds to its floor."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.engines import ENGINES, Floor
from benchmarks.instances import Instances
from benchmarks.records import creation_steps
from benchmarks.report import ADDED_SECONDS, MUTATION_MS, Row, at_most, p50, spread
from deploy.settings import StackSettings

ROUNDS = 3
Say = Callable[[str], None]


@dataclass
class Creations:
    """All that was measured of creations and deletions; the last instance of each engine is kept."""

    floors: dict[str, list[float]] = field(default_factory=lambda: {each: [] for each in ENGINES})
    whole: dict[str, list[float]] = field(default_factory=lambda: {each: [] for each in ENGINES})
    ids: dict[str, list[str]] = field(default_factory=lambda: {each: [] for each in ENGINES})
    orders: list[float] = field(default_factory=list)
    deletions: list[float] = field(default_factory=list)

    def kept(self, datastore: str) -> str:
        """The instance that still stands."""
        return self.ids[datastore][-1]


def measure(settings: StackSettings, instances: Instances, say: Say) -> Creations:
    """Floor and creation by turns, so that both meet the same machine; one at a time."""
    found, floor = Creations(), Floor(settings)
    for number in range(1, ROUNDS + 1):
        for datastore in ENGINES:
            say(f"creation of {datastore}, {number} of {ROUNDS}")
            found.floors[datastore].append(floor.measure(datastore))
            began = time.perf_counter()
            instance_id, answer = instances.order(datastore, number)
            instances.wait(instance_id)
            found.whole[datastore].append(time.perf_counter() - began)
            found.orders.append(answer.seconds)
            found.ids[datastore].append(instance_id)
            instances.wait(instance_id, healthy=True)
            if number < ROUNDS:
                found.deletions.append(instances.delete(instance_id).seconds)
    return found


def rows(settings: StackSettings, found: Creations) -> list[Row]:
    """Creations first, then how soon they were answered."""
    delays = settings.volume_delay + settings.server_delay
    lines = []
    for datastore in ENGINES:
        whole, own = found.whole[datastore], found.floors[datastore]
        floor = statistics.median(own) + delays
        added = statistics.median(whole) - floor
        ratio = f" ({statistics.median(whole) / floor:.2f} times the floor)"
        lines += [
            Row(f"creation, {datastore}, POST to ACTIVE, p50 of {ROUNDS}", spread(whole)),
            Row("  floor: the engine's own initialisation and start", spread(own)),
            Row("  floor: delays of the embedded cloud", f"{delays:.2f} s"),
            at_most(f"creation, {datastore}, added to the floor", added, ADDED_SECONDS, "s", ratio),
        ]
    lines.append(at_most(f"order, answer, p50 of {len(found.orders)}", p50(found.orders), MUTATION_MS, "ms"))
    many = len(found.deletions)
    lines.append(at_most(f"deletion, answer, p50 of {many}", p50(found.deletions), MUTATION_MS, "ms"))
    return lines


def steps(settings: StackSettings, found: Creations) -> str:
    """Where the time of a creation goes, as the records have it."""
    lines = []
    for datastore in ENGINES:
        known = creation_steps(settings, found.ids[datastore])
        listed = ", ".join(f"{name} {seconds:.2f}" for name, seconds in known)
        lines.append(f"steps of {datastore}, p50 in seconds: {listed}")
    return "\n".join(lines)
