"""`nodetool flush` in the pods of nosql, once; what it writes goes no further than this module."""

from lifecycle.errors import ClusterError, Forbidden
from lifecycle.kube import paths, read
from lifecycle.kube.answers import Json
from lifecycle.kube.check import own_container
from lifecycle.kube.door import Door
from lifecycle.kube.execute import execute
from lifecycle.kube.masking import shown
from lifecycle.kube.parallel import together
from lifecycle.kube.paths import Resource
from lifecycle.snapshots import MAY_NOT_EXECUTE
from lifecycle.workloads import Workload

COMMAND = ("nodetool", "flush")


async def flush(door: Door, namespace: str, workload: Workload, *, seconds: float) -> str:
    """Why not every pod was flushed; empty where each was. All at once, ``seconds`` for each of them.

    Only what the list of the pods raises is raised.
    """
    answer = await door.get(paths.all_of(Resource.PODS, namespace))
    pods = [pod for pod in answer.get("items") or [] if read.belongs(pod, workload) and not read.is_finished(pod)]
    troubles = await together(_trouble(door, namespace, pod, seconds) for pod in pods)
    return "; ".join(filter(None, troubles)) if pods else "no pod of it runs"


async def _trouble(door: Door, namespace: str, pod: Json, seconds: float) -> str:
    """Not ready is no reason not to try."""
    name, container = read.name_of(pod), own_container(pod)
    try:
        ended = await execute(door, namespace, name, container, COMMAND, seconds=seconds)
    except Forbidden:
        return f"{name}: {MAY_NOT_EXECUTE}"
    except ClusterError as error:
        return shown(str(error))  # which names the pod
    return f"{name}: exit code {ended.code}" if ended.code else ""
