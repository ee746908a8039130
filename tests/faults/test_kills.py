"""kill -9 of the real process after every effect and every commit of every operation; the next process goes on."""

from pathlib import Path

import pytest

from tests.faults.jobs import JOBS, Job
from tests.faults.mortal import mortal
from tests.faults.scene import Effects, scene
from tests.faults.table import Row

WRITES = [pytest.param(job, at, id=f"{job.name}-{at}") for job in JOBS for at in range(1, job.writes + 1)]
COMMITS = [pytest.param(job, at, id=f"{job.name}-{at}") for job in JOBS for at in range(1, job.commits + 1)]


@pytest.mark.parametrize(("job", "at"), WRITES)
async def test_killed_after_a_write_to_kubernetes_the_next_process_reaches_the_goal(
    job: Job, at: int, tmp_path: Path, row: Row
) -> None:
    row.tries("kill -9 after a write to Kubernetes", job.name)
    async with scene(tmp_path, job) as case:
        async with mortal(case.box, case.configuration) as first:
            case.at_write(at, first.process.kill)
            assert await case.died(first), "fewer writes than the matrix believes: set them in jobs.py"
        assert await first.ended() == -9
        async with mortal(case.box, case.configuration):
            await case.judge()


@pytest.mark.parametrize(("job", "at"), COMMITS)
async def test_killed_after_a_commit_the_next_process_reaches_the_goal(
    job: Job, at: int, tmp_path: Path, row: Row
) -> None:
    """How Slack's messages are coalesced decides on the number of commits: the last ones may not come."""
    row.tries("kill -9 after a commit", job.name)
    async with scene(tmp_path, job) as case:
        async with mortal(case.box, case.configuration, last_commit=at) as first:
            if not await case.died(first):
                row.did_not_come()
                await case.judge()
                return
        assert await first.ended() == -9
        async with mortal(case.box, case.configuration):
            await case.judge()


@pytest.mark.parametrize("job", [pytest.param(job, id=job.name) for job in JOBS])
async def test_undisturbed_it_has_as_many_effects_as_the_matrix_kills_after(job: Job, tmp_path: Path, row: Row) -> None:
    row.tries("none", job.name)
    async with scene(tmp_path, job) as case:
        async with mortal(case.box, case.configuration) as running:
            await job.order(case.place)
            await case.judge()
            assert await running.terminated() == 0
        counts = Effects()
        assert sum(counts(write) for write in case.log_of_writes) == job.writes
        assert running.commits <= job.commits
