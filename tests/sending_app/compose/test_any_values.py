"""Any value of any attribute: a mail that both databases store and JSON carries unchanged, or a MailError."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from email.message import EmailMessage as Email
from email.message import Message
from email.mime.multipart import MIMEMultipart
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils.functional import lazystr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sending_app import outbox
from sending_app.api import payload
from sending_app.compose import Composed, compose
from sending_app.compose.restore import restore
from sending_app.exceptions import ConfigurationError, MailError
from sending_app.message import ATTRIBUTES, SendGridMessage
from sending_app.models import OutboxMessage
from tests.support.sending.composed_messages import rules
from tests.support.sending.unsubscribe_links import PREFIX
from tests.support.strategies import any_text, header_values


def nested(levels: int) -> Any:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


CIRCLE: dict[str, Any] = {}
CIRCLE["a"] = [CIRCLE]

ADDRESS = st.sampled_from(["a@x.example", "A <b@x.example>", '"a b"@x.example', "c@bücher.example"])

#: Values that JSON carries, and values of other types.
LEAF = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, 10**400, -(10**640), 10**4000, CIRCLE, nested(99), nested(500)])
    | st.floats()
    | any_text
    | header_values
    | ADDRESS
    | st.binary(max_size=8)
    | st.datetimes()
    | st.sampled_from([object(), Decimal(1), date(2027, 1, 1), datetime(2027, 1, 1, tzinfo=UTC)])
    | st.sampled_from([lazystr("lazy"), {1, 2}, bytearray(b"a"), memoryview(b"a"), Message()])
)
KEY = st.one_of(
    *[st.sampled_from(["X-A", "x-a", "email", "name", "a@x.example", 5])] * 5,
    any_text,
    st.sampled_from([10**4000, None, ("a",)]),
)
VALUE = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=3),
    max_leaves=6,
)

TEXTS = st.lists(ADDRESS | any_text | VALUE, max_size=3)
DICT = st.dictionaries(KEY, LEAF, max_size=3)
BY_ADDRESS = st.dictionaries(ADDRESS | KEY, DICT | VALUE, max_size=3)
MEDIA_TYPE = st.sampled_from(
    ["text/plain", "text/calendar; method=REQUEST", "a/" + "b" * 300, "multipart/mixed", "message/rfc822"]
) | st.builds(
    "{}/{}; {}".format, st.sampled_from(["text", "a"]), st.sampled_from(["html", "b"]), header_values
)


def _entity(kind: type[Message], headers: dict[str, str], content: Any) -> Message:
    entity = kind()
    for name, value in headers.items():
        try:
            entity[name] = value
        except (ValueError, IndexError):  # a policy or the parser of the standard library refuses the value
            continue
    entity._payload = content  # type: ignore[attr-defined]  # as wrong as a caller can make it
    return entity


FILE = st.tuples(any_text | st.none(), st.binary(max_size=8) | any_text, MEDIA_TYPE | st.none())
ENTITY = st.builds(
    _entity,
    st.sampled_from([Message, Email, MIMEMultipart]),
    st.dictionaries(
        st.sampled_from(
            ["Content-Type", "Content-ID", "Content-Disposition", "Content-Transfer-Encoding", "X-A"]
        ),
        MEDIA_TYPE | header_values | st.sampled_from(["base64", "inline", "attachment"]),
    ),
    any_text | st.none() | st.lists(st.just(Message()), max_size=2) | st.binary(max_size=8),
)
ATTACHED = FILE | ENTITY | st.tuples(any_text, ENTITY | st.just(EmailMessage("a\nb")), MEDIA_TYPE)
EXTRA_FIELD = st.sampled_from(
    (
        *("from", "reply_to_list", "reply_to", "content", "headers", "custom_args", "categories", "subject"),
        *("send_at", "tracking_settings", "attachments", "template_id", "asm", "personalizations"),
        *("merge_field_format", "use_dynamic_template", "x-smtpapi"),
    )
)
PERSON = st.dictionaries(st.sampled_from(["email", "name"]), ADDRESS | VALUE)
PERSONALIZATION = st.dictionaries(
    st.sampled_from(["to", "cc", "subject", "headers", "custom_args", "send_at", "substitutions"]),
    st.lists(PERSON, max_size=2) | VALUE,
)
EXTRA = st.dictionaries(
    EXTRA_FIELD | KEY, VALUE | PERSON | PERSONALIZATION | st.lists(PERSONALIZATION, max_size=2), max_size=4
)

#: The form that each attribute needs, with odd contents.
FORM: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("subject", "body", "template_id", "content_subtype", "unsubscribe_scope"), any_text),
    **dict.fromkeys(("from_email", "envelope_sender"), ADDRESS | header_values),
    **dict.fromkeys(
        ("track_opens", "track_clicks", "open_tracking", "click_tracking", "bulk"), st.booleans()
    ),
    "send_at": st.datetimes() | st.integers() | st.floats() | st.dates(),
    **dict.fromkeys(("to", "cc", "bcc", "reply_to", "tags"), TEXTS),
    **dict.fromkeys(("extra_headers", "metadata", "merge_global_data"), DICT),
    **dict.fromkeys(("merge_data", "merge_metadata", "merge_headers"), BY_ADDRESS),
    "alternatives": st.lists(st.tuples(any_text | VALUE, MEDIA_TYPE), max_size=3),
    "attachments": st.lists(FILE | ATTACHED | VALUE, max_size=3),
    "esp_extra": EXTRA,
}
assert FORM.keys() >= set(ATTRIBUTES)

ATTRIBUTE = {name: form | form | form | VALUE for name, form in FORM.items()}

any_attributes = st.fixed_dictionaries({}, optional=ATTRIBUTE)
#: Mostly valid messages: one or two attributes are odd.
few_attributes = st.lists(st.sampled_from(sorted(ATTRIBUTE)), min_size=1, max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: ATTRIBUTE[name] for name in names})
)


@pytest.fixture(autouse=True)
def prefix(anymail: Callable[..., None]) -> None:
    """Links to unsubscribe are set up."""
    anymail(UNSUBSCRIBE_URL=PREFIX)


def composed_or_none(attributes: dict[str, Any], lenient: bool, dynamic: bool) -> Composed | None:
    message = SendGridMessage("s", "b", "f@x.example", ["t@x.example"])
    if dynamic:
        message.template_id = "d-1"
    for name, value in attributes.items():
        setattr(message, name, value)
    try:
        return compose(message, rules(ignore_unsupported=lenient, merge_field_format="-{}-"))
    except (MailError, ConfigurationError):
        return None


@given(few_attributes | any_attributes, st.booleans(), st.booleans())
@example({"attachments": [("http://[x", b"x", None)]}, False, False)
@example({"esp_extra": {"personalizations": [{"to": [{"email": ""}]}]}}, False, False)
@example({"merge_data": {10**4000: 5}}, False, False)
@example({"send_at": [10**4000]}, False, False)
@example({"track_opens": CIRCLE, "open_tracking": CIRCLE}, False, False)
def test_any_attributes_become_a_request_or_a_mail_error(
    attributes: dict[str, Any], lenient: bool, dynamic: bool
) -> None:
    composed = composed_or_none(attributes, lenient, dynamic)
    if composed is None:
        return
    mail = composed.mail
    body = payload.build(mail.shared, mail.personalizations, mail.attachments)
    assert json.loads(payload.encode_body(body)) == body
    message = restore(mail.shared, mail.personalizations)
    assert message.recipients()


@pytest.mark.django_db(databases=["default", "postgres"], transaction=True)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(few_attributes, st.booleans(), st.booleans())
def test_a_composed_mail_is_stored_unchanged(
    database: str, attributes: dict[str, Any], lenient: bool, dynamic: bool
) -> None:
    composed = composed_or_none(attributes, lenient, dynamic)
    if composed is None:
        return
    with transaction.atomic(using=database):
        outbox.keep(composed.mail, "default", 100)
        message = OutboxMessage.objects.using(database).latest("pk")
        assert outbox.shared_content_of(message) == composed.mail.shared
        assert outbox.files_of(message) == composed.mail.attachments
        (stored,) = message.mails.all()
        assert outbox.personalizations_of(stored) == composed.mail.personalizations
        transaction.set_rollback(True, using=database)
