"""The words for verbs, times and people that every view shares."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from bot.views.blocks import escape, quoted
from lifecycle.decide.delete import CAPTURE
from lifecycle.model import BOT, Kind, Person, Ref, Verb
from lifecycle.operation import Goal
from lifecycle.snapshots import ref_of

DOING = {
    Verb.STOP: "Stopping",
    Verb.START: "Starting",
    Verb.RESTART: "Restarting",
    Verb.DELETE: "Deleting",
    Verb.RESTORE: "Restoring",
    Verb.SNAPSHOT: "Cutting a snapshot set of",
    Verb.RESTORE_IN_PLACE: "Restoring in place",
    Verb.REMOVE: "Stopping and removing",
    Verb.RETURN: "Starting",
    Verb.VERIFY: "Verifying a snapshot set of",
    Verb.PURGE: "Purging what is kept of",
}
DONE = {
    Verb.STOP: "Stopped",
    Verb.START: "Started",
    Verb.RESTART: "Restarted",
    Verb.DELETE: "Deleted",
    Verb.RESTORE: "Restored",
    Verb.SNAPSHOT: "Cut a snapshot set of",
    Verb.RESTORE_IN_PLACE: "Restored in place",
    Verb.REMOVE: "Stopped and removed",
    Verb.RETURN: "Started",
    Verb.VERIFY: "Verified a snapshot set of",
    Verb.PURGE: "Purged what was kept of",
}
REACHED = {
    Verb.STOP: "stopped",
    Verb.START: "ready",
    Verb.RESTART: "restarted and ready",
    Verb.DELETE: "deleted",
    Verb.RESTORE: "as it was",
    Verb.SNAPSHOT: "saved in a snapshot set",
    Verb.RESTORE_IN_PLACE: "back at the snapshot set",
    Verb.REMOVE: "stopped and removed",
    Verb.RETURN: "ready",
    Verb.VERIFY: "restorable, as far as its checks tell",
    Verb.PURGE: "purged",
}
"""What the cluster is when the verb's goal was seen."""
ARRIVED = {
    "down": "stopped",
    "up": "ready",
    "rolling": "restarted and ready",
    "capture": "written down",
    "cut": "cut",
    "after": "set going again",
    "ready": "ready to restore from, and kept",
    "keep": "set to Retain",
    "remove": "removed",
    "remove-claims": "removed",
    "up-again": "ready again",
    "rebind": "bound anew",
    "make": "made",
    "bind": "bound as before",
    "clone": "made of its snapshot",
    "give-back": "with the reclaim policy of before",
    "claims": "Bound",
    "clones": "made",
    "check": "passed",
    "clean": "gone",
    "strays": "gone, the data stay",
    "release": "released: the data go with it",
    "forget": "gone, and the data with it",
    "give-up": "given up",
    "discard": "removed",
}
"""What an object is at the end of a phase."""
PHASES = {
    "down": "components down",
    "up": "components up",
    "capture": "every object written down",
    "cut": "volumes cut",
    "ready": "snapshots ready, and kept",
    "after": "command after the cut run",
    "keep": "volumes kept",
    "remove": "objects removed",
    "remove-claims": "claims removed",
    "up-again": "components up again",
    "rebind": "snapshots of the set bound anew",
    "make": "objects made",
    "bind": "claims bound to their old volumes, or made of the set",
    "clone": "claims made of the set",
    "give-back": "volumes' policies given back",
    "claims": "claims seen Bound",
    "clones": "clones made",
    "check": "checks passed",
    "clean": "nothing of the test left",
    "strays": "contents of before gone",
    "release": "snapshots' data released",
    "forget": "snapshots gone, with their data",
    "give-up": "kept volumes given up",
    "discard": "capture removed",
}
"""A phase of an operation that has several, by its end."""
COUNTED = frozenset({"secret", "service", "configmap"})
"""There are dozens, and nobody looks for one of them."""
KINDS = {
    "persistentvolumeclaim": "claim",
    "persistentvolume": "volume",
    "configmap": "config map",
    "volumesnapshot": "snapshot",
    "volumesnapshotcontent": "snapshot content",
    "volumegroupsnapshot": "volume group",
    "volumegroupsnapshotcontent": "volume group's content",
}
SEVERAL = {
    "persistentvolumeclaim": "claims {}",
    "persistentvolume": "the volumes of {}",
    "volumesnapshot": "the snapshots of {}",
}
"""One word for all of a kind, before the names of their claims."""


def object_label(goal: Goal, name: str) -> str:
    """An object by the word that people use; ``name`` is a Ref's text.

    A workload's component, a volume's claim, the capture, else kind and name; escaped.
    """
    if name == str(CAPTURE):
        return "the capture"
    if scratch := _scratch_label(goal, name):
        return scratch
    workload = next((one for one in goal.topology if str(one.ref) == name), None)
    if workload:
        return workload.label
    volume = next((one for one in goal.volumes if str(one.ref) == name), None)
    if volume:
        return f"the volume of {quoted(volume.claim)}"
    if name in (claims := _claims_of_snapshots(goal)):
        return f"the snapshot of {quoted(claims[name])}"
    kind, _, own = name.partition("/")
    return quoted(f"{KINDS.get(kind, kind)} {own}")


def _scratch_label(goal: Goal, name: str) -> str:
    """Of what a restore test makes, by the member that it is made for; empty for anything else."""
    kind, _, own = name.partition("/")
    member = goal.verifying.member(goal.mark, own) if goal.verifying else None
    return f"the {'check' if kind == 'pod' else 'clone'} of {quoted(member.claim)}" if member else ""


def _claims_of_snapshots(goal: Goal) -> dict[str, str]:
    members = goal.cutting.members if goal.cutting else ()
    cut = {str(ref_of(goal.mark, member.claim)): member.claim for member in members}
    lost = {str(Ref(Kind.SNAPSHOT, one.snapshot)): one.claim for one in goal.clones if one.is_lost}
    doomed = goal.purging.doomed if goal.purging else ()
    return cut | lost | {str(one.snapshot_ref): one.claim for one in doomed if one.group}


def object_labels(goal: Goal, names: Sequence[str]) -> list[str]:
    """Objects as people want to read of them: claims and volumes together, of Secrets and the like only how many."""
    if goal.verifying:
        return [object_label(goal, name) for name in names]
    kinds = {name: "" if name == str(CAPTURE) else name.partition("/")[0] for name in names}
    counted = Counter(kind for kind in kinds.values() if kind in COUNTED)
    single = [object_label(goal, name) for name, kind in kinds.items() if kind not in {*COUNTED, *SEVERAL}]
    together = [_together(goal, kind, [name for name in names if kinds[name] == kind]) for kind in SEVERAL]
    return [
        *single,
        *filter(None, together),
        *(f"{count} {KINDS.get(kind, kind)}{'s' if count > 1 else ''}" for kind, count in counted.items()),
    ]


def _together(goal: Goal, kind: str, names: Sequence[str]) -> str:
    """Claims, or volumes; empty where there are none. All that there are, is said so: their names are on the plan."""
    if len(names) < 2:
        return "".join(object_label(goal, name) for name in names)
    cut = _claims_of_snapshots(goal)
    known = {str(ref) for ref in (*(one.ref for one in goal.claims), *(one.ref for one in goal.volumes), *cut)}
    if set(names) == {name for name in known if name.startswith(f"{kind}/")}:
        return f"all {len(names)} {KINDS[kind]}s"
    claim_of = {str(volume.ref): volume.claim for volume in goal.volumes} | cut
    return SEVERAL[kind].format(listed([claim_of.get(name, name.partition("/")[2]) for name in names]))


def part_of(cluster: str, goal: Goal) -> str:
    """What an operation is about: the cluster, or of a restart the one component that it was asked for."""
    if goal.is_wide:
        return cluster
    labels = {workload.component for workload in goal.scope}
    whole = {workload.component for workload in goal.topology} - {goal.topology[ref].component for ref in goal.left}
    return f"{labels.pop()} of {cluster}" if len(labels) == 1 < len(whole) else cluster


def mention(person: Person) -> str:
    if person == BOT:
        return "the bot"
    return f"<@{escape(person.user)}>"


def when(moment: datetime) -> str:
    """A time in each reader's own zone, with UTC for clients that cannot."""
    fallback = moment.strftime("%Y-%m-%d %H:%M UTC")
    return f"<!date^{int(moment.timestamp())}^{{date_short_pretty}} {{time_secs}}|{fallback}>"


def duration(span: timedelta) -> str:
    """Two units at most: 2h3m, 4m10s, 35s, 0.4s."""
    seconds = span.total_seconds()
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    first = next(index for index, (count, _) in enumerate(parts) if count)
    return "".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count)


def listed(names: list[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"
