"""What the bot is told before it starts: one YAML file, and secrets from the environment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from pydantic import SecretStr

from bot.environment import APP_TOKENS, BOT_TOKENS, SLACK_API_URL, read_environment, read_token
from bot.settings_file import DATA_DIR, HEALTH_PORT, File, WrittenCluster, WrittenComponent, read_file
from bot.written import PRODUCTION, TOKEN, StopMode
from lifecycle.approval import Terms
from lifecycle.checks import Check
from lifecycle.model import Component, Target
from lifecycle.plain import digest, to_plain
from lifecycle.quiescing import HotCommands
from lifecycle.retention import KEEP_VOLUMES, Policy

ALL_STAY = Policy()
UNCONFIGURED: Mapping[str, Terms] = MappingProxyType(
    dict.fromkeys(("delete", "restore-in-place", "purge"), Terms(1, reason_required=True))
)
"""Approvals that nobody can give, so that what the configuration does not speak of is refused and not let through."""


class SettingsError(Exception):
    """The configuration cannot be used; one line of the text for every problem found."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(TOKEN.sub("(a token)", problem) for problem in problems)
        super().__init__("\n".join(self.problems))


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
    allow_unrecoverable: bool = False
    """Whether a delete may be asked for that loses data for good: its card and dialog say first which."""
    unsaved: frozenset[Component] = frozenset({Component.CACHE})
    """Components whose volumes are in no snapshot set."""
    snapshot_on_stop: bool = False
    """Whether a stop takes a set while everything is down."""
    hot_commands: HotCommands | None = None
    """What is run around the cut of a hot set; by default nothing."""
    configuration_check: Check | None = None
    """What shows that the API configuration is there; without it that cannot be seen."""
    stop_mode: StopMode = StopMode.SCALE
    checks: Mapping[Component, tuple[str, ...]] = field(default_factory=dict)
    """What a restore test runs, where that is not the default."""
    keep_volumes: timedelta = KEEP_VOLUMES
    """How long volumes are kept that a delete or a restore in place left, and by how much *Keep longer* keeps them."""
    retention: Policy = ALL_STAY
    """Which snapshot sets stay."""
    verify_every: timedelta | None = None
    """How often the newest one is tested without anybody typing it; None: never."""
    copy_to: str | None = None
    """A namespace of the same Kubernetes cluster to which captures are copied."""

    @property
    def is_production(self) -> bool:
        """Whether stop, start and restart ask back first."""
        return is_production(self.environment)

    @property
    def target(self) -> Target:
        return Target(self.context, self.namespace)


@dataclass(frozen=True)
class CommandLine:
    """Who the operating system's users are to the bot: by name, their user ids (`U…`) in the workspace ``team``."""

    team: str = ""
    people: Mapping[str, str] = field(default_factory=dict)


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
    command_line: CommandLine = field(default_factory=CommandLine)


def load_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """The settings from the file at ``path`` and from ``environ``; raises SettingsError with every problem at once."""
    problems: list[str] = []
    file = read_file(path, problems)
    environment = read_environment(environ, problems)
    bot_token = read_token(
        "SLACK_BOT_TOKEN", environment.slack_bot_token, environment.slack_bot_token_file, BOT_TOKENS, problems
    )
    app_token = read_token(
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
        command_line=_command_line(file),
    )


def _command_line(file: File) -> CommandLine:
    written = file.command_line
    return CommandLine(written.team, MappingProxyType(dict(written.people))) if written else CommandLine()


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
            "command_line": to_plain(settings.command_line),
            "clusters": {name: to_plain(cluster) for name, cluster in settings.clusters.items()},
        }
    )


def _cluster(name: str, written: WrittenCluster, file: File) -> ClusterSettings:
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
        hot_commands=written.hot_commands.commands() if written.hot_commands else None,
        keep_services=is_production(written.environment) if written.keep_services is None else written.keep_services,
        allow_unrecoverable=written.allow_unrecoverable,
        unsaved=_unsaved(written.components),
        snapshot_on_stop=written.snapshot_on_stop,
        stop_mode=written.stop_mode,
        checks=MappingProxyType(
            {Component(name): one.verify for name, one in written.components.items() if one.verify}
        ),
        keep_volumes=written.keep_volumes,
        retention=Policy(written.snapshots.keep_last, written.snapshots.keep_days),
        verify_every=written.snapshots.verify_every,
        copy_to=written.captures.copy_to,
    )


def _unsaved(written: Mapping[str, WrittenComponent]) -> frozenset[Component]:
    """What memcached keeps in its files is nothing that matters (domain, section 5)."""
    saved = {Component(name): one.snapshot for name, one in written.items() if one.snapshot is not None}
    return frozenset(one for one in Component if not saved.get(one, one is not Component.CACHE))
