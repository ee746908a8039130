"""The command line, and the only place that wires lifecycle, storage and Slack together."""

import asyncio
import gc
import os
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import structlog
import typer
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

import sandbox
from bot import local, terminal
from bot.access import Access
from bot.cancelling import Slots
from bot.desk import Desk
from bot.directory import SlackDirectory
from bot.executor import Executor
from bot.gate import Gate
from bot.health import serving_health
from bot.keeping import Housekeeper, Keeper
from bot.launcher import Launcher
from bot.listeners import register
from bot.logs import configure_logging, silence_logging
from bot.notices import Notices
from bot.projector import Pace, Projector, permalink
from bot.restore_tests import RestoreTests
from bot.schedule import LOOK, housekeeping, scheduling
from bot.settings import ClusterSettings, Settings, SettingsError, load_settings, settings_digest
from bot.sites import Site
from bot.slack_trouble import UNREACHED, is_passing, named
from bot.subjects import Subjects
from lifecycle.decide import stop
from lifecycle.errors import ClusterError, Refused
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Connections, Door
from lifecycle.kube.lease import LeaseTiming
from lifecycle.model import Person, Target
from lifecycle.plan import plan
from lifecycle.ports import Clock
from lifecycle.runner import Runner
from lifecycle.snapshots import FLUSHING
from sandbox import demo as story
from storage.audit import AuditLog, Entry
from storage.database import Database, StorageError, file_address, open_database
from storage.ids import new_id
from storage.journal import DatabaseJournal
from storage.memory import Memory

log = structlog.get_logger("bot")
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
audit_commands = typer.Typer(no_args_is_help=True, help="The audit log.")
app.add_typer(audit_commands, name="audit")

WARM_UP = 5.0
"""Seconds that the start waits for each cluster's first picture; one that is away does not keep the others waiting."""

SLACK_AGAIN = 2.0
"""Seconds after which a Slack that did not answer at the start is asked again."""

TROUBLE = (StorageError, SlackApiError, OSError)
"""What keeps the bot from starting and is told in one line: the database, a token, a port in use."""

T = TypeVar("T")
CONFIG = Annotated[Path, typer.Option("--config", help="The YAML file with channels and clusters.")]


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(frozen=True)
class Timing:
    """What the sandboxes' shortened clocks shorten along.

    ``ping`` is the seconds between two pings of Slack's socket; one that was cut is opened again after at most that.
    ``rest`` is the seconds between two looks for a configuration that was not seen.
    ``look`` is the seconds between two looks at what is kept and may go, ``look_after`` at what is unfinished.
    ``flush`` is the seconds after which a flush that hangs is given up.
    """

    pace: Pace = field(default_factory=Pace)
    watch_seconds: float = 30.0
    lease: LeaseTiming = field(default_factory=LeaseTiming)
    ping: float = 10.0
    rest: float = 60.0
    look: float = LOOK
    look_after: float = 5.0
    flush: float = FLUSHING.total_seconds()


@dataclass(frozen=True)
class Service:
    """A running bot, as far as its caller has to know it."""

    port: int


@asynccontextmanager
async def serving(
    settings: Settings, timing: Timing | None = None, clock: Clock | None = None
) -> AsyncIterator[Service]:
    """The whole bot, from the database to the open socket; ends operations' tasks and releases Leases on the way out.

    Operations are taken up before Slack is asked anything: they go on while it is away. Clients are warmed up before
    the socket opens: the first command is answered as fast as the others.
    """
    clock, timing, line = clock or SystemClock(), timing or Timing(), Line()
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving_health(settings.health_port, line.missing))
        database = await stack.enter_async_context(open_database(settings.database_url.get_secret_value()))
        memory = Memory.of(database, clock)
        sites = await _sites(settings, clock, stack, timing)
        client = _slack(settings)
        runner = Runner(DatabaseJournal(database, clock), clock, _name(), rest=timing.rest)
        executor = Executor(runner, memory.operations, sites, clock)
        stack.push_async_callback(executor.close)
        projector = _projector(client, database, memory, clock, timing)
        await stack.enter_async_context(_running(projector.run()))
        directory, link = SlackDirectory(client, clock.monotonic), partial(permalink, client)
        notices = Notices(client, directory, memory.messages, link)
        stack.push_async_callback(notices.close)
        await stack.enter_async_context(scheduling(memory.proposals, memory.approvals, notices))
        start = {"executor": _name(), "configuration": settings_digest(settings)}
        await memory.audit.record(Entry("started", data=start))
        await executor.take_up()
        await stack.enter_async_context(_running(executor.look_after(timing.look_after)))
        fresh = partial(_fresh_id, random.SystemRandom())
        slots = Slots(memory.operations, executor)
        launcher = Launcher(sites, memory, executor, slots, clock, fresh)
        housekeeper = _housekeeper(sites, memory, executor, fresh)
        restore_tests = RestoreTests(sites, memory, launcher)
        await stack.enter_async_context(housekeeping(housekeeper, restore_tests, timing.look))
        await asyncio.gather(*(_warm_up(name, site) for name, site in sites.items()))
        who = await _identity(client)
        access = Access(directory, who["team_id"], who.get("enterprise_id"))
        gate = Gate(sites, access, memory, slots=slots, launcher=launcher, notices=notices, clock=clock, new_id=fresh)
        desk = Desk(sites, gate, access, memory, link, clock)
        line.handler = await _listening(settings, client, desk, stack, timing.ping)
        stack.push_async_callback(_leave, desk, executor)
        yield Service(port)


async def _leave(desk: Desk, executor: Executor) -> None:
    """Writing stops and the Leases are released while Slack still hears that the bot restarts."""
    desk.reception.close()
    await executor.close()


@dataclass
class Line:
    """The line to Slack, as far as readiness goes."""

    handler: AsyncSocketModeHandler | None = None

    def missing(self) -> str | None:
        """None while the socket is open."""
        if self.handler is None:
            return "starting"
        session = self.handler.client.current_session
        return None if session is not None and not session.closed else "no connection to Slack"


def _projector(client: AsyncWebClient, database: Database, memory: Memory, clock: Clock, timing: Timing) -> Projector:
    subjects = Subjects(memory.operations, memory.approvals, memory.retention, memory.holds)
    return Projector(client, database, memory.messages, subjects.find, clock.monotonic, timing.pace)


def _housekeeper(
    sites: Mapping[str, Site], memory: Memory, executor: Executor, fresh: Callable[[str], str]
) -> Housekeeper:
    keepers = {name: Keeper(name, site.settings, site.cluster, memory.retention) for name, site in sites.items()}
    return Housekeeper(keepers, memory.operations, memory.retention, executor.begin, fresh)


def _slack(settings: Settings) -> AsyncWebClient:
    """Without the client's own retries: after a lost answer it would post a message twice."""
    token = settings.bot_token.get_secret_value()
    return AsyncWebClient(token, base_url=settings.slack_api_url, timeout=10, retry_handlers=[])


async def _identity(client: AsyncWebClient) -> AsyncSlackResponse:
    """Who the bot is in Slack; waits for what passes by itself. Raises SlackApiError for a token that it refuses."""
    while True:
        try:
            return await client.auth_test()
        except SlackApiError as error:
            if not is_passing(error):
                raise
            reason = named(error)
        except UNREACHED as error:
            reason = repr(error)
        log.warning("slack does not answer yet", reason=reason)
        await asyncio.sleep(SLACK_AGAIN)


async def _sites(settings: Settings, clock: Clock, stack: AsyncExitStack, timing: Timing) -> dict[str, Site]:
    """The configured clusters; those of one context share its door.

    Each door loads its context when it is first asked something: one that cannot be loaded makes its own clusters
    answer so and keeps no other from being served.
    """
    connections = await stack.enter_async_context(Connections(kubeconfig=settings.kubeconfig))
    sites = {}
    for name, cluster in settings.clusters.items():
        door = await connections.to(cluster.context)
        sites[name] = Site(cluster, _cluster(door, cluster, clock, timing))
    return sites


def _cluster(door: Door, cluster: ClusterSettings, clock: Clock, timing: Timing) -> KubeCluster:
    return KubeCluster(
        door,
        cluster.target,
        clock,
        watch_seconds=timing.watch_seconds,
        lease_timing=timing.lease,
        check=cluster.configuration_check,
        flush_seconds=timing.flush,
    )


async def _warm_up(name: str, site: Site) -> None:
    """Load what the first command would wait for: the client's modules, credentials, a connection."""
    try:
        async with asyncio.timeout(WARM_UP):
            await site.cluster.discover()
    except (ClusterError, Refused, TimeoutError) as trouble:
        log.warning("cluster cannot be read yet", cluster=name, reason=str(trouble) or "no answer")


async def _listening(
    settings: Settings, client: AsyncWebClient, desk: Desk, stack: AsyncExitStack, ping: float
) -> AsyncSocketModeHandler:
    """Open the socket. Bolt's aiohttp handler is back 5 s after a dropped connection, its default one after 52 s."""
    bolt = AsyncApp(client=client)
    register(bolt, desk)
    handler = AsyncSocketModeHandler(bolt, settings.app_token.get_secret_value(), web_client=client, ping_interval=ping)
    stack.push_async_callback(handler.close_async)
    await handler.connect_async()  # type: ignore[no-untyped-call]  # Bolt leaves it without types
    return handler


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _name() -> str:
    """How the process is called in a Lease and to people: the host's name (in Kubernetes the pod's) and its pid."""
    return f"{socket.gethostname()}/{os.getpid()}"


def _fresh_id(chance: random.Random, prefix: str) -> str:
    return new_id(prefix, chance)


@app.command()
def serve(config: CONFIG) -> None:
    """Serve Slack until SIGTERM."""
    configure_logging()
    run_until_told(serving_forever(_settings(config)))


async def serving_forever(settings: Settings, timing: Timing | None = None) -> None:
    """Serve until cancelled."""
    async with serving(settings, timing) as service:
        spare_the_collector()
        log.info("serving", health_port=service.port, clusters=sorted(settings.clusters))
        try:
            await asyncio.Event().wait()
        finally:
            log.info("stopping")


def spare_the_collector() -> None:
    """Leave what the start has made out of every later collection: going through it stops the loop for 100 ms."""
    gc.collect()
    gc.freeze()


def run_until_told(work: Coroutine[Any, Any, T]) -> T | None:
    """Run it until it ends or SIGTERM or Ctrl-C comes, which cancels it once; more of them do not disturb its end.

    None: it was cancelled.
    """

    async def until_told() -> T | None:
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told.set)
        working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(told.wait())
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        working.cancel()
        try:
            return await working
        except asyncio.CancelledError:
            return None

    try:
        return asyncio.run(until_told())
    except TROUBLE as trouble:
        terminal.complain(f"tml-bot: {terminal.in_words(trouble)}")
        raise typer.Exit(1) from None


@app.command(context_settings={"ignore_unknown_options": True})
def op(
    words: Annotated[list[str], typer.Argument(help="What would be typed after /tml.")],
    config: CONFIG,
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever reads the record asks.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask back for a production cluster.")] = False,
) -> None:
    """Operate a cluster without Slack: status, plan, stop, start, restart or cancel, as who the configuration says.

    The exit code is 0 when it is done, 1 when it failed, 2 when it was refused, 3 when this command was interrupted.
    """
    silence_logging()
    settings = _settings(config)
    try:
        line = local.line(words, reason)
        person = local.person_here(settings.command_line)
    except Refused as refusal:
        terminal.complain(str(refusal))
        raise typer.Exit(local.REFUSED) from None
    code = run_until_told(_op(settings, person, line, yes=yes))
    if code is None:
        terminal.complain(local.LEFT)
    raise typer.Exit(local.INTERRUPTED if code is None else code)


async def _op(settings: Settings, person: Person, line: str, *, yes: bool) -> int:
    clock, timing = SystemClock(), Timing()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings.database_url.get_secret_value()))
        memory = Memory.of(database, clock)
        sites = await _sites(settings, clock, stack, timing)
        executor = Executor(Runner(DatabaseJournal(database, clock), clock, _name()), memory.operations, sites, clock)
        stack.push_async_callback(executor.close)
        await stack.enter_async_context(_running(executor.look_after(timing.look_after, takes_up=False)))
        fresh = partial(_fresh_id, random.SystemRandom())
        slots = Slots(memory.operations, executor)
        launcher = Launcher(sites, memory, executor, slots, clock, fresh)
        access = Access(local.Nobody(person.team), person.team)
        gate = Gate(
            sites, access, memory, slots=slots, launcher=launcher, notices=local.Untold(), clock=clock, new_id=fresh
        )
        desk = Desk(sites, gate, access, memory, local.no_link, clock)
        confirm = local.agreed if yes else local.asked
        return await local.Terminal(person, gate, desk, memory, tuple(sites), terminal.say, confirm).obey(line)


@app.command()
def check(config: CONFIG) -> None:
    """Check the configuration, what Slack says to the tokens, and the rights in every cluster; changes nothing."""
    silence_logging()
    settings = _settings(config)
    problems = asyncio.run(_check(settings))
    raise typer.Exit(1 if problems else 0)


async def _check(settings: Settings) -> int:
    channels = [cluster.channel for cluster in settings.clusters.values()]
    problems = await terminal.check_slack(_slack(settings), settings.app_token.get_secret_value(), channels)
    async with Connections(kubeconfig=settings.kubeconfig) as connections:
        for name, cluster in settings.clusters.items():
            door = await connections.to(cluster.context)
            site = _cluster(door, cluster, SystemClock(), Timing())
            runs_commands = cluster.hot_commands is not None
            problems += await terminal.check_cluster(name, site, cluster.copy_to, runs_commands=runs_commands)
    return problems


@app.command()
def look(
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The namespace to look at.")],
    context: Annotated[str | None, typer.Option("--context", help="Of the kubeconfig; left out: in-cluster.")] = None,
    kubeconfig: Annotated[str | None, typer.Option("--kubeconfig", envvar="KUBECONFIG")] = None,
) -> None:
    """Show a namespace's TML components, needs, volumes and the plan of a stop. Reads only; no Slack, no database."""
    silence_logging()
    raise typer.Exit(asyncio.run(_look(Target(context, namespace), kubeconfig)))


async def _look(target: Target, kubeconfig: str | None) -> int:
    try:
        async with Connections(kubeconfig=kubeconfig) as connections:
            found = await KubeCluster(await connections.to(target.context), target, SystemClock()).discover()
    except (ClusterError, Refused) as error:
        terminal.say(f"{target}: {error}")
        return 1
    terminal.show_discovery(found)
    try:
        terminal.show_plan(plan(stop.goal(found), found))
    except Refused as refusal:
        terminal.say(f"A stop would be refused: {refusal}")
    return 0


@audit_commands.command()
def verify(
    database: Annotated[
        str, typer.Option("--database", envvar="TML_BOT_DATABASE_URL", help="sqlite+aiosqlite:///FILE")
    ],
) -> None:
    """Walk the chain of hashes: exit code 0 when every entry is as it was written, 1 and the first bad one when not."""
    silence_logging()
    raise typer.Exit(asyncio.run(_verify(database)))


async def _verify(url: str) -> int:
    try:
        if not Path(file_address(url).database or "").exists():  # noqa: ASYNC240 - nothing else runs
            terminal.complain("there is no database at this address")
            return 2
        async with open_database(url) as database:
            audit = AuditLog(database, SystemClock())
            bad, head = await audit.verify(), await audit.head()
    except (ValueError, StorageError) as error:
        terminal.complain(str(error))
        return 2
    if bad:
        terminal.say(f"bad: {bad.wrong}")
        return 1
    terminal.say(f"ok: {head.seq} entries, the newest has the hash {head.hash}" if head else "ok: no entries yet")
    return 0


@app.command()
def demo() -> None:
    """Play the main job in the sandbox and print what people would see in Slack."""
    folder = Path("var/demo")
    asyncio.run(_demo(folder))


async def _demo(folder: Path) -> None:
    terminal.clear(folder)
    configure_logging(folder / "tml-bot.log")
    terminal.say(f"The sandbox's clusters run {1 / sandbox.DEMO_SCALE:.0f} times as fast as real ones.\n")
    async with sandbox.start(folder, limits=None) as box:
        settings = load_settings(box.write_configuration(), box.environ)
        async with serving(settings, Timing(Pace(posts=0.2, updates=0.5, all_updates=0.2))):
            transcript = await story.play(box, terminal.say)
    (folder / "transcript.txt").write_text(transcript)
    terminal.say(
        f"\n{transcript}\nThe audit log is in {folder / 'tml-bot.db'}, this text in {folder / 'transcript.txt'}."
    )


@app.command(name="sandbox")
def keep_sandbox(
    slack_port: Annotated[int, typer.Option(help="Where the workspace listens.")] = 8400,
    kubernetes_port: Annotated[int, typer.Option(help="Where the Kubernetes API listens.")] = 8401,
) -> None:
    """Keep a workspace and two clusters running, with the bot in them, to try by hand; prints how."""
    folder = Path("var/sandbox")
    run_until_told(_sandbox(folder, slack_port, kubernetes_port))


async def _sandbox(folder: Path, slack_port: int, kubernetes_port: int) -> None:
    for port in (slack_port, kubernetes_port):
        socket.create_server(("127.0.0.1", port)).close()  # in use: the folder is another sandbox's and stays
    terminal.clear(folder)
    configure_logging(folder / "tml-bot.log")
    async with sandbox.start(folder, slack_port=slack_port, kubernetes_port=kubernetes_port) as box:
        settings = load_settings(box.write_configuration(), box.environ)
        async with serving(settings):
            terminal.show_sandbox(box.slack.site, box.kubernetes.url, box.kubeconfig)
            await asyncio.Event().wait()


def _settings(config: Path) -> Settings:
    """Every problem is one line on standard error; then the exit code is 2."""
    try:
        settings = load_settings(config, os.environ)
        file_address(settings.database_url.get_secret_value())
    except (SettingsError, ValueError) as error:
        terminal.complain(str(error))
        raise typer.Exit(2) from None
    return settings


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
