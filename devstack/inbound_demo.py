"""The demo of inbound mail: a recipient replies to a sent mail, and the reply is matched to that mail."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from devstack.process import wait_for
from devstack.row_counts import count_rows
from devstack.stack import Stack
from devstack.story import check, print_chapter, say
from fake_sendgrid.server import FakeSendGrid

#: Seconds for all of it.
PATIENCE = 60


@dataclass(frozen=True)
class Figures:
    """Figures from the database."""

    inbound: int
    pending: int
    replies: int
    to_our_mail: int


def run(deployment: Stack, sendgrid: FakeSendGrid) -> tuple[dict[str, int], bool]:
    """Wait for the reply; return the figures, and whether they are as expected."""
    print_chapter(3, "A mail comes in")
    say(
        "Carol answers her invoice. SendGrid posts her mail to the inbound webhook. A worker parses it, "
        "finds the mail that it answers, and calls a receiver:"
    )
    try:
        found = wait_for(
            lambda: _figures_when_finished(deployment.env), seconds=PATIENCE, what="the reply has come"
        )
        print(flush=True)
        say(_received_reply(deployment.env), indent="     ")
    except TimeoutError as timeout:
        say(str(timeout))
        found = _figures(deployment.env)
    good = check(
        ("mail stored", found.inbound, 1),
        ("post by SendGrid", sum(len(mail.statuses) for mail in sendgrid.received), 1),
        ("call of the receiver", found.replies, 1),
        ("matched to the mail that it answers", found.to_our_mail, 1),
    )
    return {"inbound": found.inbound}, good


def _figures_when_finished(env: Mapping[str, str]) -> Figures | None:
    found = _figures(env)
    return found if found.replies and not found.pending else None


def _figures(env: Mapping[str, str]) -> Figures:
    tables = {
        "inbound": "events_app_inboundmail",
        "pending": "events_app_pendinginbounddelivery",
        "replies": "example_app_reply",
        "to_our_mail": (
            "example_app_reply JOIN sending_app_recipient ON replace(answers, '-', '') = message_id"
        ),
    }
    return Figures(**count_rows(env, tables))


def _received_reply(env: Mapping[str, str]) -> str:
    """The reply, as the receiver has stored it."""
    with closing(sqlite3.connect(env["DATABASE_URL"].removeprefix("sqlite:///"))) as database:
        sender, text = database.execute("SELECT sender, text FROM example_app_reply").fetchone()
    return f"{sender} writes: {text}"
