"""The one Dask client of the course: workers on this machine, or those of a scheduler elsewhere."""

import logging
import os
from contextlib import ExitStack, contextmanager

from course.lab.errors import UserError

SCHEDULER_SECONDS = 15  # to wait for an answer
SETTINGS = {
    # On a busy machine a killed worker takes longer to come back than the 15 s after which Dask
    # gives it up.
    "distributed.deploy.lost-worker-timeout": "1 hour",
    # It looks at each worker a hundred times a second, which would cost the runs some percent.
    "distributed.worker.profile.enabled": False,
}


class ClusterError(UserError):
    """Workers that cannot be had, or answer no more; says what to do."""


@contextmanager
def connect(workers, scheduler=None, *, log=None):
    """A Dask client whose workers have one thread each.

    Papermill changes the folder of its whole process, and a box holds one submission at a time:
    neither may share a process.

    Parameters
    ----------
    workers : int
        Processes on this machine, where no scheduler is given.
    scheduler : str, optional
        Address of a Dask scheduler, such as "tcp://127.0.0.1:8786".
    log : path, optional
        A file for what the workers of this machine write to stderr.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ClusterError
        If no scheduler answers, it has no suitable workers, or it answers no more.
    """
    # Imported here: the kernel of each run imports its neighbours, and Dask takes a second.
    import dask
    from distributed import Client, LocalCluster
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    # What it would say is said below.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    where = f"the Dask scheduler at {scheduler}" if scheduler else "the workers of this machine"
    with ExitStack() as stack:
        address = scheduler
        if not scheduler:
            stack.enter_context(dask.config.set(SETTINGS))
            address = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address="127.0.0.1:0",  # the usual port may be taken
                    memory_limit=0,  # it is the children's, which Dask does not see
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = stack.enter_context(Client(address, timeout=SCHEDULER_SECONDS))
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"No Dask scheduler answers at {scheduler} ({error}). Start one with `dask"
                " scheduler`, and workers with `dask worker ADDRESS --nthreads 1`."
            ) from error
        threads = client.ncores().values()
        if not threads or max(threads) > 1:
            trouble = "a worker with several threads" if threads else "no workers"
            raise ClusterError(
                f"The scheduler at {scheduler} has {trouble}; each piece of work needs a process"
                f" of its own. Start workers with `dask worker {scheduler} --nworkers 2"
                " --nthreads 1`."
            )
        if log and not scheduler:
            client.register_plugin(_quiet(log))
        try:
            yield client
        except (CommClosedError, FutureCancelledError) as error:
            raise ClusterError(
                f"There is no answer any more from {where}. Start it again, and then this: what is"
                " finished is kept."
            ) from error


def _quiet(log):
    from distributed import WorkerPlugin

    class Quiet(WorkerPlugin):
        """Sends what a worker, its fork server and its kernels write to stderr into a file."""

        def setup(self, worker):
            with open(log, "a") as file:
                os.dup2(file.fileno(), 2)

    return Quiet()
