"""What everything else speaks of: verbs, components, objects by kind and name, steps, people and places."""

import re
from dataclasses import dataclass
from enum import StrEnum


class Verb(StrEnum):
    """What can be asked for."""

    STOP = "stop"
    START = "start"
    RESTART = "restart"
    DELETE = "delete"
    RESTORE = "restore"
    SNAPSHOT = "snapshot"
    RESTORE_IN_PLACE = "restore-in-place"
    REMOVE = "remove"
    """A stop with --remove."""
    RETURN = "return"
    """A start of what that took away."""
    VERIFY = "verify"
    PURGE = "purge"

    @property
    def words(self) -> str:
        """What people call it; what they type is a stop, a start or a restore."""
        longer = {
            Verb.REMOVE: "stop and remove",
            Verb.RETURN: "start",
            Verb.RESTORE_IN_PLACE: "restore in place",
        }
        return longer.get(self, self.value)


class Component(StrEnum):
    """A part of a TML cluster, by the word people use for it."""

    NOSQL = "nosql"
    LOG = "log"
    CM = "cm"
    SQL = "sql"
    CACHE = "cache"
    TM = "tm"
    REPORTING = "reporting"


DATABASES = frozenset({Component.NOSQL, Component.SQL})
"""Components whose containers lose work when they are killed instead of stopped (domain, section 5)."""
CLAIM_NAME = re.compile(r"(?P<component>nosql|log|sql|cache|reporting)vol-(?P<set>.+)-\d+")
"""A claim of the vendor's, by the StatefulSet that it is of (domain, section 1)."""
KILLED = 137
"""The exit code of a container that was still running when its grace period ended (128 + SIGKILL)."""


class Kind(StrEnum):
    """The Kubernetes kinds that a TML cluster is made of; the first two run its components."""

    STATEFUL_SET = "StatefulSet"
    DEPLOYMENT = "Deployment"
    SERVICE = "Service"
    SECRET = "Secret"
    CONFIG_MAP = "ConfigMap"
    CLAIM = "PersistentVolumeClaim"
    VOLUME = "PersistentVolume"
    SNAPSHOT = "VolumeSnapshot"
    POD = "Pod"
    """Only those of checks, which no controller makes."""
    CONTENT = "VolumeSnapshotContent"
    GROUP = "VolumeGroupSnapshot"
    GROUP_CONTENT = "VolumeGroupSnapshotContent"


@dataclass(frozen=True, order=True)
class Ref:
    """An object by kind and name: within the cluster's namespace, or a PersistentVolume, which is in none."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


@dataclass(frozen=True)
class Target:
    """The identity of a TML cluster: object names are the same in all of them.

    ``context`` is one of the kubeconfig; None means the cluster the bot itself runs in.
    """

    context: str | None
    namespace: str

    def __str__(self) -> str:
        return f"{self.context or 'in-cluster'}/{self.namespace}"


class Action(StrEnum):
    """What a step does to its object."""

    FLUSH = "flush"
    """Of a StatefulSet of nosql: have its pods write to their volumes what they hold in memory."""
    SCALE_TO_ZERO = "scale-to-zero"
    SCALE_UP = "scale-up"
    ROLLOUT_RESTART = "rollout-restart"
    CAPTURE = "capture"
    CUT = "cut"
    """Of a claim: make its snapshot. Of a volume group: make it, of all claims that bear its label."""
    LABEL = "label"
    """Of a claim: put it into the volume group of its set."""
    RETAIN = "retain"
    """Of a claim, or a volume group: let its snapshot's content outlive the namespace. The uid is the snapshot's."""
    KEEP = "keep"
    REMOVE = "remove"
    MAKE = "make"
    OVERWRITE = "overwrite"
    REBIND = "rebind"
    GIVE_BACK = "give-back"
    CLONE = "clone"
    """Of a scratch claim: make it, of its member's snapshot."""
    CHECK = "check"
    """Of a pod: make it, to look at the clone of the same name."""
    LET_GO = "let-go"
    """Of a clone's volume: let it go with its claim."""
    CLEAN = "clean"
    """Of a scratch claim or a check's pod: remove it."""
    RELEASE = "release"
    """Of a snapshot's content: let the data go with it."""
    QUIESCE = "quiesce"
    """Of a workload: run the command before in a pod of it, cut all, run the one after, whatever came of the others."""
    RESUME = "resume"
    """Of the same: run the command after, and nothing else."""
    GIVE_UP = "give-up"
    """Of a kept volume: its reclaim policy of before, with no claim left."""


@dataclass(frozen=True, order=True)
class Step:
    """One write to one object: to that with this ``uid`` and no namesake, or a new one where it is empty.

    ``replicas`` is the count that is taken away, asked for or kept.
    """

    action: Action
    ref: Ref
    replicas: int = 0
    uid: str = ""

    @property
    def key(self) -> str:
        """Unique within an operation: the same step tried again is the same step."""
        return f"{self.action} {self.ref}"


@dataclass(frozen=True)
class Person:
    """Who asks, by Slack's ids; names are for reading and decide nothing."""

    team: str
    user: str

    def __str__(self) -> str:
        return f"{self.team}/{self.user}"


BOT = Person("", "tml-bot")
"""Who asks where nobody did: the bot, because time passed."""


@dataclass(frozen=True)
class Place:
    """Where something was asked for or is told: a channel, and a message in it if there is one."""

    team: str
    channel: str
    ts: str | None = None
