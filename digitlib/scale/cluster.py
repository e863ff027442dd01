"""Where joblib does its work: in this process, in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from joblib import Parallel, delayed, parallel_config

from digitlib.data.decoding import end_with_parent
from digitlib.errors import DigitError, needs
from digitlib.files import project_root
from digitlib.progress import environment

# Seconds that a scheduler has to answer, and times that work is sent out again after worker processes died.
ANSWERS_WITHIN, ATTEMPTS = 10, 3
# A Dask worker with several threads gives them all to one task: TensorFlow spreads it over them.
_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def workers(n: int = 0, scheduler: str | None = None) -> Iterator[None]:
    """Let `joblib.Parallel` work on `n` processes of one thread each, or on the workers of a Dask scheduler.

    Parameters
    ----------
    n : int
        Processes of this machine; 0 works in this process, one task after another.
    scheduler : str, optional
        Address of a running scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises
    ------
    DigitError
        If both are given, Dask is not installed, or no scheduler answers.

    Examples
    --------
    >>> with workers(2):
    ...     Parallel()(delayed(abs)(number) for number in (-1, -2))
    [1, 2]
    """
    if scheduler and n:
        raise DigitError("--scheduler has its own workers: leave out --workers.")
    if scheduler:
        with _connect(scheduler):
            yield
    elif n:
        with environment(_alone(1)), parallel_config("loky", n_jobs=n, inner_max_num_threads=1):
            yield
    else:
        with parallel_config("sequential"):
            yield


def each(function: Callable[..., Any], tasks: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[str, Any, str]]:
    """Call a function for each task where `workers` says, and yield what came of it, in any order.

    A task whose worker dies is done again, so the function should look whether its work is already done.

    Parameters
    ----------
    function : callable
        Importable by the workers.
    tasks : mapping of str to tuple
        Arguments by the task's name; paths must be absolute.

    Yields
    ------
    name, value, error : str, object, str
        What the function returned, or the message of what it raised; one of the two is empty.

    Raises
    ------
    DigitError
        If workers die again and again, or the scheduler ends.

    Examples
    --------
    >>> list(each(abs, {"first": (-1,)}))
    [('first', 1, '')]
    """
    left = dict(tasks)
    for _ in range(ATTEMPTS):
        calls = [delayed(_call)(str(project_root()), name, function, given) for name, given in left.items()]
        try:
            for ended in Parallel(return_as="generator_unordered", batch_size=1)(calls):
                del left[ended[0]]
                yield ended
            return
        except Exception as error:  # not of a task: `_call` returns those
            if (kind := type(error).__name__) not in ("TerminatedWorkerError", "KilledWorker"):
                raise DigitError(
                    f"The workers ended ({kind}): start them again, and run the same command again."
                ) from error
    raise DigitError("Worker processes died repeatedly, perhaps for lack of memory: use fewer of them.")


def _call(root: str, name: str, function: Callable[..., Any], given: tuple[Any, ...]) -> tuple[str, Any, str]:
    end_with_parent()
    if str(project_root()) != root:
        os.environ["DIGITLIB_ROOT"] = root
    with _ONE_AT_A_TIME:
        if "distributed" in sys.modules:
            from distributed import get_worker

            with suppress(ValueError):  # this is no worker
                os.environ.update(_alone(get_worker().state.nthreads))
        try:
            return name, function(*given), ""
        except Exception as error:  # one task's error must not end the others
            kind = "" if isinstance(error, DigitError) else f"{type(error).__name__}: "
            return name, None, f"{kind}{error}"


def _alone(threads: int) -> dict[str, str]:
    """Return the environment of a worker that computes with so many threads and shows no progress."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    # A worker that is ended leaves Keras's semaphores, which Python removes, and would warn of below our own last line.
    quiet = {"TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore:resource_tracker"}
    return dict.fromkeys(names, str(threads)) | quiet


@contextmanager
def _connect(scheduler: str) -> Iterator[None]:
    """Let joblib work on a scheduler's workers."""
    with needs("work on other processes or machines"):
        import distributed
        from distributed.comm.core import connect
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int) -> int:
            # With one, joblib would work in this process; and more workers may join later.
            return max(16, super().effective_n_jobs(n_jobs))

    try:
        with ThreadPoolExecutor(1) as aside:  # Jupyter has an event loop of its own in this thread
            # A client would wait for ever for something else that listens there, such as a dashboard.
            options = distributed.Security().get_connection_args("client")
            answer = asyncio.wait_for(connect(scheduler, timeout=ANSWERS_WITHIN, **options), ANSWERS_WITHIN)
            aside.submit(asyncio.run, answer).result()
        client = distributed.Client(scheduler, timeout=ANSWERS_WITHIN, set_as_default=False)
    except Exception as error:
        said = str(error)[:150] or type(error).__name__
        raise DigitError(f"No scheduler answers at {scheduler} ({said}): start one with `dask scheduler`.") from error
    with client, parallel_config(Backend(client=client, wait_for_workers_timeout=600)):
        yield
