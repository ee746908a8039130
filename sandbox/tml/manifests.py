"""The Kubernetes objects of a TML cluster: its components' names, labels, probes, claims, services and secrets."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.tml.components import COMPONENTS

Object = dict[str, Any]

RELEASE = "5.5.2"
PROVISIONER = "hostpath.csi.sandbox"
REGISTRY_KEY = "tmgc-registry-key"
LOG_PROPERTIES = "tml_log_properties.json"
SHARED_SECRETS: Mapping[str, tuple[str, ...]] = {
    "cluster-property": ("tml_cluster_properties.json",),
    "zones-property": ("tml_zones_properties.json",),
    "papi-property": ("tml_papi_properties.json",),
}

_TYPES = {component.name: component.type for component in COMPONENTS}


@dataclass(frozen=True)
class Cluster:
    """What the objects of one TML cluster depend on; `counts` are pods per zone by component name."""

    namespace: str
    name: str
    mode: str
    zones: int
    counts: Mapping[str, int]
    provisioner: str

    def count(self, component: str) -> int:
        return self.counts.get(component, 1)


@dataclass(frozen=True)
class Volume:
    """A claim template and where the container mounts it."""

    name: str
    mount: str
    size: str


@dataclass(frozen=True)
class Tier:
    """One component's workload; `{zone}` in a name or label stands for the zone's index."""

    component: str
    workload: str
    labels: Mapping[str, str]
    ports: tuple[int, ...]
    secrets: Mapping[str, tuple[str, ...]]
    grace: int
    service: str = ""
    volume: Volume | None = None
    parallel: bool = False
    probe: Mapping[str, Any] | None = None


def _exec(script: str, *, delay: int, period: int, **more: int) -> Object:
    command = ["/bin/sh", "-c", script]
    return {"exec": {"command": command}, "initialDelaySeconds": delay, "periodSeconds": period, **more}


def _by_service(service: str) -> dict[str, str]:
    return {"app": service, "interface": f"{service}-{{zone}}"}


NOSQL = Tier(
    component="nosql",
    workload="cass-set-{zone}",
    labels=_by_service("cass-svc"),
    service="cass-svc-{zone}",
    ports=(9042,),
    secrets={
        "nosql-property": ("tml_nosql_properties.json",),
        "nosql-resource": ("logback-overrides.xml",),
        "nosql-p12": ("tml-nosql.p12",),
        "nosql-trust-p12": ("tml-nosql-trust.p12",),
    },
    volume=Volume("nosqlvol", "/var/lib/cassandra", "20Gi"),
    probe=_exec("nodetool status | grep -q ^UN", delay=15, period=5, failureThreshold=5),
    grace=10,
)
CM = Tier(
    component="cm",
    workload="cm-deploy-{zone}",
    labels={"service": "cm-svc", "interface": "cm-svc-{zone}"},
    ports=(8080, 8443, 7080, 7443),
    secrets={
        "cm-property": ("tml_cm_properties.json",),
        "cm-jks": ("tml-cm.jks",),
        "cm-crt": ("tml-cm-crt.pem",),
        "cm-key": ("tml-cm-key.pk8",),
        "cm-resource": ("cm-overrides.json",),
    },
    probe=_exec("isRegistryReady", delay=5, period=5),
    grace=30,
)
LOG = Tier(
    component="log",
    workload="log-set-{zone}",
    labels=_by_service("log-svc"),
    service="log-svc-{zone}",
    ports=(24224, 24220, 24221, 24222),
    secrets={"log-property": (LOG_PROPERTIES,), "log-resource": ("forward.conf",)},
    volume=Volume("logvol", "/mnt", "10Gi"),
    grace=10,
)
SQL = Tier(
    component="sql",
    workload="mysql-set-{zone}",
    labels=_by_service("mysql-svc"),
    service="mysql-svc-{zone}",
    ports=(3306, 33061),
    secrets={"sql-property": ("tml_sql_properties.json",), "sql-resource": ("overrides.cnf",)},
    volume=Volume("sqlvol", "/var/lib/mysql", "20Gi"),
    probe=_exec("mysqladmin ping", delay=30, period=5, failureThreshold=3),
    grace=10,
)
CACHE = Tier(
    component="cache",
    workload="cache-set-{zone}",
    labels=_by_service("cache-svc"),
    service="cache-svc-{zone}",
    ports=(11211, 11212, 11213, 11214, 11215, 11216),
    # An empty folder makes a secret without a key, which is how most clusters have it.
    secrets={"cache-property": ("tml_cache_properties.json",), "cache-resource": ()},
    volume=Volume("cachevol", "/mnt", "2Gi"),
    parallel=True,
    grace=3,
)
TM = Tier(
    component="tm",
    workload="tm-deploy-{zone}",
    labels={"app": "tm-deploy-{zone}", "service": "tm-svc"},
    ports=(80, 443, 8083, 20080),
    secrets={
        "tm-property": ("tml_tm_properties.json",),
        "tm-jks": ("tml-tm.jks",),
        "tm-trust-jks": ("tml-tm-trust.jks",),
        "tm-resource": ("processors.json",),
    },
    probe={
        "httpGet": {"path": "/mashping", "port": 20080},
        "initialDelaySeconds": 120,
        "periodSeconds": 10,
        "failureThreshold": 90,
    },
    grace=30,
)
REPORTING = Tier(
    component="reporting",
    workload="reporting-set-{zone}",
    labels=_by_service("reporting-svc"),
    service="reporting-svc-{zone}",
    ports=(3000, 9090, 3100, 24224),
    secrets={
        "reporting-resource": ("reporting.properties",),
        "fluentd-conf": ("fluent.conf",),
        "fluentd-plugin": ("filter_enrich.rb",),
        "grafana-resource": ("grafana.ini",),
        "grafana-user-dashboards": (),
        "grafana-operations": ("operations.json",),
        "grafana-summary": ("summary.json",),
        "prometheus-resource": ("prometheus.yml",),
        "loki-resource": ("loki.yaml",),
    },
    volume=Volume("reportingvol", "/mnt", "10Gi"),
    parallel=True,
    grace=10,
)

TIERS = (NOSQL, CM, LOG, SQL, CACHE, TM)


def manifests(
    namespace: str,
    *,
    cluster_name: str,
    mode: str = "tethered",
    zones: int = 1,
    counts: Mapping[str, int] | None = None,
    reporting: bool = True,
    provisioner: str = PROVISIONER,
) -> list[Object]:
    """All objects of one TML cluster in the order in which they can be created.

    `mode` is `tethered` or `untethered`; `counts` are pods per zone by component name (`nosql`, `cm`, `log`, `sql`,
    `cache`, `tm`, `reporting`), one where not given; `provisioner` goes into the five StorageClasses.
    """
    cluster = Cluster(namespace, cluster_name, mode, zones, dict(counts or {}), provisioner)
    tiers = (*TIERS, REPORTING) if reporting else TIERS
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        *_storage_classes(cluster),
        *_secrets(cluster, tiers),
        *_services(cluster, tiers),
        *(_workload(cluster, tier, zone) for zone in range(zones) for tier in tiers),
    ]


def _metadata(cluster: Cluster, name: str) -> Object:
    return {"name": name, "namespace": cluster.namespace}


def _storage_classes(cluster: Cluster) -> Iterator[Object]:
    """Cluster-scoped under fixed names, so all TML clusters of a Kubernetes cluster share them; Delete by default."""
    for component in ("nosql", "sql", "log", "cache", "reporting"):
        yield {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": f"{component}-storage-class"},
            "provisioner": cluster.provisioner,
            "volumeBindingMode": "WaitForFirstConsumer",
        }


def _secrets(cluster: Cluster, tiers: tuple[Tier, ...]) -> Iterator[Object]:
    contents = dict(SHARED_SECRETS)
    for tier in tiers:
        contents |= tier.secrets
    for name, keys in contents.items():
        data = {key: _encoded(_content(cluster, name, key)) for key in keys}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(cluster, name), "type": "Opaque"}
        yield secret | ({"data": data} if data else {})
    yield _registry_secret(cluster)


def _content(cluster: Cluster, secret: str, key: str) -> str:
    if key == LOG_PROPERTIES:
        return json.dumps(log_properties(cluster.namespace), indent=2)
    return f"{canary(cluster.namespace, secret, key)}\n"


def log_properties(namespace: str) -> Object:
    """Where the log service sends which stream, and beside it what nobody else may learn.

    Which keys there are is documented (`td_agent_output_channelType` and those of single streams); the rest is made up.
    """
    secrets = ("td_agent_access_output_host", "td_agent_access_output_password", "td_agent_output_channelTypeNote")
    return {
        "td_agent_output_channelType": "DEFAULT",
        "td_agent_access_output_channelType": "ELASTICSEARCH",
        "td_agent_verbose_output_channelType": "DEFAULT",
        **{key: canary(namespace, "log-property", key) for key in secrets},
        "forward": {"shared_key": canary(namespace, "log-property", "shared_key")},
    }


def _registry_secret(cluster: Cluster) -> Object:
    password = canary(cluster.namespace, REGISTRY_KEY, "password")
    config = {"auths": {"registry.example.com": {"username": "tml", "password": password}}}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(cluster, REGISTRY_KEY),
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": _encoded(json.dumps(config))},
    }


def snapshot_class() -> Object:
    """No part of the vendor's manifests: whoever runs the Kubernetes cluster makes it for the storage's driver."""
    return {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshotClass",
        "metadata": {"name": "hostpath-snapshots"},
        "driver": PROVISIONER,
        "deletionPolicy": "Delete",
    }


def group_snapshot_class() -> Object:
    """The same for volume groups."""
    return {
        **snapshot_class(),
        "apiVersion": "groupsnapshot.storage.k8s.io/v1",
        "kind": "VolumeGroupSnapshotClass",
        "metadata": {"name": "hostpath-group-snapshots"},
    }


def canary(namespace: str, secret: str, key: str) -> str:
    """A secret's value: unlike any other and easy to search for, so that a leak can be told from a coincidence."""
    return f"CANARY-{secret}-{hashlib.sha256(f'{namespace}/{secret}/{key}'.encode()).hexdigest()[:16]}"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _services(cluster: Cluster, tiers: tuple[Tier, ...]) -> Iterator[Object]:
    for zone in range(cluster.zones):
        for tier in tiers:
            if tier.service:
                name = tier.service.format(zone=zone)
                yield _service(cluster, name, tier.ports, {"interface": name}, headless=True)
        yield _service(cluster, f"cm-svc-{zone}", CM.ports, {"interface": f"cm-svc-{zone}"})
        if REPORTING in tiers:
            yield _service(cluster, f"reporting-app-{zone}", (3000,), {"interface": f"reporting-svc-{zone}"})
    yield _service(cluster, "tm-svc", (80, 443, 8083), {"service": "tm-svc"})


def _service(
    cluster: Cluster, name: str, ports: tuple[int, ...], selector: Mapping[str, str], *, headless: bool = False
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(cluster, name),
        "spec": {
            "selector": dict(selector),
            "ports": [{"name": f"port-{port}", "port": port, "targetPort": port, "protocol": "TCP"} for port in ports],
            **({"clusterIP": "None"} if headless else {"type": "LoadBalancer"}),
        },
    }


def _workload(cluster: Cluster, tier: Tier, zone: int) -> Object:
    labels = {key: value.format(zone=zone) for key, value in tier.labels.items()}
    spec: Object = {
        "replicas": cluster.count(tier.component),
        "selector": {"matchLabels": dict(labels)},
        "template": {"metadata": {"labels": dict(labels)}, "spec": _pod_spec(cluster, tier, zone)},
    }
    if tier.volume is not None:
        spec["serviceName"] = tier.service.format(zone=zone)
        spec["podManagementPolicy"] = "Parallel" if tier.parallel else "OrderedReady"
        spec["volumeClaimTemplates"] = [_claim_template(tier.component, tier.volume)]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment" if tier.volume is None else "StatefulSet",
        "metadata": _metadata(cluster, tier.workload.format(zone=zone)),
        "spec": spec,
    }


def _claim_template(component: str, volume: Volume) -> Object:
    return {
        "metadata": {"name": volume.name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": f"{component}-storage-class",
            "resources": {"requests": {"storage": volume.size}},
        },
    }


def _pod_spec(cluster: Cluster, tier: Tier, zone: int) -> Object:
    secrets = [*SHARED_SECRETS, *tier.secrets]
    mounts = [{"name": name, "mountPath": f"/etc/tml/{name}", "readOnly": True} for name in secrets]
    if tier.volume is not None:
        mounts.append({"name": tier.volume.name, "mountPath": tier.volume.mount})
    container: Object = {
        "name": f"tml-{tier.component}",
        "image": f"registry.example.com/tml/tml-{tier.component}:{RELEASE}",
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": key, "value": value} for key, value in _environment(cluster, tier, zone).items()],
        "ports": [{"containerPort": port} for port in tier.ports],
        "volumeMounts": mounts,
    }
    if tier.probe is not None:
        container["readinessProbe"] = json.loads(json.dumps(tier.probe))
    return {
        "terminationGracePeriodSeconds": tier.grace,
        "imagePullSecrets": [{"name": REGISTRY_KEY}],
        "containers": [container],
        "volumes": [{"name": name, "secret": {"secretName": name}} for name in secrets],
    }


def _environment(cluster: Cluster, tier: Tier, zone: int) -> dict[str, str]:
    """The first zone's nosql is the seed whose full name, namespace included, is written into every container."""
    seed = f"cass-set-0-0.cass-svc-0.{cluster.namespace}.svc.cluster.local"
    found = {
        "TMGC_TYPE": _TYPES[tier.component],
        "TMG_CLUSTER_NAME": cluster.name,
        "TMG_CLUSTER_MODE": cluster.mode,
        "TMG_ZONE_NAME": _zone_name(zone),
        "TMG_ZONE_SERIAL": str(zone),
        "TMG_ZONE_COUNT": str(cluster.zones),
        "TMG_RELEASE_VERSION": RELEASE,
        "TMGC_NOSQL_SEED": seed,
    }
    if tier is CM:
        found |= {f"TMGC_{other.component.upper()}_COUNT": str(cluster.count(other.component)) for other in TIERS}
        found["TMG_ZONE_NAMES"] = ",".join(_zone_name(index) for index in range(cluster.zones))
    return found


def _zone_name(zone: int) -> str:
    return f"zone-{zone}"
