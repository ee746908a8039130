"""A cluster as its plan needs it: what is configured, what Kubernetes says, what the bot remembers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.captures import require_copies
from bot.planning.returning import Left, lost, missing_in_words
from bot.settings import ClusterSettings
from lifecycle import configuration
from lifecycle.decide.preflight import absent
from lifecycle.errors import Deleted, MissingRights, NothingFound, OtherKubernetes, Removed, Unsafe
from lifecycle.model import Verb
from lifecycle.observed import Discovery
from lifecycle.operation import Goal, Operation
from lifecycle.plan import Plan, plan
from lifecycle.ports import Cluster, Right, Use
from storage.memory import Memory


@dataclass(frozen=True)
class Found:
    """A cluster that is there, and what of it is not; ``last`` is its newest operation that touched it."""

    discovery: Discovery
    last: Operation | None

    def plan(self, goal: Goal) -> Plan:
        """With what has to be known at the end to say whether the API configuration is there."""
        doubted = configuration.doubted(self.last, self.discovery.observed.claims)
        return plan(replace(goal, mode=self.discovery.mode, doubted=doubted), self.discovery)


@dataclass(frozen=True)
class Known:
    """One configured cluster, the door to it and the bot's memory."""

    name: str
    settings: ClusterSettings
    cluster: Cluster
    memory: Memory

    async def require_rights(self, verb: Verb) -> None:
        self._refuse_without(verb.words, await self.cluster.missing_rights(verb), "deploy/rbac")

    async def require_rights_to(self, use: Use, file: str) -> None:
        """``file`` of `deploy/rbac/` grants them."""
        self._refuse_without(use.value, await self.cluster.missing_rights_to(use), f"deploy/rbac/{file}")

    def _refuse_without(self, doing: str, missing: Sequence[Right], where: str) -> None:
        if missing:
            raise MissingRights(
                f"Kubernetes does not let the bot {doing} in {self.cluster.target.namespace}. Missing: "
                f"{', '.join(str(right) for right in missing)}. Grant it (see {where}), then try again."
            )

    async def require_same_kubernetes(self, *operations: Operation) -> None:
        """Raises OtherKubernetes where one of them kept what it kept in another Kubernetes cluster."""
        here = await self.cluster.identity()
        for one in operations:
            if one.goal.kubernetes not in ("", here):
                raise OtherKubernetes(one)

    async def require_rebinding(self) -> None:
        if missing := await self.cluster.missing_rights_to(Use.REBIND):
            raise MissingRights(
                "The snapshots of this set are gone, and Kubernetes does not let the bot bind it anew. Missing: "
                f"{', '.join(map(str, missing))}. Grant it (see deploy/rbac/captures.yaml), then try again."
            )

    async def written_down(self, goal: Goal) -> Goal:
        """The goal with where its capture goes. Raises NoNamespace and MissingRights where it could not be copied."""
        if self.settings.copy_to is None:
            return goal
        await require_copies(self.cluster, [self.settings.copy_to])
        return replace(goal, copies=(self.settings.copy_to,), home=await self.cluster.home())

    async def found(self, left: Left | None = None) -> Found:
        """Raises Deleted or Removed where there is nothing because the bot took it away.

        ``left`` is what is left for a start that has no capture to bring it back from.
        """
        discovery = await self._discovered(left)
        last = await self.memory.operations.latest_change(self.name)
        gone = (*absent(discovery, last.goal.topology if last else ()), *(missing_in_words(left) if left else ()))
        return Found(replace(discovery, absent=gone), last)

    async def _discovered(self, left: Left | None) -> Discovery:
        try:
            return await self.cluster.discover()
        except NothingFound as nothing:
            if left:
                raise Unsafe(lost(left)) from None
            if removal := await self.memory.operations.removed(self.name):
                raise Removed(removal) from None
            if removal := await self.memory.operations.last_removal(self.name):
                raise Deleted(removal) from None
            raise await self._taken_by_hand(nothing) from None

    async def _taken_by_hand(self, nothing: NothingFound) -> NothingFound:
        """Where the claims are still there somebody ran the vendor's stop script, or did the same."""
        if not nothing.claims:
            return nothing
        last = await self.memory.operations.latest(self.name)
        missing = ", ".join(str(workload.ref) for workload in last.goal.topology) if last else "every workload"
        return NothingFound(
            f"{self.name} was removed, and not by this bot: {len(nothing.claims)} claims are there ("
            f"{', '.join(claim.name for claim in nothing.claims)}), and no capture says how the rest was. "
            f"Missing: {missing}. Make it again with what made it (the vendor's start script): it finds its claims "
            "by their names.",
            nothing.claims,
        )
