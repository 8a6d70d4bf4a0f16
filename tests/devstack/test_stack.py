"""The processes of a deployment on this machine."""

from pathlib import Path

import pytest

from devstack.stack import Stack


def test_a_worker_is_not_ready_by_the_log_of_an_earlier_run(tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_text("worker@here ready.\n")
    with Stack(tmp_path, {}) as stack, pytest.raises(RuntimeError, match="No such option"):
        stack.worker("--no-such-option")
