"""The demo of inbound mail: a recipient replies to a sent mail, and the reply is matched to that mail."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from devstack.process import wait_for
from devstack.row_counts import count_rows, print_comparison
from devstack.stack import Stack
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
    print("Carol has replied: SendGrid posts her mail to the inbound webhook.", flush=True)
    try:
        found = wait_for(
            lambda: _figures_when_finished(deployment.env), seconds=PATIENCE, what="the reply has come"
        )
        print(f"  {_received_reply(deployment.env)}", flush=True)
    except TimeoutError as timeout:
        print(timeout, flush=True)
        found = _figures(deployment.env)
    good = print_comparison(
        ("inbound mails", found.inbound, 1),
        ("posts of them", sum(len(mail.statuses) for mail in sendgrid.received), 1),
        ("handed to the receiver", found.replies, 1),
        ("matched to our mail", found.to_our_mail, 1),
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
