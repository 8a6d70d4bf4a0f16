"""The app needs one line of INSTALLED_APPS, and no table."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command

from devstack.stack import ROOT
from overview_app.models import Overview

WITHOUT = """
import django, project.settings
project.settings.INSTALLED_APPS.remove("overview_app")
django.setup()
from django.contrib import admin
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver
call_command("check", "--fail-level", "ERROR")
assert not [model for model in admin.site._registry if model._meta.app_label == "overview_app"]
print(Client().get("/")["Location"])
"""


@pytest.mark.django_db
def test_the_model_has_a_permission_and_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(Overview.objects.all()) == []
    names = Permission.objects.filter(content_type__app_label="overview_app").values_list(
        "codename", flat=True
    )
    assert list(names) == ["view_overview"]
    for options in ([], ["--all"]):
        call_command("dumpdata", "overview_app", *options)
        assert json.loads(capsys.readouterr().out) == []


@pytest.mark.django_db(databases="__all__")
def test_the_model_needs_no_migration(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("makemigrations", "--check", "--dry-run")
    assert "No changes detected" in capsys.readouterr().out


def test_without_its_line_the_site_has_no_overview(tmp_path: Path) -> None:
    env = {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DJANGO_SECRET_KEY": "a-key",
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        "DJANGO_ALLOWED_HOSTS": "testserver",
    }
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=ROOT, env=env, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "/admin/"), done.stderr
