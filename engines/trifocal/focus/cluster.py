"""Jobs on a cluster, or on this machine as a cluster would run them: a thin layer over submitit."""

from __future__ import annotations

import shutil
import time
import uuid
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

POLL_S = 0.25
CANCEL_S = 5.0
AT_ONCE = 100  # on slurm; a scheduler that sees thousands of jobs of one user slows down for everybody


class JobLostError(RuntimeError):
    """A job ended without a result: it was killed, ran out of memory or time, or raised."""


@dataclass(frozen=True)
class Cluster:
    """Where jobs run and what each may use.

    Attributes:
        kind: "local": processes of this machine. "slurm": by sbatch.
        at_once: Jobs that run or wait in the queue at a time.
        partition: Of slurm; its default one if None.
        minutes: Time limit of a job. A job that meets it, or is preempted, is queued again (three times at
            most for the limit).
        cpus: Of a job on slurm.
        gpus: Of a job on slurm.
    """

    kind: str
    at_once: int
    partition: str | None = None
    minutes: int = 60
    cpus: int = 4
    gpus: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("local", "slurm"):
            msg = f"the kind of a cluster must be local or slurm, got {self.kind!r}"
            raise ValueError(msg)
        for name, least in {"at_once": 1, "minutes": 1, "cpus": 1, "gpus": 0}.items():
            if getattr(self, name) < least:
                msg = f"{name} must be {least} or more, got {getattr(self, name)}"
                raise ValueError(msg)

    @classmethod
    def parse(cls, text: str, **options: Any) -> Cluster:
        """From "local:N", "slurm" or "slurm:N", where N is the number of jobs at a time.

        Raises:
            ValueError: If it is something else.
        """
        kind, _, number = text.partition(":")
        known = (kind == "local" and number) or kind == "slurm"
        if not known or (number and not number.isdecimal()):
            msg = f"jobs must be local:N, slurm or slurm:N (N at a time), got {text!r}"
            raise ValueError(msg)
        return cls(kind, int(number or AT_ONCE), **options)

    def results(
        self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], folder: Path
    ) -> Iterator[tuple[int, Any]]:
        """Run a function for each tuple of arguments, and yield (index, result) as they come.

        In the place of the result of a job that is lost stands a `JobLostError`; its logs stay in the folder,
        those of the others go. Ending the iteration early cancels what runs.

        Args:
            function: Of a module (it is pickled by its name); must bear to be run again after it was cut off.
            calls: Arguments.
            folder: For the logs, on a disk that all machines see.

        Raises:
            ImportError: If submitit is not installed.
            ValueError: If there is no slurm.
        """
        if not calls:
            return
        home = folder / uuid.uuid4().hex[:8]  # local jobs are named by process ids, which come again
        executor = self._executor(home)
        waiting, running = deque(enumerate(calls)), dict[int, Any]()
        try:
            while waiting or running:
                while waiting and len(running) < self.at_once:
                    index, arguments = waiting.popleft()
                    running[index] = executor.submit(_Again(function), *arguments)
                ended = [index for index, job in running.items() if job.done()]
                if not ended:
                    time.sleep(POLL_S)
                for index in ended:
                    yield index, self._outcome(running.pop(index))
        finally:
            _cancel(list(running.values()))
            with suppress(OSError):  # a log is left, or another run has just begun
                home.rmdir()
                folder.rmdir()

    def _executor(self, home: Path) -> Any:
        try:
            import submitit
        except ImportError as error:
            msg = "jobs must have submitit, and it is not installed: pip install trifocal[train]"
            raise ImportError(msg) from error
        if self.kind == "slurm" and shutil.which("sbatch") is None:
            msg = "jobs on slurm must have sbatch, and it is not here: log in to the cluster, or use local:N"
            raise ValueError(msg)
        executor = submitit.AutoExecutor(home, cluster=self.kind)
        gpus = self.gpus if self.kind == "slurm" else _gpus_here()  # a local job sees no other ones
        executor.update_parameters(name="trifocal", timeout_min=self.minutes, gpus_per_node=gpus)
        if self.kind == "slurm":
            executor.update_parameters(cpus_per_task=self.cpus)
            if self.partition is not None:
                executor.update_parameters(slurm_partition=self.partition)
        return executor

    def _outcome(self, job: Any) -> Any:
        import submitit

        logs = job.paths.stderr
        # On this machine a file is there at once; submitit would wait for it, as for a network's disk.
        if self.kind == "local" and not job.paths.result_pickle.exists():
            return JobLostError(f"the job was killed before it ended; its log is {logs}")
        try:
            result = job.result()
        except submitit.core.utils.FailedJobError as error:
            trace = str(error).partition("\n---")[2].rpartition("\n---")[0]
            reason = trace.strip().splitlines()[-1]
            return JobLostError(f"the job failed: {reason}; its log is {logs}")
        except submitit.core.utils.UncompletedJobError:
            return JobLostError(f"the job ended without a result ({job.state}); its log is {logs}")
        for file in logs.parent.glob(f"{job.job_id}_*"):
            file.unlink(missing_ok=True)
        return result


@dataclass(frozen=True)
class _Again:
    """A function that submitit may queue again when its job is preempted or out of time."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def checkpoint(self, *arguments: Any) -> Any:
        import submitit

        return submitit.helpers.DelayedSubmission(self, *arguments)


def _gpus_here() -> int:
    import torch  # late: every job imports this module, and torch takes seconds

    return torch.cuda.device_count()


def _cancel(jobs: Sequence[Any]) -> None:
    for job in jobs:
        job.cancel(check=False)
    last = time.monotonic() + CANCEL_S
    while time.monotonic() < last and not all(job.done() for job in jobs):
        time.sleep(POLL_S / 5)
