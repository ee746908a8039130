"""What the bot is told before it starts: one YAML file, and secrets from the environment."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from bot import grammar, marked_yaml
from bot.marked_yaml import Document, Location
from lifecycle.approval import GROUP, Terms
from lifecycle.checks import Check
from lifecycle.decide import NAMES
from lifecycle.model import Component, Target
from lifecycle.plain import digest, to_plain
from lifecycle.retention import KEEP_VOLUMES, Policy

SLACK_API_URL = "https://slack.com/api/"
DATA_DIR = Path("var/tml-bot")
HEALTH_PORT = 8080
PRODUCTION = "production"
BOT_TOKENS = ("xoxb-", "xoxe.xoxb-")
APP_TOKENS = ("xapp-",)

DURATION = re.compile(r"(?:(\d{1,3})d)?(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?")

ALL_STAY = Policy()

UNCONFIGURED: Mapping[str, Terms] = MappingProxyType(
    dict.fromkeys(("delete", "restore-in-place", "purge"), Terms(1, reason_required=True))
)
"""Approvals that nobody can give, so that what the configuration does not speak of is refused and not let through."""

TOKEN = re.compile(r"x(?:ox[a-z]|app)[-.][^\s'\",;]+", re.IGNORECASE)
"""What Slack's tokens look like; wherever one was written by mistake, no error repeats it."""


class SettingsError(Exception):
    """The configuration cannot be used; one line of the text for every problem found."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(TOKEN.sub("(a token)", problem) for problem in problems)
        super().__init__("\n".join(self.problems))


class StopMode(StrEnum):
    """What a stop does besides taking the components down."""

    SCALE = "scale"
    REMOVE = "remove"


@dataclass(frozen=True)
class ClusterSettings:
    """One TML cluster: where it is, who may do what to it, where it is told.

    ``operators`` and ``viewers`` hold user ids and groups as written (`U…`, `W…`, `@S…`, and `*` among viewers).
    """

    name: str
    namespace: str
    environment: str
    channel: str
    context: str | None = None
    operators: tuple[str, ...] = ()
    viewers: tuple[str, ...] = ()
    probe_url: str | None = None
    deadlines: Mapping[str, timedelta] = field(default_factory=dict)
    """By phase name; a phase that is not in it takes as long as its topology says."""
    approval: Mapping[str, Terms] = field(default_factory=lambda: UNCONFIGURED)
    """By verb, what needs the yes of others; a verb that is not in it needs none."""
    keep_services: bool = True
    """Whether a delete, or a stop that removes, leaves Services, and so the gateway's address, where they are."""
    unsaved: frozenset[Component] = frozenset({Component.CACHE})
    """Components whose volumes are in no snapshot set."""
    snapshot_on_stop: bool = False
    """Whether a stop takes a set while everything is down."""
    configuration_check: Check | None = None
    """What shows that the API configuration is there; without it that cannot be seen."""
    stop_mode: StopMode = StopMode.SCALE
    checks: Mapping[Component, tuple[str, ...]] = field(default_factory=dict)
    """What a restore test runs, where that is not the default."""
    keep_volumes: timedelta = KEEP_VOLUMES
    """How long the volumes of a delete are kept, and by how much *Keep longer* keeps them."""
    retention: Policy = ALL_STAY
    """Which snapshot sets stay."""

    @property
    def is_production(self) -> bool:
        """Whether stop, start and restart ask back first."""
        return is_production(self.environment)

    @property
    def target(self) -> Target:
        return Target(self.context, self.namespace)


def is_production(environment: str) -> bool:
    return environment.lower() == PRODUCTION


@dataclass(frozen=True)
class Settings:
    """Everything, checked. Secrets are SecretStr: no repr shows them.

    ``kubeconfig`` has KUBECONFIG's own meaning: one path or several; None is the client's default. A relative
    ``data_dir`` is relative to where the bot was started; ``health_port`` 0 takes any free port.
    """

    clusters: Mapping[str, ClusterSettings]
    bot_token: SecretStr
    app_token: SecretStr
    database_url: SecretStr
    channel: str | None = None
    data_dir: Path = DATA_DIR
    health_port: int = HEALTH_PORT
    slack_api_url: str = SLACK_API_URL
    kubeconfig: str | None = None


def load_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """The settings from the file at ``path`` and from ``environ``; raises SettingsError with every problem at once."""
    problems: list[str] = []
    file = _read_file(path, problems)
    environment = _read_environment(environ, problems)
    bot_token = _token(
        "SLACK_BOT_TOKEN", environment.slack_bot_token, environment.slack_bot_token_file, BOT_TOKENS, problems
    )
    app_token = _token(
        "SLACK_APP_TOKEN", environment.slack_app_token, environment.slack_app_token_file, APP_TOKENS, problems
    )
    if problems or file is None:
        raise SettingsError(problems)
    return Settings(
        clusters=MappingProxyType({name: _cluster(name, written, file) for name, written in file.clusters.items()}),
        bot_token=bot_token,
        app_token=app_token,
        database_url=environment.tml_bot_database_url or default_database_url(file.data_dir),
        channel=file.channel,
        data_dir=file.data_dir,
        health_port=file.health_port,
        slack_api_url=environment.slack_api_url.removesuffix("/") + "/",
        kubeconfig=environment.kubeconfig,
    )


def default_database_url(data_dir: Path) -> SecretStr:
    """SQLite in the data directory."""
    return SecretStr(f"sqlite+aiosqlite:///{data_dir / 'tml-bot.db'}")


def settings_digest(settings: Settings) -> str:
    """SHA-256 of what the file says; nothing from the environment, so no secret, goes into it."""
    return digest(
        {
            "channel": settings.channel,
            "data_dir": str(settings.data_dir),
            "health_port": settings.health_port,
            "clusters": {name: to_plain(cluster) for name, cluster in settings.clusters.items()},
        }
    )


def _shown(value: object) -> str:
    """A value as an error shows it: short, and never the inside of a list or mapping."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the yes-or-no value {str(value).lower()}"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) >= 10**30:  # Python refuses to write down integers of 4,300 digits
        return "a very large number"
    text = repr(TOKEN.sub("(a token)", value) if isinstance(value, str) else value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _matching(pattern: str, expected: str) -> BeforeValidator:
    def check(value: object) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        hint = " (put it in quotes)" if isinstance(value, (bool, int, float)) else ""
        raise ValueError(f"expected {expected}, got {_shown(value)}{hint}")

    return BeforeValidator(check)


def _cluster_name(value: str) -> str:
    if value in grammar.RESERVED:
        raise ValueError(f"{value!r} is a command's word; call the cluster something else")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", value):
        raise ValueError("expected a cluster name of at most 40 characters a-z, 0-9 and -, not beginning with -")
    return value


def _phase_name(value: str) -> str:
    if value not in NAMES:
        raise ValueError(_unknown("phase", value, NAMES))
    return value


def _component_name(value: str) -> str:
    known = [component.value for component in Component]
    if value not in known:
        raise ValueError(_unknown("component", value, known))
    return value


def _duration(value: object) -> timedelta:
    parts = DURATION.fullmatch(value) if isinstance(value, str) else None
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups()) if parts else (0, 0, 0, 0)
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not length:
        raise ValueError(f"expected a duration such as 90s, 10m, 1h30m or 7d, got {_shown(value)}")
    return length


def _component(value: object) -> Component:
    found = next((component for component in Component if component == value), None)
    if found is None:
        raise ValueError(f"expected one of {', '.join(Component)}, got {_shown(value)}")
    return found


def _pattern(value: object) -> str:
    """A regular expression; what it was is not repeated, for people may look for a secret."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a regular expression that is searched for, got {_shown(value)}")
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"expected a regular expression: {error.msg} at {error.pos}") from None
    return value


def _people(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 99:
        raise ValueError(f"expected a number of people, got {_shown(value)}")
    return value


def _count(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 9999:
        raise ValueError(f"expected a number of {what}, at least 1, got {_shown(value)}")
    return value


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {_shown(value)}")
    return value


def _stop_mode(value: object) -> StopMode:
    if value not in list(StopMode):
        raise ValueError(f"expected {' or '.join(StopMode)}, got {_shown(value)}")
    return StopMode(str(value))


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise ValueError(f"expected a port between 0 and 65535, got {_shown(value)}")
    return value


def _web_address(value: object) -> str:
    if not isinstance(value, str) or not _is_web_address(value):
        raise ValueError(f"expected an address that begins with http:// or https://, got {_address_shown(value)}")
    if "@" in urlsplit(value).netloc:
        raise ValueError("expected an address without a user or a password: it is shown to people")
    return value


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in value
    except ValueError:
        return False


def _database_address(value: object) -> object:
    if isinstance(value, str) and not value.startswith("sqlite+aiosqlite://"):
        raise ValueError("expected an SQLite address, which begins with sqlite+aiosqlite://")
    return value


def _address_shown(value: object) -> str:
    return "one with a user or a password" if isinstance(value, str) and "@" in value else _shown(value)


Text = _matching(r"(?s).*\S.*", "text")
Argument = _matching(r"(?s).+", "text")
Channel = _matching(r"[CG][A-Z0-9]{2,20}", "a channel id (C… or G…)")
Namespace = _matching(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", "a namespace's name")
Word = _matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", f"one word such as {PRODUCTION} or staging")
Operator = _matching(r"[UW][A-Z0-9]{2,20}|@S[A-Z0-9]{2,20}", "a user id (U…/W…) or a user group (@S…)")
Viewer = _matching(r"[UW][A-Z0-9]{2,20}|@S[A-Z0-9]{2,20}|\*", 'a user id (U…/W…), a user group (@S…) or "*"')
WebAddress = BeforeValidator(_web_address)


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


Duration = Annotated[timedelta, BeforeValidator(_duration)]
YesOrNo = Annotated[bool, BeforeValidator(_yes_or_no)]


class _Approval(_Written):
    """``approvers`` come last: whether they are enough depends on the others."""

    needed: Annotated[int, BeforeValidator(_people)] = 1
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


class _Component(_Written):
    snapshot: YesOrNo | None = None
    verify: tuple[Annotated[str, Argument], ...] = ()

    @field_validator("verify", mode="before")
    @classmethod
    def _command(cls, words: object) -> object:
        if not isinstance(words, list) or not words:
            raise ValueError(f"expected a command as a list, such as [sh, -c, test -s /mnt/data], got {_shown(words)}")
        return words


class _Check(_Written):
    component: Annotated[Component, BeforeValidator(_component)]
    command: Annotated[tuple[Annotated[str, Argument], ...], Field(min_length=1)]
    expects: Annotated[str, BeforeValidator(_pattern)]
    container: Annotated[str, Word] = Check.container
    timeout: Duration = Check.timeout
    within: Duration = Check.within

    def check(self) -> Check:
        return Check(self.component, self.command, self.expects, self.container, self.timeout, self.within)


class _Retention(_Written):
    keep_last: Annotated[int | None, BeforeValidator(partial(_count, what="sets"))] = None
    keep_days: Annotated[int | None, BeforeValidator(partial(_count, what="days"))] = None


class _Cluster(_Written):
    context: Annotated[str | None, Text] = None
    namespace: Annotated[str, Namespace]
    environment: Annotated[str, Word]
    channel: Annotated[str | None, Channel] = None
    operators: tuple[Annotated[str, Operator], ...] = ()
    viewers: tuple[Annotated[str, Viewer], ...] = ()
    probe_url: Annotated[str | None, WebAddress] = None
    deadlines: dict[Annotated[str, BeforeValidator(_phase_name)], Duration] = Field(default_factory=dict)
    approval: _Approvals = _Approvals()
    keep_services: Annotated[bool | None, BeforeValidator(_yes_or_no)] = None
    snapshot_on_stop: YesOrNo = False
    keep_volumes: Duration = KEEP_VOLUMES
    snapshots: _Retention = _Retention()
    components: dict[Annotated[str, BeforeValidator(_component_name)], _Component] = Field(default_factory=dict)
    configuration_check: _Check | None = None
    stop_mode: Annotated[StopMode, BeforeValidator(_stop_mode)] = StopMode.SCALE

    @field_validator("stop_mode")
    @classmethod
    def _one_at_a_time(cls, mode: StopMode, info: ValidationInfo) -> StopMode:
        if mode is StopMode.REMOVE and info.data.get("snapshot_on_stop"):
            raise ValueError("a stop that removes takes no snapshot set: drop this, or snapshot_on_stop")
        return mode


class _File(_Written):
    channel: Annotated[str | None, Channel] = None
    data_dir: Annotated[Path, Text] = DATA_DIR
    health_port: Annotated[int, BeforeValidator(_port)] = HEALTH_PORT
    clusters: Annotated[dict[Annotated[str, BeforeValidator(_cluster_name)], _Cluster], Field(min_length=1)]


def _cluster(name: str, written: _Cluster, file: _File) -> ClusterSettings:
    return ClusterSettings(
        name=name,
        namespace=written.namespace,
        environment=written.environment,
        channel=written.channel or file.channel or "",
        context=written.context,
        operators=written.operators,
        viewers=written.viewers,
        probe_url=written.probe_url,
        deadlines=MappingProxyType(dict(written.deadlines)),
        approval=MappingProxyType(written.approval.terms()),
        configuration_check=written.configuration_check.check() if written.configuration_check else None,
        keep_services=is_production(written.environment) if written.keep_services is None else written.keep_services,
        unsaved=_unsaved(written.components),
        snapshot_on_stop=written.snapshot_on_stop,
        stop_mode=written.stop_mode,
        checks=MappingProxyType(
            {Component(name): one.verify for name, one in written.components.items() if one.verify}
        ),
        keep_volumes=written.keep_volumes,
        retention=Policy(written.snapshots.keep_last, written.snapshots.keep_days),
    )


def _unsaved(written: Mapping[str, _Component]) -> frozenset[Component]:
    """What memcached keeps in its files is nothing that matters (domain, section 5)."""
    saved = {Component(name): one.snapshot for name, one in written.items() if one.snapshot is not None}
    return frozenset(one for one in Component if not saved.get(one, one is not Component.CACHE))


def _read_file(path: Path, problems: list[str]) -> _File | None:
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
        file = _File.model_validate(document.data)
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
    said = _said(location, details)
    return document.line_of(location), f"{place}: {said}" if place else said


def _place(location: Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part[:60]}"
    return text.removeprefix(".")


def _said(location: Location, details: ErrorDetails) -> str:
    got = _shown(details["input"])
    if details["type"] == "extra_forbidden":
        return _unknown("key", str(location[-1]), tuple(_mapping_at(location[:-1]).model_fields))
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
            return _File
        case ("clusters", _):
            return _Cluster
        case ("clusters", _, "approval"):
            return _Approvals
        case ("clusters", _, "snapshots"):
            return _Retention
        case ("clusters", _, "components", _):
            return _Component
        case ("clusters", _, "configuration_check"):
            return _Check
        case _:
            return _Approval


def _unknown(what: str, word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"unknown {what}, " + (f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}")


class _Environment(BaseSettings):
    model_config = {"extra": "ignore", "frozen": True, "hide_input_in_errors": True}

    slack_bot_token: SecretStr | None = None
    slack_bot_token_file: Path | None = None
    slack_app_token: SecretStr | None = None
    slack_app_token_file: Path | None = None
    slack_api_url: Annotated[str, WebAddress] = SLACK_API_URL
    tml_bot_database_url: Annotated[SecretStr | None, BeforeValidator(_database_address)] = None
    kubeconfig: str | None = None


class _Given(EnvSettingsSource):
    """The environment that was handed in, instead of the process's own; an empty variable is none."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self.env_vars = {name.lower(): value for name, value in environ.items() if value.strip()}


def _environment_of(environ: Mapping[str, str]) -> _Environment:
    class Reading(_Environment):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            *_usual: PydanticBaseSettingsSource,
            **_named: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (_Given(settings_cls, environ),)

    return Reading()


def _read_environment(environ: Mapping[str, str], problems: list[str]) -> _Environment:
    """What is right in the environment; a wrong variable is a problem and counts as left out."""
    try:
        return _environment_of(environ)
    except ValidationError as error:
        wrong = {str(details["loc"][0]).upper(): _said((), details) for details in error.errors(include_url=False)}
    problems.extend(f"{name}: {said}" for name, said in wrong.items())
    return _environment_of({name: value for name, value in environ.items() if name.upper() not in wrong})


def _token(
    name: str, value: SecretStr | None, file: Path | None, prefixes: tuple[str, ...], problems: list[str]
) -> SecretStr:
    """The token from the variable ``name`` or the file that ``name``_FILE names; the text of neither is ever told."""
    if value is not None and file is not None:
        problems.append(f"{name}: set together with {name}_FILE; set one of the two")
    elif value is None and file is None:
        problems.append(f"{name}: not set; set it to the token, or {name}_FILE to a file that holds it")
    token = _secret_in(file, f"{name}_FILE", problems) if value is None and file is not None else value
    if token is not None and not token.get_secret_value().strip().startswith(prefixes):
        problems.append(f"{name}: expected a token that begins with {prefixes[0]}")
    return SecretStr(token.get_secret_value().strip()) if token else SecretStr("")


def _secret_in(file: Path, variable: str, problems: list[str]) -> SecretStr | None:
    try:
        return SecretStr(file.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{variable}: the file it names cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        problems.append(f"{variable}: the file it names is no text")
    return None
