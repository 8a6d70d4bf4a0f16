"""The report of `suppressions sync` about a list of SendGrid's, in sentences."""

from collections.abc import Iterator

from sending_app.suppression.sync import PartReport, Sync


def lines(report: PartReport, sync: Sync) -> Iterator[str]:
    yield f"{report.name}: {report.entries} at SendGrid"
    if report.begun:
        yield f"  {'Suppressed' if sync.apply else 'Would suppress'} here: {report.begun}."
    yield from _changes_there(report, sync)
    if report.vanished:
        yield f"  No longer there: {report.vanished} ({_named(report)})."
        if not sync.pull_removals:
            yield "  They stay suppressed here; --pull-removals ends them."
        elif sync.apply:
            yield f"  Ended here: {report.ended}. Others are on a list of SendGrid's after all."
        else:
            yield "  --apply ends those that are on no list of any account."


def _changes_there(report: PartReport, sync: Sync) -> Iterator[str]:
    if not sync.push:
        if report.ended_here:
            yield f"  Ended here by an operator and still there: {report.ended_here}. --push removes them."
        if report.missing_there:
            yield f"  Suppressed here and missing there: {report.missing_there}. --push adds them."
    else:
        if report.ended_here:
            verb = "Removed" if sync.apply else "Would remove"
            yield f"  {verb} there: {report.ended_here}. An operator ended them here."
        if report.missing_there:
            verb = "Added" if sync.apply else "Would add"
            yield f"  {verb} there: {report.missing_there - report.refused}."
    if report.refused:
        yield f"  Refused by SendGrid: {report.refused}."
    if report.not_addable:
        yield f"  Suppressed here and missing there: {report.not_addable}. SendGrid's API cannot add them."


def _named(report: PartReport) -> str:
    more = report.vanished - len(report.vanished_addresses)
    return ", ".join([*report.vanished_addresses, *([f"and {more} more"] * bool(more))])
