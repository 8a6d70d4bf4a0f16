"""A worker whose settings cannot be used ends at its start. The checks name the same faults."""

import os
import sys
from pathlib import Path

import pytest
from pytest_django import Settings

from devstack.stack import BIN, PASSED_ON, ROOT
from events_app.worker.settings import end_with_faults
from tests.support import preloaded

#: Values that the module of the tasks reads at its import.
UNUSABLE = '{**ANYMAIL, "RECEIVER_TIME_LIMIT": "long", "REQUESTS_TIMEOUT": -1, "SEND_MAX_AGE": 0}'

FAULTS = (
    "ANYMAIL['RECEIVER_TIME_LIMIT']: must be a whole number of at least 1",
    "ANYMAIL['REQUESTS_TIMEOUT']: must be a number of seconds, up to an hour, or a pair: ",
    "ANYMAIL['SEND_MAX_AGE']: must be a whole number of at least 1",
)

PROGRAMS = {
    "celery": (str(BIN / "celery"), "-A", "workers.app", "worker", "--pool", "solo"),
    "check": (sys.executable, "manage.py", "check"),
}


def test_a_worker_with_usable_settings_starts() -> None:
    end_with_faults()


def test_a_worker_ends_if_anymail_is_no_dict(settings: Settings) -> None:
    settings.ANYMAIL = ["SENDGRID_API_KEY"]
    with pytest.raises(SystemExit, match=r"^ANYMAIL must be a dict of settings, not list: "):
        end_with_faults()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_names_all_faults_and_ends_without_a_traceback(program: str, tmp_path: Path) -> None:
    (tmp_path / "unusable.py").write_text(f"from project.settings import *\nANYMAIL = {UNUSABLE}\n")
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
        "DJANGO_SETTINGS_MODULE": "unusable",
        "DJANGO_SECRET_KEY": "x",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }
    ended = preloaded.run(PROGRAMS[program], environment, ROOT)
    assert ended.returncode == 1
    assert all(fault in ended.stderr for fault in FAULTS)
    assert "Traceback" not in ended.stderr
