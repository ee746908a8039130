"""A cluster of two databases that a stop removes and a start brings back, cut off where a test wants it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lifecycle.decide import remove, returning
from lifecycle.model import Component, Kind, Ref
from lifecycle.observed import Part
from lifecycle.operation import Operation
from lifecycle.volumes import Claim
from tests.lifecycle.returning import Scene as Deleting

SHARED = Part(Ref(Kind.SECRET, "cluster-property"), "uid-shared")


@dataclass
class Scene(Deleting):
    """With one Secret that all components share."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.world.parts[SHARED.ref] = SHARED

    async def remove(self, identity: str = "op-remove", *, keeps_services: bool = False) -> Operation:
        found = await self.cluster.discover()
        goal = remove.goal(found, await self.cluster.parts(found), {}, keeps_services=keeps_services)
        return self.begin(goal, identity)

    async def come_back(
        self,
        removal: Operation,
        identity: str = "op-return",
        typed: Mapping[Component, int] | None = None,
        *,
        overwrites: bool = False,
    ) -> Operation:
        draft = returning.draft(removal)
        observed = await self.cluster.picture(draft)
        wanted = replace(draft, captured=observed.capture)
        different = await self.cluster.differences(wanted, returning.present(removal, observed))
        owners = await self.cluster.owners([one.ref for one in draft.topology])
        goal = returning.goal(removal, observed, typed or {}, owners, different if overwrites else ())
        return self.begin(goal, identity)

    @property
    def claims(self) -> set[tuple[str, str, str]]:
        return {(claim.name, claim.uid, claim.status) for claim in self.world.claims.values()}

    @property
    def is_removed(self) -> bool:
        """No workload, no part but the shared one; the claims are as they were."""
        return not self.world.states and set(self.world.parts) == {SHARED.ref} and self.claims_stay

    @property
    def claims_stay(self) -> bool:
        before = {claim.name: claim.uid for claim in self.cluster.found.observed.claims}
        return {claim.name: claim.uid for claim in self.world.claims.values()} == before and all(
            claim.status == "Bound" for claim in self.world.claims.values()
        )


def without(claims: dict[str, Claim], name: str) -> dict[str, Claim]:
    return {other: claim for other, claim in claims.items() if other != name}
