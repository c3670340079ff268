"""A victim's calls alone, and beside each way to use the gateway up: one attack after the other, each after a calm moment."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from benchmarks.gateway.identities import Identity
from benchmarks.gateway.light import LightGuest
from benchmarks.gateway.scene import Scene
from benchmarks.report import p50, p95
from contract.keys.keyring import OwnKeyring, Ring
from tests.redteam.attack_cost import Cost, attacked, probed, use_of
from tests.redteam.hostile import ATTACKS, WITHIN_LIMITS
from tests.redteam.probe import Target
from tests.redteam.raw_requests import RawRequest, costly

MOST_MS = 50.0  # p95 of a victim beside a guest that is within its limits
MOST_MIB = 400.0  # of memory, whatever is sent
ROOM = 30  # files that the gateway may have more of after an attack: the hostile guest's connections, a pool's


@dataclass(frozen=True)
class Keys:
    """What the hostile guest seals with."""

    instance_id: UUID
    keyring: OwnKeyring


@dataclass(frozen=True)
class Line:
    """One attack. `within`: a guest within its limits, where the goal for the victim's p95 counts."""

    name: str
    within: bool
    cost: Cost

    def words(self) -> tuple[str, ...]:
        """As the table has it."""
        calm, took = self.cost.calm, self.cost.took
        late, large = p95(took) > MOST_MS and self.within, self.cost.peak > MOST_MIB
        return (
            f"{self.name}{' (within limits)' if self.within else ''}",
            f"{p50(calm):.1f}, {p95(calm):.1f}",
            f"{p50(took):.1f}, {p95(took):.1f}{' missed' if late else ''}",
            f"{p50(took) / p50(calm):.1f}, {p95(took) / p95(calm):.1f}",
            f"{self.cost.calm_share * 100:.0f}, {self.cost.share * 100:.0f}",
            f"{self.cost.peak:.0f}{' missed' if large else ''}",
            str(self.cost.files),
        )


HEAD = ("attack", "p50, p95 alone, ms", "beside it", "times", "processor alone, beside it, %", "MiB, peak", "files")


async def measure(scene: Scene, seconds: float, wanted: Collection[str] = ()) -> list[Line]:
    """A line for each attack; `wanted`: for these alone."""
    gateway, (victim, attacker) = scene.stage.gateway, scene.rest[:2]
    by, lines = Target(gateway.address, gateway.ca, attacker.token), []
    called = Target(gateway.address, gateway.ca, victim.token)
    async with probed(called, seconds) as probe, _words(scene, attacker) as words:
        attacks: dict[str, RawRequest | None] = {**words, **dict.fromkeys(ATTACKS)}
        del attacks["answers"]
        files = use_of(gateway.pid).files
        for name, raw in attacks.items():
            if not wanted or name in wanted:
                cost = await attacked(gateway.pid, probe, "answers" if raw else name, by, seconds, raw)
                await _cleared(gateway.pid, files + ROOM)
                lines.append(Line(name.replace("_", " "), raw is not None or name in WITHIN_LIMITS, cost))
    return lines


@asynccontextmanager
async def _words(scene: Scene, attacker: Identity) -> AsyncIterator[dict[str, RawRequest]]:
    """What costs most to look at, about a task that the hostile guest has taken."""
    card = scene.card(attacker)
    guest, ring = LightGuest(card), OwnKeyring(card.instance_id, Ring.of(bytes.fromhex(card.key)))
    await scene.hold(attacker, "held")
    try:
        yield costly(Keys(attacker.instance_id, ring), await guest.poll())
    finally:
        await guest.close()


async def _cleared(pid: int, files: int) -> None:
    """Connections that still wait are ended after 15 s: the next attack is not to wait behind them."""
    for _ in range(100):
        if use_of(pid).files <= files:
            return
        await asyncio.sleep(0.2)


def table(lines: Sequence[Line]) -> str:
    """As Markdown, with the goals below."""
    rows = [f"| {' | '.join(words)} |" for words in (HEAD, ("---",) * len(HEAD), *(each.words() for each in lines))]
    goals = f"Goals: p95 at most {MOST_MS:g} ms beside a guest within its limits, at most {MOST_MIB:g} MiB whatever is sent."
    return "\n".join([*rows, "", goals])
