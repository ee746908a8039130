"""The YAML file as it is written, and a line for everything that is wrong with it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from bot import marked_yaml
from bot.marked_yaml import Document, Location
from bot.written import (
    Argument,
    Channel,
    Duration,
    Namespace,
    Operator,
    StopMode,
    Team,
    Text,
    User,
    Viewer,
    WebAddress,
    Word,
    YesOrNo,
    as_cluster_name,
    as_component,
    as_component_name,
    as_count,
    as_pattern,
    as_people,
    as_phase_name,
    as_port,
    as_stop_mode,
    as_yes_or_no,
    shown,
    unknown,
)
from lifecycle.approval import GROUP, Terms
from lifecycle.checks import Check
from lifecycle.model import Component, Target
from lifecycle.quiescing import HotCommands
from lifecycle.retention import KEEP_VOLUMES

DATA_DIR = Path("var/tml-bot")
HEALTH_PORT = 8080


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Approval(_Written):
    """``approvers`` come last: whether they are enough depends on the others."""

    needed: Annotated[int, BeforeValidator(as_people)] = 1
    next_approvers: tuple[Annotated[str, Operator], ...] = ()
    escalate_after: Duration = Terms.escalate_after
    expires: Duration = Terms.expires_after
    execute_within: Duration = Terms.execute_within
    reason_required: YesOrNo = True
    approvers: Annotated[tuple[Annotated[str, Operator], ...], Field(validate_default=True)] = ()

    @field_validator("needed")
    @classmethod
    def _somebody_else(cls, needed: int) -> int:
        if not needed:
            raise ValueError("expected at least 1: a delete always needs a second person")
        return needed

    @field_validator("approvers")
    @classmethod
    def _enough(cls, approvers: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        needed = info.data.get("needed", 0)
        listed = {*approvers, *info.data.get("next_approvers", ())}
        if needed and not approvers:
            raise ValueError("expected user ids (U…/W…) or user groups (@S…): nobody could approve")
        if len(listed) < needed and not any(entry.startswith(GROUP) for entry in listed):
            raise ValueError(
                f"{needed} have to approve, but only {len(listed)} are listed; list more, or a group (@S…)"
            )
        return approvers

    def terms(self) -> Terms:
        return Terms(
            needed=self.needed,
            tiers=tuple(tier for tier in (self.approvers, self.next_approvers) if tier),
            expires_after=self.expires,
            execute_within=self.execute_within,
            escalate_after=self.escalate_after,
            reason_required=self.reason_required,
        )


class _Approvals(_Written):
    """What is left out is as in UNCONFIGURED."""

    delete: _Approval = _Approval.model_construct()
    restore_in_place: _Approval | None = None
    purge: _Approval | None = None
    """These two are as for a delete, where nothing is written."""

    def terms(self) -> dict[str, Terms]:
        return {
            "delete": self.delete.terms(),
            "restore-in-place": (self.restore_in_place or self.delete).terms(),
            "purge": (self.purge or self.delete).terms(),
        }


class WrittenComponent(_Written):
    snapshot: YesOrNo | None = None
    verify: tuple[Annotated[str, Argument], ...] = ()

    @field_validator("verify", mode="before")
    @classmethod
    def _command(cls, words: object) -> object:
        if not isinstance(words, list) or not words:
            raise ValueError(f"expected a command as a list, such as [sh, -c, test -s /mnt/data], got {shown(words)}")
        return words


class _Check(_Written):
    component: Annotated[Component, BeforeValidator(as_component)]
    command: Annotated[tuple[Annotated[str, Argument], ...], Field(min_length=1)]
    expects: Annotated[str, BeforeValidator(as_pattern)]
    container: Annotated[str, Word] = Check.container
    timeout: Duration = Check.timeout
    within: Duration = Check.within

    def check(self) -> Check:
        return Check(self.component, self.command, self.expects, self.container, self.timeout, self.within)


class _HotCommands(_Written):
    component: Annotated[Component, BeforeValidator(as_component)]
    before: Annotated[tuple[Annotated[str, Argument], ...], Field(min_length=1)]
    after: Annotated[tuple[Annotated[str, Argument], ...], Field(min_length=1)]
    container: Annotated[str, Word] = HotCommands.container
    timeout: Duration = HotCommands.timeout
    hold: Duration = HotCommands.hold

    def commands(self) -> HotCommands:
        return HotCommands(self.component, self.before, self.after, self.container, self.timeout, self.hold)


class _Snapshots(_Written):
    keep_last: Annotated[int | None, BeforeValidator(partial(as_count, what="sets"))] = None
    keep_days: Annotated[int | None, BeforeValidator(partial(as_count, what="days"))] = None
    verify_every: Duration | None = None


class _Captures(_Written):
    copy_to: Annotated[str | None, Namespace] = None


class WrittenCluster(_Written):
    context: Annotated[str | None, Text] = None
    namespace: Annotated[str, Namespace]
    environment: Annotated[str, Word]
    channel: Annotated[str | None, Channel] = None
    operators: tuple[Annotated[str, Operator], ...] = ()
    viewers: tuple[Annotated[str, Viewer], ...] = ()
    probe_url: Annotated[str | None, WebAddress] = None
    deadlines: dict[Annotated[str, BeforeValidator(as_phase_name)], Duration] = Field(default_factory=dict)
    approval: _Approvals = _Approvals()
    keep_services: Annotated[bool | None, BeforeValidator(as_yes_or_no)] = None
    allow_unrecoverable: YesOrNo = False
    snapshot_on_stop: YesOrNo = False
    keep_volumes: Duration = KEEP_VOLUMES
    snapshots: _Snapshots = _Snapshots()
    captures: _Captures = _Captures()
    components: dict[Annotated[str, BeforeValidator(as_component_name)], WrittenComponent] = Field(default_factory=dict)
    configuration_check: _Check | None = None
    hot_commands: _HotCommands | None = None
    stop_mode: Annotated[StopMode, BeforeValidator(as_stop_mode)] = StopMode.SCALE

    @field_validator("captures")
    @classmethod
    def _elsewhere(cls, captures: _Captures, info: ValidationInfo) -> _Captures:
        if captures.copy_to and captures.copy_to == info.data.get("namespace"):
            raise ValueError("copy_to: expected another namespace than the cluster's own, whose loss it is for")
        return captures

    @field_validator("stop_mode")
    @classmethod
    def _one_at_a_time(cls, mode: StopMode, info: ValidationInfo) -> StopMode:
        if mode is StopMode.REMOVE and info.data.get("snapshot_on_stop"):
            raise ValueError("a stop that removes takes no snapshot set: drop this, or snapshot_on_stop")
        return mode


class _CommandLine(_Written):
    team: Annotated[str, Team]
    people: dict[Annotated[str, Word], Annotated[str, User]] = Field(min_length=1)


class File(_Written):
    command_line: _CommandLine | None = None
    channel: Annotated[str | None, Channel] = None
    data_dir: Annotated[Path, Text] = DATA_DIR
    health_port: Annotated[int, BeforeValidator(as_port)] = HEALTH_PORT
    clusters: Annotated[dict[Annotated[str, BeforeValidator(as_cluster_name)], WrittenCluster], Field(min_length=1)]


def read_file(path: Path, problems: list[str]) -> File | None:
    try:
        document = marked_yaml.read(path.read_text(encoding="utf-8"))
    except marked_yaml.Unreadable as error:
        problems.append(f"{path}:{error.line}: {error}")
        return None
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
        return None
    except UnicodeDecodeError as error:
        problems.append(f"{path}: cannot be read: byte {error.start} is not UTF-8")
        return None
    found = sorted({*_doubles(document), *_between_clusters(document)})
    try:
        file = File.model_validate(document.data)
    except ValidationError as error:
        found = sorted({*found, *(_problem(document, details) for details in error.errors(include_url=False))})
        file = None
    problems.extend(f"{path}:{line}: {text}" for line, text in found)
    return file


def _doubles(document: Document) -> Iterator[tuple[int, str]]:
    for double in document.doubles:
        yield double.line, f"{_place(double.location)}: written twice, first in line {double.first_line}"


def _between_clusters(document: Document) -> Iterator[tuple[int, str]]:
    """What no cluster shows by itself: one that is told nowhere, two names for one."""
    top = document.data if isinstance(document.data, dict) else {}
    clusters = top.get("clusters")
    seen: dict[tuple[object, object], str] = {}
    for name, cluster in clusters.items() if isinstance(clusters, dict) else ():
        if not isinstance(cluster, dict):
            continue
        line = document.line_of(("clusters", name))
        if "channel" not in top and "channel" not in cluster:
            yield line, f"clusters.{name}: no channel; name one here, or one for all clusters at the top"
        target = (cluster.get("context"), cluster.get("namespace"))
        if isinstance(target[1], str) and isinstance(target[0], (str, type(None))):
            first = seen.setdefault(target, name)
            if first != name:
                same = f"the same context and namespace ({Target(target[0], target[1])})"
                yield line, f"clusters.{name}: {same} as clusters.{first}; a cluster has one name"


def _problem(document: Document, details: ErrorDetails) -> tuple[int, str]:
    location: Location = details["loc"]
    if location and location[-1] == "[key]":
        location = location[:-1]
    place = _place(location)
    said = wording(location, details)
    return document.line_of(location), f"{place}: {said}" if place else said


def _place(location: Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part[:60]}"
    return text.removeprefix(".")


def wording(location: Location, details: ErrorDetails) -> str:
    got = shown(details["input"])
    if details["type"] == "extra_forbidden":
        return unknown("key", str(location[-1]), tuple(_mapping_at(location[:-1]).model_fields))
    if details["type"] == "value_error":
        return str(details["ctx"]["error"])
    answers = {
        "missing": "missing",
        "too_short": "expected at least one cluster" if location == ("clusters",) else "expected at least one",
        "tuple_type": f"expected a list, got {got}",
        "dict_type": f"expected a mapping, got {got}",
        "model_type": f"expected a mapping, got {got}",
    }
    return answers.get(details["type"], details["msg"])


def _mapping_at(location: Location) -> type[BaseModel]:
    match location:
        case ():
            return File
        case ("clusters", _):
            return WrittenCluster
        case ("command_line",):
            return _CommandLine
        case ("clusters", _, "approval"):
            return _Approvals
        case ("clusters", _, "snapshots"):
            return _Snapshots
        case ("clusters", _, "captures"):
            return _Captures
        case ("clusters", _, "components", _):
            return WrittenComponent
        case ("clusters", _, "configuration_check"):
            return _Check
        case ("clusters", _, "hot_commands"):
            return _HotCommands
        case _:
            return _Approval
