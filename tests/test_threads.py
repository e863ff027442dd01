"""A worker computes with the threads that it was given."""

from __future__ import annotations

import pytest

from digitlib.scale.cluster import Workers


def largest_share() -> float:
    """Return the largest share that one thread of this process has in the processor time of a long computation."""
    import psutil

    from digitlib.training.backend import tensorflow

    matrix = tensorflow.random.normal((1200, 1200))

    def spent() -> dict[int, float]:
        return {one.id: one.user_time + one.system_time for one in psutil.Process().threads()}

    tensorflow.matmul(matrix, matrix).numpy()
    before = spent()
    while sum(gained := [time - before.get(one, 0) for one, time in spent().items()]) < 2:
        for _ in range(10):
            matrix = tensorflow.math.l2_normalize(tensorflow.matmul(matrix, matrix), axis=1)
        matrix.numpy()
    return max(gained) / sum(gained)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_a_worker_computes_with_its_threads(threads: int) -> None:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=threads, dashboard_address=None, silence_logs=40
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        (done,) = Workers(client).run(largest_share, [("share", ())])
    share = done.result()
    # Two threads share the products; what lies between them is done by one.
    assert share > 0.9 if threads == 1 else share < 0.85
