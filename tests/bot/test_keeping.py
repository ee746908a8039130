"""Who is let go when its time is over."""

from dataclasses import dataclass, replace
from pathlib import Path

from bot.keeping import Housekeeper, Keeper
from lifecycle.errors import NothingToPurge
from lifecycle.operation import Operation, State
from lifecycle.plan import Plan
from storage.retention import Records
from tests.bot.office import CLUSTERS, some_doors
from tests.fakes import values
from tests.fakes.database import a_database
from tests.fakes.values import planned
from tests.storage.conftest import StandingClock, Store
from tests.storage.test_retention import DAY, a_delete, a_purge


@dataclass(frozen=True)
class Withholding(Keeper):
    """Nothing of ``held`` may go."""

    held: str = ""

    async def plan_of_volumes(self, records: Records, by: str) -> Plan:
        if by == self.held:
            raise NothingToPurge("a restore of it has not come to its end")
        goal = replace(a_purge(deletes=(by,)).goal, volumes=values.inventory(values.discovery()).volumes)
        return planned(values.operation(goal, "op-purge0"))[1]


async def test_volumes_that_are_held_keep_those_of_another_delete_from_nothing(tmp_path: Path) -> None:
    async with a_database(tmp_path / "tml-bot.db") as database:
        store = Store(database, StandingClock())
        ids = iter(f"op-{number:06}" for number in range(1, 99))
        for identity in ("op-delete", "op-later1"):
            await store.run(a_delete(identity), State.DONE, 1)
        begun: list[Operation] = []
        keeper = Withholding("prod", CLUSTERS[0], some_doors()["prod"], store.retention, held="op-delete")
        keepers = {"prod": keeper}
        housekeeper = Housekeeper(keepers, store.operations, store.retention, begun.append, lambda _: next(ids))
        store.clock.advance(6.5 * DAY)
        await housekeeper.look()
        assert begun == []
        store.clock.advance(2 * DAY)
        await housekeeper.look()
        (purge,) = begun
        assert purge.goal.purging
        assert purge.goal.purging.deletes == ("op-later1",)
        kinds = [one.kind for one in await store.audit.entries(newest_first=False, limit=1000)]
        assert (kinds.count("notice"), kinds.count("notice-held")) == (2, 1)
