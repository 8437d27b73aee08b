"""What every worker of a cluster is told: that to end in order is not to die of a field."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin

from bridge.pipeline.cluster_work import begin_in_order, end_in_order


class Ending(WorkerPlugin):  # type: ignore[misc]
    """Asks a worker whose time is over to say so of the fields it holds."""

    name = "cellpose-fiji"
    idempotent = True  # one that is there is not replaced, which would tear it down

    def setup(self, worker: Any) -> None:  # noqa: ARG002
        """Called by Dask when a worker begins, also one in the process of another that has ended."""
        begin_in_order()

    def teardown(self, worker: Any) -> None:  # noqa: ARG002
        """Called by Dask when a worker ends, not when it is killed."""
        end_in_order()
