"""How the seven TML components behave: whom they need, how long they take, what they write and say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Component:
    """One component as the sandbox plays it; all times are simulated seconds."""

    name: str
    type: str
    """The value of `TMGC_TYPE` in its container's environment."""
    needs: tuple[str, ...] = ()
    """Components that must have a ready pod in the namespace before this one can be ready."""
    stops_in: float = 1.0
    """From SIGTERM to the container's end."""
    files: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    """What its first start writes on an empty volume."""
    says_starting: tuple[str, ...] = ()
    says_ready: tuple[str, ...] = ()
    says_not_ready: tuple[str, ...] = ()
    says_stopping: tuple[str, ...] = ()
    says_crashing: tuple[str, ...] = ("FATAL unrecoverable error during start, exiting with status 1",)


UNKNOWN = Component(name="", type="", says_starting=("starting",), says_ready=("ready",), says_stopping=("stopping",))

COMPONENTS: tuple[Component, ...] = (
    Component(
        name="nosql",
        type="nosql",
        stops_in=4,
        files=MappingProxyType(
            {
                "data/system/local-7ad54392/na-1-big-Data.db": b"cassandra: cluster identity and tokens\n",
                "data/system_schema/tables-afddfb9d/na-1-big-Data.db": b"cassandra: schema\n",
                "commitlog/CommitLog-7-1.log": b"cassandra: commit log\n",
            }
        ),
        says_starting=(
            "INFO  [main] CassandraDaemon.java - Initializing Cassandra",
            "INFO  [main] StorageService.java - Loading persisted ring state",
        ),
        says_ready=(
            "INFO  [main] Server.java - Starting listening for CQL clients on /0.0.0.0:9042",
            "INFO  registry is ready",
        ),
        says_not_ready=("WARN  [main] StorageService.java - Gossip is not settled, registry is not ready",),
        says_stopping=(
            "INFO  [StorageServiceShutdownHook] StorageService.java - DRAINING: flushing memtables",
            "INFO  [StorageServiceShutdownHook] StorageService.java - DRAINED",
        ),
        says_crashing=("ERROR [main] CassandraDaemon.java - Exception during startup: commit log corrupted",),
    ),
    Component(
        name="cm",
        type="configmanager",
        needs=("nosql", "log"),
        stops_in=3,
        says_starting=("INFO  cluster manager is starting", "INFO  waiting for the registry"),
        says_ready=("INFO  connected to the registry", "INFO  configuration UI listens on 8443"),
        says_not_ready=("WARN  the registry is not ready",),
        says_stopping=("INFO  cluster manager is stopping",),
    ),
    Component(
        name="log",
        type="logservice",
        needs=("nosql",),
        stops_in=2,
        files=MappingProxyType({"log.txt": b"log service: first line\n"}),
        says_starting=("[info]: starting fluentd", "[info]: registering with the cluster's registry"),
        says_ready=("[info]: listening port port=24224 bind=0.0.0.0", "[info]: fluentd worker is now running worker=0"),
        says_stopping=("[info]: Received graceful stop", "[info]: flushing buffers", "[info]: fluentd exits"),
    ),
    Component(
        name="sql",
        type="sql",
        needs=("nosql", "log"),
        stops_in=5,
        files=MappingProxyType(
            {
                "ibdata1": b"innodb: system tablespace\n",
                "mysql/db.ibd": b"innodb: privileges\n",
                "onprem/apis.ibd": b"innodb: API configuration\n",
            }
        ),
        says_starting=(
            "[System] [MY-010116] [Server] /usr/sbin/mysqld starting as process 1",
            "[System] [MY-013576] [InnoDB] InnoDB initialization has started.",
        ),
        says_ready=(
            "[System] [MY-013577] [InnoDB] InnoDB initialization has ended.",
            "[System] [MY-010931] [Server] /usr/sbin/mysqld: ready for connections. port: 3306",
            "INFO  loader: registered with the cluster",
        ),
        says_not_ready=(
            "[ERROR] [MY-012574] [InnoDB] Unable to lock ./ibdata1 error: 11",
            "[Note] [MY-012575] [InnoDB] Check that no other mysqld process uses the same files",
            "[ERROR] [MY-010334] [Server] Failed to initialize DD Storage Engine",
        ),
        says_stopping=(
            "[System] [MY-013172] [Server] Received SHUTDOWN from user <via user signal>.",
            "[System] [MY-010910] [Server] /usr/sbin/mysqld: Shutdown complete.",
        ),
        says_crashing=(
            "[ERROR] [MY-013183] [InnoDB] Assertion failure: page0page.ic:226",
            "[ERROR] [MY-010119] [Server] Aborting",
        ),
    ),
    Component(
        name="cache",
        type="cache",
        needs=("nosql", "log"),
        stops_in=1,
        files=MappingProxyType({"memcached/pools.conf": b"11211 11212 11213 11214 11215 11216\n"}),
        says_starting=("INFO  starting memcached pools 11211-11216",),
        says_ready=("INFO  registered with the cluster", "INFO  6 pools are running"),
        says_stopping=("INFO  memcached pools stopped",),
    ),
    Component(
        name="tm",
        type="trafficmanager",
        needs=("sql", "cache", "log", "nosql"),
        stops_in=4,
        says_starting=("INFO  traffic manager is starting", "INFO  loading API configuration from the database"),
        says_ready=("INFO  proxy listens on 80, 443", "INFO  /mashping answers 200"),
        says_not_ready=("WARN  /mashping answers 503: not all services of the cluster are reachable",),
        says_stopping=("INFO  draining connections", "INFO  traffic manager has stopped"),
    ),
    Component(
        name="reporting",
        type="reportingservice",
        needs=("log",),
        stops_in=3,
        files=MappingProxyType({"grafana/grafana.db": b"grafana: dashboards\n"}),
        says_starting=("INFO  starting fluentd, prometheus, loki, grafana",),
        says_ready=("INFO  grafana listens on 3000",),
        says_stopping=("INFO  reporting services stopped",),
    ),
)

_BY_TYPE: Mapping[str, Component] = MappingProxyType({component.type: component for component in COMPONENTS})


def environment(pod_spec: Mapping[str, Any]) -> dict[str, str]:
    """The literal environment of a pod's containers, the first container's values winning."""
    found: dict[str, str] = {}
    for container in pod_spec.get("containers") or []:
        for variable in container.get("env") or []:
            found.setdefault(variable["name"], str(variable.get("value", "")))
    return found


def component_of(pod_spec: Mapping[str, Any]) -> Component:
    """Whom a pod plays, by `TMGC_TYPE`; `UNKNOWN`, without needs, for a pod that is no part of TML."""
    return _BY_TYPE.get(environment(pod_spec).get("TMGC_TYPE", ""), UNKNOWN)


def registry_table(rows: Sequence[tuple[str, str, str]]) -> str:
    """The answer of `clustermanager ls components` to (pod name, `TMGC_TYPE`, state) rows."""
    lines = [f"{'COMPONENT ID':<38} {'TYPE':<18} {'STATUS':<12}"]
    lines += [f"{name:<38} {kind:<18} {state:<12}" for name, kind, state in rows]
    return "\n".join(line.rstrip() for line in lines) + "\n"
