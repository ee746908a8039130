"""Services: cluster addresses, node ports, and the load balancer that comes a little later."""

import itertools

from sandbox.kubernetes.controllers.owners import is_terminating, key_of
from sandbox.kubernetes.controllers.recorder import Recorder
from sandbox.kubernetes.controllers.work import Key, Work
from sandbox.kubernetes.resources import SERVICES, Object
from sandbox.kubernetes.store import Event, Store

ACTOR = "service-controller"
BALANCING = 2.0
"""Simulated seconds until a load balancer is there."""


class Services:
    """Gives each service what its type promises."""

    def __init__(self, store: Store, work: Work) -> None:
        self._store = store
        self._work = work
        self._recorder = Recorder(store, ACTOR)
        self._numbers = itertools.count(1)

    def concerned(self, event: Event) -> list[Key]:
        return [key_of(event.object)] if event.resource is SERVICES and event.type != "DELETED" else []

    def reconcile(self, key: Key) -> None:
        service = self._store.find(SERVICES, *key)
        if service is None or is_terminating(service):
            return
        if service["spec"].get("type") != "ExternalName":
            self._address(service)
        if service["spec"].get("type") == "LoadBalancer" and not service["status"].get("loadBalancer"):
            self._balance(service)

    def _address(self, service: Object) -> None:
        def address(found: Object) -> None:
            spec = found["spec"]
            if not spec.get("clusterIP"):
                number = next(self._numbers)
                spec["clusterIP"] = f"10.96.{number // 250}.{number % 250 + 1}"
            spec["clusterIPs"] = [spec["clusterIP"]]
            if spec.get("type") in ("LoadBalancer", "NodePort"):
                for port in spec.get("ports") or []:
                    port.setdefault("nodePort", 30000 + next(self._numbers))

        self._store.change(SERVICES, *key_of(service), address, actor=ACTOR)

    def _balance(self, service: Object) -> None:
        namespace, name = key_of(service)
        if not self._work.has_waited(self, key_of(service), service["metadata"]["uid"], BALANCING):
            return

        def balance(found: Object) -> None:
            entry = {"ip": "127.0.0.1", "hostname": f"{name}.{namespace}.elb.sandbox"}
            found["status"] = {"loadBalancer": {"ingress": [entry]}}

        self._store.change(SERVICES, namespace, name, balance, subresource="status", actor=ACTOR)
        self._recorder.normal(SERVICES, service, "EnsuredLoadBalancer", "Ensured load balancer")
