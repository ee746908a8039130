"""What a restore test makes, as the API server, the provisioner and a kubelet treat it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lifecycle.errors import Conflict, Gone
from lifecycle.model import Action, Kind, Ref, Step
from lifecycle.observed import Scratch
from lifecycle.operation import Goal
from lifecycle.verification import Examined, Leftover, scratch_name
from lifecycle.volumes import Claim, Snapshot, Volume
from lifecycle.workloads import Container, Pod
from tests.fakes import values

PROVISIONER = "csi.example.com"


@dataclass
class ScratchWorld:
    """``snapshots`` and ``cuts`` are the world's: a clone has what was cut."""

    snapshots: Mapping[str, Snapshot]
    cuts: Mapping[str, str]
    claims: dict[str, Claim] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    """What is on each volume."""
    pods: dict[str, Pod] = field(default_factory=dict)
    free: dict[str, Volume] = field(default_factory=dict)
    policy: str = "Delete"
    """The reclaim policy of the clones' classes."""
    never_run: set[str] = field(default_factory=set)
    """Members whose pods never start."""
    codes: dict[str, int] = field(default_factory=dict)
    """Exit codes by member, in place of what the data say."""
    reasons: dict[str, str] = field(default_factory=dict)
    """By member: why Kubernetes ends its pod."""
    held: set[str] = field(default_factory=set)
    """Names that stay Terminating."""
    sources: dict[str, Examined] = field(default_factory=dict)
    """By scratch name: what it is made for."""
    made: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.claims or self.volumes or self.pods)

    @property
    def leftovers(self) -> tuple[Leftover, ...]:
        pods = (Leftover(Ref(Kind.POD, one.name), one.made_by) for one in self.pods.values())
        return (*pods, *(Leftover(one.ref, one.made_by) for one in self.claims.values()))

    def picture(self, goal: Goal) -> Scratch:
        assert goal.verifying
        names = {scratch_name(goal.mark, one.claim): one for one in goal.verifying.members}
        self.sources |= names
        return Scratch(
            tuple(one for name, one in self.claims.items() if name in names),
            tuple(one for one in self.volumes.values() if one.claim in names),
            tuple(one for name, one in self.pods.items() if name in names),
            tuple(self.free.values()),
        )

    def uid_of(self, ref: Ref) -> str:
        kinds: dict[Kind, Mapping[str, Claim | Pod | Volume]] = {
            Kind.POD: self.pods,
            Kind.CLAIM: self.claims,
            Kind.VOLUME: self.volumes,
        }
        found = kinds[ref.kind].get(ref.name)
        return found.uid if found else ""

    def apply(self, step: Step, goal: Goal) -> str:
        name = step.ref.name
        if step.action in (Action.CLONE, Action.CHECK):
            return self._make(step.ref, goal)
        if self.uid_of(step.ref) != step.uid:
            raise Gone(f"{step.ref} is gone")
        if step.action is Action.LET_GO:
            self.volumes[name] = replace(self.volumes[name], policy="Delete")
        elif step.ref.kind is Kind.POD:
            self.pods[name] = replace(self.pods[name], deleting=True)
        else:
            volume = self._behind(name)
            if volume and volume.policy != "Delete":
                raise Conflict("its volume would stay")
            self.claims[name] = replace(self.claims[name], status=Claim.TERMINATING)
        return step.uid

    def _make(self, ref: Ref, goal: Goal) -> str:
        there = self.claims.get(ref.name) if ref.kind is Kind.CLAIM else self.pods.get(ref.name)
        if there is not None:
            if there.made_by != goal.mark:
                raise Conflict(f"{ref} is there already")
            return there.uid
        uid = self.new_uid(ref.name)
        if ref.kind is Kind.CLAIM:
            made = Claim(ref.name, uid, "Pending", created_at=values.NOW, made_by=goal.mark)
            self.claims[ref.name] = made
        else:
            self.pods[ref.name] = Pod(ref.name, uid, "Pending", made_by=goal.mark)
        return uid

    def new_uid(self, name: str) -> str:
        self.made += 1
        return f"uid-{name}-{self.made}"

    def _behind(self, claim: str) -> Volume | None:
        return self.volumes.get(self.claims[claim].volume)

    def move(self) -> None:
        """One move of every controller."""
        self._run()
        self._bind()
        self._reap()

    def bind(self, name: str) -> None:
        """Give the claim a volume of what was cut."""
        claim, source = self.claims[name], self.sources[name]
        volume = f"pvc-{claim.uid}"
        made = Volume(volume, f"uid-{volume}", self.policy, claim=name, claim_uid=claim.uid, provisioner=PROVISIONER)
        self.volumes[volume] = replace(made, created_at=values.NOW)
        self.data[volume] = self.cuts.get(self.snapshots[source.snapshot].handle, "")
        self.claims[name] = replace(claim, status="Bound", volume=volume)

    def _bind(self) -> None:
        """With WaitForFirstConsumer, when a pod waits for it."""
        for name, claim in list(self.claims.items()):
            pod = self.pods.get(name)
            if claim.status == "Pending" and pod and not pod.deleting and name in self.sources:
                self.bind(name)

    def _run(self) -> None:
        for name, pod in list(self.pods.items()):
            source, claim = self.sources.get(name), self.claims.get(name)
            if source is None or claim is None or claim.status != "Bound" or pod.deleting:
                continue
            if pod.phase == "Pending" and source.claim not in self.never_run:
                self.pods[name] = replace(pod, phase="Running")
            elif pod.phase == "Running":
                self.pods[name] = self._ended(pod, source, self.data[claim.volume])

    def _ended(self, pod: Pod, source: Examined, found: str) -> Pod:
        reason = self.reasons.get(source.claim, "")
        good = found == f"bytes of {source.claim}"
        code = 137 if reason else self.codes.get(source.claim, 0 if good else 1)
        return replace(
            pod,
            phase="Failed" if code else "Succeeded",
            reason=reason,
            containers=(Container("check", exit_code=code),),
        )

    def _reap(self) -> None:
        for name, pod in list(self.pods.items()):
            if pod.deleting and name not in self.held:
                del self.pods[name]
        for name, claim in list(self.claims.items()):
            if claim.status == Claim.TERMINATING and name not in self.pods and name not in self.held:
                del self.claims[name]
        uids = {claim.uid for claim in self.claims.values()}
        for name, volume in list(self.volumes.items()):
            if volume.claim_uid not in uids and volume.policy == "Delete":
                del self.volumes[name]
