"""A person is forgotten in the content of mails; other people stay as they are."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.test import override_settings
from hypothesis import HealthCheck, given
from hypothesis import settings as examples_of
from hypothesis import strategies as st

from events_app.shared.database import slices
from events_app.shared.personal_data.person import Person
from fake_sendgrid.server import FakeSendGrid
from sending_app import encryption, outbox
from sending_app.delivery import sender
from sending_app.mail import AttachedFile, Personalization
from sending_app.models import Attachment, Mail, MessageLabel, OpenCircuit, OutboxMessage, Recipient
from sending_app.personal_data import errors, messages
from tests.support.examples import examples
from tests.support.sending.delivery import deliver, sendgrid_double, take_lease
from tests.support.sending.erasing import KEY, count, erase, traces
from tests.support.sending.mail_events import event_payload, receive_events, stored_recipients
from tests.support.sending.outbox_mails import all_parts, mail, only_part, personalization, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

ANN, BOB = "ann@example.com", "bob@example.com"
FERNET = Fernet.generate_key().decode()

State = Mail.State


@pytest.fixture(autouse=True)
def keys(anymail: Callable[..., None]) -> Any:
    anymail(PERSONAL_DATA_KEY=KEY, OUTBOX_ENCRYPTION_KEYS=[FERNET])
    yield
    sender.unwritten.writes.clear()


@pytest.fixture
def sendgrid(anymail: Callable[..., None]) -> Any:
    with sendgrid_double(anymail) as found:
        yield found


def ann() -> str:
    return Person(ANN).pseudonym


def pieces() -> list[bytes]:
    """The personalizations of all mails, as JSON."""
    rows = Mail.objects.using(outbox.using()).exclude(personalizations=None).order_by("pk")
    contents = [encryption.decrypt(row.personalizations or b"") for row in rows]
    return [
        bytes(raw) for content in contents for raw in msgspec.json.decode(content, type=list[msgspec.Raw])
    ]


def addressees() -> list[tuple[str, str]]:
    rows = Recipient.objects.using(outbox.using()).order_by("pk")
    return list(rows.values_list("address", "status"))


def set_state(state: Mail.State) -> None:
    Mail.objects.using(outbox.using()).update(state=state)


def with_everything(*to: str) -> Any:
    """A mail whose every part mentions Ann."""
    file = AttachedFile(content=b"Dear ann@example.com", filename="for ann@example.com", type="text/plain")
    return mail(
        *(to or (ANN,)), "ANN@Example.com",
        attachments=[file, replace(file, content=b"hello")],
        subject="For Ann@example.com",
        reply_to_list=[{"email": ANN}],
        headers={"X-For": ANN},
        custom_args={"who": ANN},
        categories=[f"for {ANN}"],
    )  # fmt: skip


@pytest.mark.parametrize("state", [State.WAITING, State.UNKNOWN, State.PARKED])
def test_an_unfinished_mail_to_the_person_alone_is_emptied_and_cancelled(
    database: str, state: Mail.State
) -> None:
    put_in_outbox(with_everything())
    set_state(state)
    expected = {
        "messages": {"messages without other recipients": 1, "mails not yet sent": 1},
        "recipients": {"recipients": 1},
    }
    assert count(ANN) == expected
    assert only_part().state == state
    assert erase(ANN) == expected
    part = only_part()
    assert (part.state, part.message.content, part.message.subject) == ("cancelled", None, "")
    assert part.log[-1]["what"] == "Cancelled: the recipient was erased."
    assert addressees() == [(ann(), "failed")]
    assert not Attachment.objects.using(database).exists()
    assert not MessageLabel.objects.using(database).exists()
    assert traces(ANN) == []
    assert erase(ANN) == count(ANN) == {}


def test_a_finished_mail_to_the_person_alone_keeps_its_state_and_statuses(database: str) -> None:
    put_in_outbox(with_everything())
    receive_events(event_payload("delivered", stored_recipients()[0]))
    erase(ANN)
    assert only_part().state == "accepted"
    assert addressees() == [(ann(), "delivered")]
    assert traces(ANN) == []


def test_a_mail_to_others_too_is_sent_to_the_others_alone(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox(with_everything(BOB, ANN))
    assert erase(ANN)["messages"] == {"texts": 5, "attachments": 1}
    assert traces(ANN) == []
    assert deliver() == {"accepted": 1}
    (request,) = sendgrid.accepted
    assert request.body["personalizations"][0]["to"] == [{"email": BOB}]
    assert request.body["headers"] == {"X-For": ann()}
    first, second = request.body["attachments"]
    assert (first["filename"], first["type"]) == ("removed.txt", "text/plain")
    assert b"was removed" in base64.b64decode(first["content"])
    assert base64.b64decode(second["content"]) == b"hello"
    assert second["filename"] == f"for {ann()}"


def test_the_others_of_a_batch_stay_as_they_are(database: str) -> None:
    composed = mail(ANN, BOB, "carl@example.com", batch=True)
    composed.personalizations[1].merge_data["friend"] = "joann@example.com"
    put_in_outbox(composed)
    _, *others = pieces()
    assert erase(ANN) == {"messages": {"personalizations": 1}, "recipients": {"recipients": 1}}
    assert pieces() == others
    assert (only_part().state, only_part().recipient_count) == ("waiting", 2)
    assert addressees() == [(ann(), "failed"), (BOB, "queued"), ("carl@example.com", "queued")]
    assert erase(ANN) == {}


def test_a_part_of_a_batch_without_others_is_cancelled(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sending_app.api.payload.MAX_RECIPIENTS", 1)
    put_in_outbox(mail(ANN, BOB, batch=True))
    assert erase(ANN)["messages"] == {"personalizations": 1, "mails not yet sent": 1}
    first, second = all_parts()
    assert (first.state, first.personalizations, second.state) == ("cancelled", None, "waiting")


def test_copies_to_the_person_are_taken_out(database: str) -> None:
    put_in_outbox(mail(BOB, cc=[ANN, "carl@example.com"], bcc=[ANN]))
    erase(ANN)
    (piece,) = pieces()
    assert json.loads(piece)["cc"] == [{"email": "carl@example.com"}]
    assert json.loads(piece)["bcc"] == []


def test_personalizations_that_the_caller_wrote_lose_the_person(
    database: str, sendgrid: FakeSendGrid
) -> None:
    given = {"to": [{"email": BOB}], "cc": [{"email": ANN}], "custom_args": {"by": ANN}}
    composed = mail()
    composed.personalizations[:] = [replace(personalization(BOB, cc=[ANN]), given=given)]
    put_in_outbox(composed)
    erase(ANN)
    assert traces(ANN) == []
    assert deliver() == {"accepted": 1}
    sent = sendgrid.accepted[0].body["personalizations"][0]
    assert (sent["to"], "cc" in sent, sent["custom_args"]["by"]) == ([{"email": BOB}], False, ann())


def test_a_mail_that_a_worker_posts_is_left_and_erased_by_the_next_run(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_in_outbox(mail())
    put_in_outbox(mail(ANN, BOB, batch=True))
    leases = [take_lease(), take_lease()]
    left = {"mails left alone because a worker posts them: run again": 2}
    assert erase(ANN)["messages"] == left
    assert len(pieces()) == 3
    for lease in leases:
        Mail.objects.filter(pk=lease.mail.pk).update(state=State.ACCEPTED)
    assert erase(ANN)["messages"] == {"messages without other recipients": 1, "personalizations": 1}
    assert traces(ANN) == []


def test_an_event_proves_the_acceptance_of_a_cancelled_mail(database: str) -> None:
    put_in_outbox(mail())
    set_state(State.UNKNOWN)
    erase(ANN)
    receive_events(event_payload("delivered", stored_recipients()[0]))
    assert only_part().state == "accepted"
    assert addressees() == [(ann(), "delivered")]


def test_errors_logs_and_reasons_are_redacted(database: str) -> None:
    put_in_outbox(mail(BOB))
    part = only_part()
    log = [{"at": "2026-01-01T00:00:00+00:00", "what": f"refused {ANN}"}, "odd ann@example.com"]
    Mail.objects.using(database).update(error=f"no such address: {ANN}", log=log)
    OpenCircuit.objects.using(database).create(
        account="a", alias="default", opened_at=part.due, probe_at=part.due, reason=f"{ANN} is blocked"
    )
    expected = {"errors of mails": {"texts": 1}, "paused accounts": {"texts": 1}}
    assert count(ANN) == erase(ANN) == expected
    part.refresh_from_db()
    assert part.error == f"no such address: {ann()}"
    assert part.log == [{**log[0], "what": f"refused {ann()}"}, f"odd {ann()}"]  # type: ignore[dict-item]
    assert traces(ANN) == []


def test_the_errors_of_a_mail_that_a_worker_posts_are_left(database: str) -> None:
    put_in_outbox(mail(BOB))
    Mail.objects.using(database).update(error=ANN, state=State.POSTING)
    left = {"errors of mails": {"mails left alone because a worker posts them: run again": 1}}
    assert count(ANN) == erase(ANN) == left


def test_content_whose_key_is_missing_is_reported(database: str, anymail: Callable[..., None]) -> None:
    put_in_outbox(mail(BOB, ANN))
    put_in_outbox(mail())
    anymail(OUTBOX_ENCRYPTION_KEYS=[])
    assert erase(ANN)["messages"] == {
        "contents left alone because they cannot be read": 2,
        "messages without other recipients": 1,
        "mails not yet sent": 1,
    }
    anymail(OUTBOX_ENCRYPTION_KEYS=[FERNET])
    assert erase(ANN)["messages"] == {"texts": 1}
    assert traces(ANN) == []


def test_a_scan_yields_after_each_slice(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "SLICE", 2)
    for _ in range(5):
        put_in_outbox(mail())
    slices = list(messages.messages(Person(ANN), erases=True))
    assert [one["messages without other recipients"] for one in slices] == [2, 2, 1]


def test_after_the_erasure_a_mail_to_the_person_is_sent_again(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox(mail())
    erase(ANN)
    put_in_outbox(mail())
    assert deliver() == {"accepted": 1}
    assert sendgrid.accepted[0].body["personalizations"][0]["to"] == [{"email": ANN}]


def test_an_error_that_a_worker_writes_during_the_search_is_kept(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_outbox(mail(BOB))
    Mail.objects.update(error=f"first {ANN}")
    entries = [{"at": "2026-07-14T12:00:00+00:00", "what": what} for what in (f"to {ANN}", "refused")]

    def read_then_write(*args: Any) -> Any:
        for part in slices(*args):
            Mail.objects.update(error=f"second {ANN}", log=entries)
            yield part

    monkeypatch.setattr(errors, "slices", read_then_write)
    erase(ANN)
    part = only_part()
    assert part.error == f"second {ann()}"
    assert [entry["what"] for entry in part.log] == [f"to {ann()}", "refused"]


# --- Any mix of mails ---

#: Ann in several codings, people who are not Ann, and nobody.
MENTIONS = (
    *(
        "",
        "no one",
        "joann@example.com",
        "ann@example.com.au",
        ANN,
        "Ann <ANN@Example.COM>",
        "ann%40example.com",
    ),
    *('"ann"@example.com', "ann&#64;example.com", base64.b64encode(b"to: ann@example.com!").decode()),
)
PEOPLE = (ANN, "Ann@EXAMPLE.com", BOB, "joann@example.com", "carl@example.com", "ann@example.com.au")

people = st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=4, unique_by=str.lower)
mentions = st.sampled_from(MENTIONS)
mixes = st.lists(
    st.fixed_dictionaries(
        {
            "to": people,
            "cc": st.lists(st.sampled_from(PEOPLE), max_size=2, unique_by=str.lower),
            "batch": st.booleans(),
            "data": mentions,
            "text": mentions,
            "state": st.sampled_from([state for state in State if state != State.POSTING]),
        }
    ),
    max_size=4,
)


def put(mix: dict[str, Any]) -> None:
    composed = mail(
        *mix["to"],
        cc=[] if set(map(str.lower, mix["cc"])) & set(map(str.lower, mix["to"])) else mix["cc"],
        batch=mix["batch"],
        content=[{"type": "text/plain", "value": mix["text"] or "Hello"}],
        attachments=[AttachedFile(content=mix["text"].encode(), filename="a.txt", type="text/plain")],
    )
    composed.personalizations[-1].merge_data["about"] = mix["data"]
    message = put_in_outbox(composed)
    Mail.objects.filter(message=message).update(state=mix["state"])


def is_ann(recipient: dict[str, str]) -> bool:
    return recipient["email"].lower() == ANN


@pytest.mark.parametrize("encryption_keys", [[], [FERNET]], ids=["plain", "encrypted"])
@examples_of(max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mixes=mixes)
def test_any_mix_of_mails_keeps_the_others_and_no_trace_of_the_person(
    database: str, encryption_keys: list[str], mixes: list[dict[str, Any]]
) -> None:
    anymail = {**settings.ANYMAIL, "PERSONAL_DATA_KEY": KEY, "OUTBOX_ENCRYPTION_KEYS": encryption_keys}
    with override_settings(ANYMAIL=anymail):
        OutboxMessage.objects.all().delete()
        for mix in mixes:
            put(mix)
        person = Person(ANN)
        read = [msgspec.json.decode(piece, type=Personalization) for piece in pieces()]
        untouched = [piece for piece in pieces() if not person.is_in(piece)]
        # Those in which somebody else is in `to`.
        kept = {each.id for each in read if not all(map(is_ann, each.to))}
        would = count(ANN)
        assert would == erase(ANN)
        assert traces(ANN) == []
        after = pieces()
        assert [piece for piece in after if piece in set(untouched)] == untouched
        assert {msgspec.json.decode(piece, type=Personalization).id for piece in after} == kept
        assert count(ANN) == erase(ANN) == {}
