"""Whether the gateway answers from outside, as a customer would ask it."""

from urllib.parse import urlsplit, urlunsplit

import aiohttp

from lifecycle.diagnosis import Traffic
from lifecycle.errors import ClusterError, Gone
from lifecycle.kube import paths
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door
from lifecycle.kube.paths import Resource
from lifecycle.kube.read import spec_of, status_of

SERVICE = "tm-svc"
"""The traffic managers' service, one for all zones (domain, section 1)."""
PATH = "/mashping"
SECONDS = 5.0


async def traffic(door: Door, namespace: str, probe_url: str | None) -> Traffic:
    """Ask at ``probe_url``, else at the service's load balancer. What fails is a verdict, never an error."""
    if probe_url:
        return await _ask(probe_url)
    try:
        service = await door.get(paths.one_of(Resource.SERVICES, namespace, SERVICE))
    except Gone:
        return Traffic(Traffic.NO_ADDRESS, detail=f"there is no service {SERVICE}")
    except ClusterError as error:
        return Traffic(Traffic.UNREACHABLE, detail=f"its address cannot be read: {error}")
    address = address_of(service)
    return await _ask(f"http://{address}{PATH}") if address else Traffic(Traffic.NO_ADDRESS)


def address_of(service: Json) -> str:
    """Host and port of its load balancer, HTTP's port 80 where the service has it; empty while there is none."""
    ingress = ((status_of(service).get("loadBalancer") or {}).get("ingress") or [{}])[0]
    host = ingress.get("ip") or ingress.get("hostname") or ""
    ports = [port.get("port") for port in spec_of(service).get("ports") or []]
    port = 80 if 80 in ports or not ports else ports[0]
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if not host or port == 80 else f"{bracketed}:{port}"


async def _ask(url: str) -> Traffic:
    shown = _without_secrets(url)
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            verdict = Traffic.ANSWERS if answer.status == 200 else Traffic.REFUSES
            return Traffic(verdict, shown, f"status {answer.status}")
    except TimeoutError:
        return Traffic(Traffic.UNREACHABLE, shown, f"no answer within {SECONDS:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Traffic(Traffic.UNREACHABLE, shown, type(error).__name__)


def _without_secrets(url: str) -> str:
    """Without user, password, query and fragment, where people put tokens."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
