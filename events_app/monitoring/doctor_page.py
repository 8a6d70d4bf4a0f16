"""The page of the doctor: the lines of `manage.py doctor` as the web process sees them, for superusers."""

from itertools import groupby
from operator import attrgetter

from django.contrib.admin.sites import site
from django.contrib.auth.decorators import user_passes_test
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from events_app.monitoring.examination import examine, has_line, summarize, word_of
from events_app.shared.facts import Level

#: The classes that the admin's style has for messages.
_STYLES = {Level.OK: "success", Level.ADVICE: "info", Level.WARNING: "warning", Level.ERROR: "error"}


# Only superusers: the lines tell versions, addresses of servers and the state of the account, and an
# examination asks every server and SendGrid.
@require_safe
@never_cache
@non_atomic_requests
@user_passes_test(lambda user: user.is_active and user.is_superuser, login_url="admin:login")
def doctor_page(request: HttpRequest) -> HttpResponse:
    """Examine the deployment and show the lines, subject by subject."""
    readings = list(examine())
    lines = [reading for reading in readings if has_line(reading)]
    subjects = [
        (subject, [(_STYLES[line.level], word_of(line), line) for line in of_subject])
        for subject, of_subject in groupby(lines, key=attrgetter("subject"))
    ]
    context = {
        **site.each_context(request),
        "title": "Doctor",
        "summary": summarize(readings),
        "subjects": subjects,
    }
    return render(request, "events_app/doctor.html", context)
