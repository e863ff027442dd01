"""Tasks on the workers of a Dask cluster, or one after another in this process where there is none."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from digitlib.errors import DigitError
from digitlib.files import project_root

MISSING = (
    '{what} needs Dask, which runs tasks on several processes and machines: pip install "digitlib[cluster]", '
    "or leave it out and all is done here, one after another."
)

ANSWERS_WITHIN = 10
"""Seconds that a scheduler has to answer."""

AHEAD = 1000
"""Tasks that wait at the scheduler; more are sent as these end, so that a billion images need no billion entries."""

_ONE_AT_A_TIME = threading.Lock()
"""A worker with several threads gives them all to one task: TensorFlow spreads it over them."""

Task = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Outcome:
    """What came of one task.

    Attributes
    ----------
    key : str
        The task's name.
    value : object
        What the function returned.
    error : Exception or None
        What it raised, or that workers died over it again and again.
    """

    key: str
    value: Any = None
    error: BaseException | None = None

    def result(self) -> Any:
        """Return the value, or raise what was raised, with the task's name before what is no sentence for a user.

        Raises
        ------
        DigitError
            In any case of an error.
        """
        if self.error is None:
            return self.value
        if isinstance(self.error, DigitError):
            raise self.error
        if type(self.error).__name__ == "FutureCancelledError":  # Dask's, which need not be installed
            raise DigitError(
                f"{self.key} is not done, since the scheduler ended: start it again, and give the same command again."
            ) from self.error
        raise DigitError(f"{self.key} failed: {type(self.error).__name__}: {self.error}") from self.error


class Here:
    """Does tasks one after another in this process."""

    size = 1
    dashboard = ""

    def run(
        self, function: Callable[..., Any], tasks: Iterable[Task], ahead: int = 0
    ) -> Generator[Outcome, None, None]:
        """Call `function` for each task; see `Workers.run`."""
        for key, arguments in tasks:
            yield _outcome(key, partial(function, *arguments))


class Workers:
    """Does tasks on the workers of a Dask cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    @property
    def size(self) -> int:
        """How many workers there are now."""
        return len(self.client.scheduler_info(n_workers=-1)["workers"])

    @property
    def dashboard(self) -> str:
        """Address of Dask's own page about what goes on."""
        return str(self.client.dashboard_link)

    def run(
        self, function: Callable[..., Any], tasks: Iterable[Task], ahead: int = AHEAD
    ) -> Generator[Outcome, None, None]:
        """Call `function` for each task on the workers.

        A task whose worker dies is done again by another; a task may be begun twice, so the function should look
        whether its work is already done. Ending the generator early cancels what has not begun.

        Parameters
        ----------
        function : callable
            Importable by the workers, such as a function of digitlib.
        tasks : iterable of (str, tuple)
            A name that stands for the work, and arguments; paths among them should be absolute.
        ahead : int
            How many tasks may wait; `tasks` is not read any further than that.

        Yields
        ------
        Outcome
            As tasks end, in any order.
        """
        from distributed import as_completed

        todo = iter(tasks)
        first = [self._send(function, task) for task in islice(todo, ahead)]
        ended = as_completed(first, loop=self.client.loop)
        try:
            for future in ended:
                yield _outcome(future.key, future.result)
                future.release()
                for task in islice(todo, 1):
                    ended.add(self._send(function, task))
        finally:
            with suppress(Exception):  # a scheduler that is gone has nothing left to cancel
                self.client.cancel([future for future, _ in getattr(ended, "futures", {}).items()])

    def _send(self, function: Callable[..., Any], task: Task) -> Any:
        key, arguments = task
        return self.client.submit(on_worker, str(project_root()), function, *arguments, key=key, pure=False)


def _outcome(key: str, result: Callable[[], Any]) -> Outcome:
    try:
        return Outcome(key, result())
    except Exception as error:  # one task's fault is not the others'
        return Outcome(key, error=error)


def on_worker(root: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Do one task on a worker: in the client's project folder, with as many threads as the worker has."""
    from distributed import get_worker
    from tqdm import tqdm

    with _ONE_AT_A_TIME:
        os.environ["DIGITLIB_ROOT"] = root
        os.environ["TQDM_DISABLE"] = "1"  # it is the client that shows progress
        tqdm.set_lock(
            threading.RLock()
        )  # its own is for several processes, and outlives a worker that is ended
        limit_threads(get_worker().state.nthreads)
        return function(*arguments)


def limit_threads(n: int) -> None:
    """Let TensorFlow and numba in this process, and in kernels it starts, compute with `n` threads.

    Without effect on a TensorFlow that has already computed.

    Parameters
    ----------
    n : int
        Threads, from 1 on.
    """
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
    os.environ.update(dict.fromkeys(names[:3], str(n)))
    if "numba" in sys.modules:
        import numba

        numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    else:
        os.environ[names[3]] = str(n)


def _check_certificates(scheduler: str) -> None:
    """Refuse an encrypted address where no certificate is set: Dask would tell of the inside of its sockets."""
    import dask

    names = [f"distributed.comm.tls.{name}" for name in ("ca-file", "client.cert")]
    if scheduler.startswith("tls://") and not all(dask.config.get(name, None) for name in names):
        raise DigitError(
            f"{scheduler} is encrypted and needs certificates: set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
            "..._CLIENT__CERT and ..._CLIENT__KEY, as docs/clusters.md shows."
        )


@contextmanager
def open_workers(scheduler: str | None = None, workers: int = 0) -> Iterator[Here | Workers]:
    """Connect to a cluster, or start one on this machine, or do without.

    Parameters
    ----------
    scheduler : str, optional
        Address of a running scheduler, such as ``tcp://10.0.0.1:8786``.
    workers : int
        Without a scheduler: processes to start on this machine, one thread each; 0 starts none.

    Yields
    ------
    Here or Workers
        Both have `run`.

    Raises
    ------
    DigitError
        If both are given, Dask is not installed, nobody answers at that address, it is encrypted and no certificate is
        set, or workers can't be started.
    """
    if scheduler and workers:
        raise DigitError(
            "--scheduler has workers of its own: leave --workers out, or start some on this machine without it."
        )
    if not scheduler and workers < 1:
        yield Here()
        return
    try:
        import distributed
    except ImportError as error:
        raise DigitError(MISSING.format(what="--scheduler" if scheduler else "--workers")) from error
    with ExitStack() as opened:
        if scheduler:
            _check_certificates(scheduler)
            try:
                with ThreadPoolExecutor(1) as aside:  # Jupyter has a loop of its own in this thread
                    aside.submit(asyncio.run, _answer(scheduler)).result()
                client = distributed.Client(scheduler, timeout=ANSWERS_WITHIN, set_as_default=False)
            except (OSError, ValueError, ImportError) as error:
                raise DigitError(
                    f"no scheduler answers at {scheduler!r}: start one with `dask scheduler` and give the address that it "
                    "prints, such as tcp://127.0.0.1:8786."
                ) from error
        else:
            client = distributed.Client(opened.enter_context(_start_here(workers)), set_as_default=False)
        connected = Workers(opened.enter_context(client))
        if scheduler and not connected.size:
            print(
                f"No worker has joined {scheduler} yet: start some with `dask worker {scheduler}`.",
                file=sys.stderr,
            )
        yield connected


async def _answer(scheduler: str) -> None:
    """Find out whether a scheduler answers: a client waits without end for what speaks otherwise, such as its dashboard."""
    from distributed.comm.core import connect
    from distributed.security import Security

    how = Security().get_connection_args("client")
    connection = await asyncio.wait_for(connect(scheduler, timeout=ANSWERS_WITHIN, **how), ANSWERS_WITHIN)
    await connection.close()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let processes that are started meanwhile ignore Ctrl-C: a terminal sends it to them too, but this process ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _start_here(workers: int) -> Any:
    """Start worker processes of one thread each on this machine."""
    import distributed

    try:
        with _deaf_to_interrupts():
            return distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=40
            )
    except RuntimeError as error:
        raise DigitError(
            f"workers can't be started ({str(error).rstrip('.')}). If a script of your own started them, it has to do so "
            'below `if __name__ == "__main__":`, since each of them reads it first.'
        ) from error
