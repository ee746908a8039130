"""Who is let go when its time is over."""

from dataclasses import dataclass, replace
from pathlib import Path

from bot.keeping import Housekeeper, Keeper, stock_of
from lifecycle.errors import NothingToPurge
from lifecycle.observed import Observed
from lifecycle.operation import Goal, Operation, State
from lifecycle.plan import Plan
from lifecycle.retention import Keeping
from storage.retention import KeptVolumes, Records
from tests.bot.office import CLUSTERS, some_doors
from tests.fakes import values
from tests.fakes.cluster import FakeClock, FakeCluster
from tests.fakes.database import a_database
from tests.fakes.values import planned
from tests.storage.conftest import StandingClock, Store
from tests.storage.test_retention import DAY, WEEK, a_delete, a_purge, an_exchange


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


def kept_by(*operations: Operation) -> Records:
    volumes = [KeptVolumes(one, Keeping(one.id, values.NOW, WEEK)) for one in operations]
    return Records(volumes=tuple(volumes))


def test_the_set_of_a_delete_stays_while_its_volumes_are_kept_and_that_of_a_restore_in_place_need_not() -> None:
    """From the volumes of the one a restore goes on, with its capture; from those of the other none ever does."""
    stock = stock_of(kept_by(a_delete(), an_exchange()), values.TARGET)
    assert stock.needed.keys() == {"op-delete"}
    assert [one.id for one in stock.kept_by] == ["op-delete", "op-place0"]


@dataclass
class Moved(FakeCluster):
    """Its context is pointed at another Kubernetes cluster the moment before it is looked at."""

    async def picture(self, goal: Goal) -> Observed:
        self.kubernetes = "another"
        return Observed(self.clock.now(), {})


async def test_a_context_that_changes_before_the_look_shows_nothing_as_gone(tmp_path: Path) -> None:
    async with a_database(tmp_path / "tml-bot.db") as database:
        store = Store(database, StandingClock())
        for kept_in, is_gone in (("uid-of-kube-system", False), ("another", True)):
            delete = a_delete()
            delete = replace(delete, goal=replace(delete.goal, kubernetes=kept_in))
            moved = Moved(values.discovery(), FakeClock())
            keeper = Keeper("prod", CLUSTERS[0], moved, store.retention)
            assert await keeper.is_gone(kept_by(delete), delete) is is_gone
