"""Which component needs which: the only order there is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from lifecycle.model import Component, Ref
from lifecycle.workloads import Workload

NEEDS: dict[Component, frozenset[Component]] = {
    Component.NOSQL: frozenset(),
    Component.LOG: frozenset({Component.NOSQL}),
    Component.CM: frozenset({Component.NOSQL, Component.LOG}),
    Component.SQL: frozenset({Component.NOSQL, Component.LOG}),
    Component.CACHE: frozenset({Component.NOSQL, Component.LOG}),
    Component.TM: frozenset({Component.SQL, Component.CACHE, Component.LOG, Component.NOSQL}),
    Component.REPORTING: frozenset({Component.LOG}),
}
"""A component needs these in EVERY zone: they write their logs and register there (domain, section 4)."""


@dataclass(frozen=True)
class Topology:
    """The workloads of a cluster, lowest need first, and what follows from NEEDS for them."""

    workloads: tuple[Workload, ...]

    def __iter__(self) -> Iterator[Workload]:
        return iter(self.workloads)

    def __len__(self) -> int:
        return len(self.workloads)

    def __getitem__(self, ref: Ref) -> Workload:
        return self._by_ref[ref]

    @cached_property
    def _by_ref(self) -> dict[Ref, Workload]:
        return {workload.ref: workload for workload in self.workloads}

    @cached_property
    def _needs(self) -> dict[Ref, tuple[Workload, ...]]:
        return {one.ref: tuple(other for other in self.workloads if needs(one, other)) for one in self.workloads}

    @cached_property
    def _needing(self) -> dict[Ref, tuple[Workload, ...]]:
        return {one.ref: tuple(other for other in self.workloads if needs(other, one)) for one in self.workloads}

    def needs_of(self, workload: Workload) -> tuple[Workload, ...]:
        """What has to be ready before it."""
        return self._needs[workload.ref]

    def needing(self, workload: Workload) -> tuple[Workload, ...]:
        """What has to be gone before it."""
        return self._needing[workload.ref]

    @cached_property
    def levels(self) -> tuple[tuple[Workload, ...], ...]:
        """The workloads by the length of the longest chain of needs beneath them."""
        depth: dict[Ref, int] = {}
        for workload in self.workloads:
            depth[workload.ref] = 1 + max((depth[need.ref] for need in self.needs_of(workload)), default=-1)
        deepest = max(depth.values(), default=-1)
        return tuple(
            tuple(workload for workload in self.workloads if depth[workload.ref] == level)
            for level in range(deepest + 1)
        )


def needs(one: Workload, other: Workload) -> bool:
    """Whether ``one`` can be ready only after ``other``.

    The nosql of zone 0 is the seed; those of the other zones join it one after another.
    """
    if one.component is other.component is Component.NOSQL:
        return other.zone < one.zone
    return other.component in NEEDS[one.component]


def arranged(workloads: Iterable[Workload]) -> Topology:
    """The topology of these workloads, in the order in which they can start."""
    rank = {component: position for position, component in enumerate(Component)}
    return Topology(
        tuple(sorted(workloads, key=lambda workload: (rank[workload.component], workload.zone, workload.ref)))
    )
