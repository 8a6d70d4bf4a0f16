"""An inbound mail that answers one of ours names it where that can be told, and stands in nobody's way."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events_app import signals
from events_app.inbound.message import InboundMessage
from sending_app.filters import of_requests
from sending_app.mail import ComposedMail
from sending_app.models import Mail
from sending_app.replies import MAX_IDS, answered
from tests.support.examples import examples
from tests.support.sending.mail_events import stored_recipients
from tests.support.sending.outbox_mails import all_parts, mail, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

ONE, OTHER, DOTTED = "yuIyYYUsJlus7y_LDWUAwg", "B" * 22, "14c5d75ce93.dfd.64b469"
NOBODY = "7f3c3a4e-0000-4000-8000-000000000000"


def incoming(
    *to: str,
    sender: str = "ann@example.com",
    envelope_sender: str | None = None,
    envelope: Sequence[str] = (),
    in_reply_to: Sequence[str] = (),
    references: Sequence[str] = (),
    cc: str = "",
) -> InboundMessage:
    """A mail that has come in."""
    message = InboundMessage()
    headers = {
        "From": sender,
        "To": ", ".join(to),
        "Cc": cc,
        "In-Reply-To": " ".join(in_reply_to),
        "References": " ".join(references),
    }
    for name, value in headers.items():
        if value:
            message[name] = value
    message.envelope_sender = envelope_sender
    message.envelope_recipients = list(envelope)
    return message


def sent(found: ComposedMail | None = None, request: str = "") -> list[str]:
    """The mail is in the outbox, and SendGrid has it as this request; its ids."""
    message = put_in_outbox(found)
    Mail.objects.filter(message=message).update(x_message_id=request)
    return [str(row.message_id) for part in message.mails.order_by("pk") for row in stored_recipients(part)]


def smtp_id(request: str, host: str = "geopod-ismtpd-4") -> str:
    """The Message-ID that SendGrid gives the mails of a request."""
    return f"<{request}@{host}>"


# By an address


@pytest.mark.parametrize(
    "written", ["support+{}", "{}", "ticket+reply.{}", "reply-{}", "a+{}+b", "x{}", "SUPPORT+{}"]
)
@pytest.mark.parametrize(
    "form", [str, lambda one: one.hex, lambda one: one.hex.upper(), lambda one: str(one).upper()]
)
def test_a_reply_is_matched_by_the_message_id_in_its_address(
    database: str, written: str, form: Callable[[uuid.UUID], str]
) -> None:
    (ours,) = sent()
    address = f"{written.format(form(uuid.UUID(ours)))}@parse.example.com"
    assert answered(incoming(address)) == ours
    assert answered(incoming("shop@example.com", envelope=[address])) == ours
    assert answered(incoming("shop@example.com", cc=f"Ann <ann@example.com>, Support <{address}>")) == ours


def test_a_reply_of_any_sender_is_matched_by_the_message_id_in_its_address(database: str) -> None:
    (ours,) = sent()
    assert answered(incoming(f"s+{ours}@x.example", sender="stranger@example.net")) == ours
    message = incoming(f"s+{ours}@x.example")
    del message["From"]
    assert answered(message) == ours


@pytest.mark.parametrize(
    "local",
    [f"s+{NOBODY}", "s+7f3c3a4e", f"s+{NOBODY}0", f"a{NOBODY}", "support", "", "+", "ünï+ſ", "s+" + "0" * 33],
)
def test_an_address_without_our_message_id_matches_nothing(database: str, local: str) -> None:
    sent()
    assert answered(incoming(envelope=[f"{local}@x.example", local])) is None


def test_a_message_id_in_the_domain_matches_nothing(database: str) -> None:
    (ours,) = sent()
    assert answered(incoming(f"support@{ours}.example.com", envelope=[f"@{ours}"])) is None


def test_a_reply_is_matched_by_envelope_then_headers_then_references(
    database: str,
) -> None:
    (first,), (second,), (third,) = sent(), sent(), sent(request=ONE)
    to, other = f"s+{first}@x.example", f"s+{second}@x.example"
    assert answered(incoming(to, envelope=["s@x.example", other], in_reply_to=[smtp_id(ONE)])) == second
    assert answered(incoming(to, cc=other, in_reply_to=[smtp_id(ONE)])) == first
    assert answered(incoming(f"s+{NOBODY}@x.example", cc=other)) == second
    assert answered(incoming(f"s+{NOBODY}@x.example", in_reply_to=[smtp_id(ONE)])) == third


# By what it refers to


@pytest.mark.parametrize("request_id", [ONE, DOTTED])
@pytest.mark.parametrize("host", ["geopod-ismtpd-4", "ismtpd0019p1las1.sendgrid.net", "anything"])
def test_a_reply_is_matched_by_the_smtp_id_of_sendgrid(database: str, request_id: str, host: str) -> None:
    (ours,) = sent(request=request_id)
    sent(request=OTHER)
    assert answered(incoming(in_reply_to=[smtp_id(request_id, host)])) == ours
    assert answered(incoming(references=[smtp_id(request_id, host)])) == ours


@pytest.mark.parametrize("local", ["{}", "order-7.{}"])
def test_a_reply_is_matched_by_a_message_id_header_with_our_id(database: str, local: str) -> None:
    (ours,) = sent()
    assert answered(incoming(in_reply_to=[f"<{local.format(ours)}@shop.example>"])) == ours


@pytest.mark.parametrize(
    "name",
    [
        "<CAFd7=x+y@mail.gmail.com>",
        f"<{ONE.lower()}@geopod-ismtpd-4>",
        f"<{ONE}.filter0001@geopod-ismtpd-4>",
        f"<{ONE}>",
        f"<@{ONE}>",
        f"<{NOBODY}@x.example>",
        "<@>",
        "<\u00fc@\u017f>",
        f"<{'x' * 300}@y>",
    ],
)
def test_an_unknown_message_id_matches_nothing(database: str, name: str) -> None:
    sent(request=ONE)
    sent()
    assert answered(incoming(in_reply_to=[name], references=[name])) is None


def test_in_reply_to_takes_precedence_over_the_last_reference(database: str) -> None:
    (first,), (second,), (third,) = sent(request=ONE), sent(request=OTHER), sent(request=DOTTED)
    thread = [smtp_id(ONE), smtp_id(OTHER), "<a@x.example>"]
    assert answered(incoming(in_reply_to=[smtp_id(DOTTED)], references=thread)) == third
    assert answered(incoming(in_reply_to=["<a@x.example>"], references=thread)) == second
    assert answered(incoming(references=[f"<{third}@x.example>", smtp_id(ONE)])) == first


def test_the_number_of_looked_up_message_ids_is_limited(database: str) -> None:
    (ours,) = sent(request=ONE)
    others = [f"<{number}@x.example>" for number in range(100)]
    assert answered(incoming(references=[smtp_id(ONE), *others[: MAX_IDS - 1]])) == ours
    assert answered(incoming(references=[smtp_id(ONE), *others])) is None
    assert answered(incoming(references=[smtp_id(ONE), *others[:1] * 100])) == ours


# A request of many


def test_a_reply_to_a_batch_is_matched_by_its_sender(database: str) -> None:
    ann, bob = sent(mail("ann@example.com", "Bob@Example.com", batch=True), ONE)
    assert answered(incoming(in_reply_to=[smtp_id(ONE)])) == ann
    assert answered(incoming(in_reply_to=[smtp_id(ONE)], sender="Bob B. <bOB@example.COM>")) == bob


def test_a_sender_is_matched_by_the_ascii_form_of_its_domain(database: str) -> None:
    _, ours = sent(mail("ann@example.com", "jörg@xn--bcher-kva.example", batch=True), ONE)
    assert answered(incoming(in_reply_to=[smtp_id(ONE)], sender="Jörg@Bücher.example")) == ours


def test_a_sender_is_matched_by_the_envelope_sender(database: str) -> None:
    _, bob = sent(mail("ann@example.com", "bob@example.com", batch=True), ONE)
    message = incoming(
        in_reply_to=[smtp_id(ONE)], sender="alias@example.com", envelope_sender="bob@example.com"
    )
    assert answered(message) == bob
    del message["From"]
    assert answered(message) == bob
    message["From"] = "ann@example.com"
    assert answered(message) != bob


@pytest.mark.parametrize("sender", ["stranger@example.com", "a" * 400 + "@example.com", "nonsense"])
def test_an_unknown_sender_matches_only_a_mail_with_one_id(database: str, sender: str) -> None:
    sent(mail("ann@example.com", "bob@example.com", batch=True), ONE)
    shared, *_ = sent(mail("ann@example.com", "bob@example.com", cc=["cy@example.com"]), OTHER)
    assert answered(incoming(in_reply_to=[smtp_id(ONE)], sender=sender)) is None
    assert answered(incoming(in_reply_to=[smtp_id(OTHER)], sender=sender)) == shared
    assert answered(incoming(references=[smtp_id(OTHER), smtp_id(ONE)], sender=sender)) == shared


def test_a_sender_with_several_copies_matches_nothing(database: str) -> None:
    sent(mail("ann@example.com", "bob@example.com", cc=["eve@example.com"], batch=True), ONE)
    assert answered(incoming(in_reply_to=[smtp_id(ONE)], sender="eve@example.com")) is None


def test_a_reply_is_matched_within_its_own_request_of_a_batch(database: str) -> None:
    put_in_outbox(mail(*(f"p{number}@example.net" for number in range(1001)), batch=True))
    first, second = all_parts()
    Mail.objects.filter(pk=first.pk).update(x_message_id=ONE)
    Mail.objects.filter(pk=second.pk).update(x_message_id=OTHER)
    ids = [str(row.message_id) for row in stored_recipients()]
    assert answered(incoming(in_reply_to=[smtp_id(ONE)], sender="p7@example.net")) == ids[7]
    assert answered(incoming(in_reply_to=[smtp_id(OTHER)], sender="p7@example.net")) == ids[1000]


# What it costs, and what it does not do


def queries(database: str, message: InboundMessage) -> int:
    with CaptureQueriesContext(connections[database]) as seen:
        answered(message)
    return len(seen)


def test_a_mail_without_references_needs_no_query(database: str) -> None:
    assert queries(database, incoming("support@example.com", envelope=["support@example.com"])) == 0


def test_a_thousand_references_need_few_queries(database: str) -> None:
    sent(mail("ann@example.com", "bob@example.com", batch=True), ONE)
    addresses = [f"s+{uuid.uuid4()}@x.example" for _ in range(1000)]
    names = [f"<{each}@x.example>" for number in range(500) for each in (f"id-{number}", uuid.uuid4())]
    message = incoming(*addresses, envelope=addresses, references=[smtp_id(ONE), *names])
    assert queries(database, message) == 3
    message = incoming(in_reply_to=[smtp_id(ONE)], sender="stranger@x.example", envelope_sender="b@x.example")
    assert queries(database, message) == 4


def test_requests_are_looked_up_by_an_index(database: str) -> None:
    if database == "postgres":
        with connections[database].cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")  # a small table is read as a whole
    try:
        assert "mail_x_message_id" in of_requests([ONE, OTHER]).explain()
    finally:
        connections[database].close()


def test_a_database_outage_while_matching_raises(database: str) -> None:
    (ours,) = sent()

    def execute(*_: Any) -> Any:
        raise OperationalError("away")

    with connections[database].execute_wrapper(execute), pytest.raises(OperationalError):
        answered(incoming(f"s+{ours}@x.example"))


def test_matching_is_connected_to_the_answered_signal(database: str) -> None:
    (ours,) = sent(request=ONE)
    message = incoming(in_reply_to=[smtp_id(ONE)])
    assert signals.answered.send(None, message=message) == [(answered, ours)]


ids = st.sampled_from([ONE, NOBODY, uuid.UUID(NOBODY).hex, DOTTED])
texts = st.text(max_size=40) | st.builds("{}{}@{}".format, st.text(max_size=5), ids, st.text(max_size=9))
many = st.lists(texts | texts.map("<{}>".format), max_size=4)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(200))
@given(texts, texts | st.none(), st.tuples(many, many, many))
def test_no_text_in_an_address_or_reference_raises(
    database: str, sender: str, envelope_sender: str | None, lists: tuple[list[str], list[str], list[str]]
) -> None:
    to, names, thread = lists
    headers = {
        "From": sender,
        "To": ",".join(to),
        "In-Reply-To": " ".join(names),
        "References": " ".join(thread),
    }
    source = "".join(f"{name}: {value}\n" for name, value in headers.items())
    message = InboundMessage.parse_raw_mime(f"{source}\nHi.")
    message.envelope_sender, message.envelope_recipients = envelope_sender, to
    assert answered(message) is None


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(50))
@given(texts, texts | st.none())
def test_no_text_in_a_sender_raises(database: str, sender: str, envelope_sender: str | None) -> None:
    if not Mail.objects.exists():
        sent(mail("ann@example.com", "bob@example.com", batch=True), ONE)
    message = InboundMessage.parse_raw_mime(f"From: {sender}\n\nHi.")
    message.envelope_sender = envelope_sender
    message["In-Reply-To"] = smtp_id(ONE)
    assert answered(message) is None
