"""Every recipient is in exactly one request, and no request is over a limit of SendGrid's."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sending_app.api import payload
from sending_app.api.payload import build, encode_body, split_into_requests
from sending_app.exceptions import MailError, TooLarge
from sending_app.mail import Address, AttachedFile, ComposedMail, Personalization, SharedContent

COMMON = SharedContent(body={"from": {"email": "shop@example.com"}, "subject": "Hello"})


def addresses(count: int, name: str = "person") -> list[Address]:
    return [{"email": f"{name}{number}@example.net"} for number in range(count)]


def envelopes(count: int, **what: Any) -> list[Personalization]:
    return [Personalization(id=f"id-{number}", to=[to], **what) for number, to in enumerate(addresses(count))]


def batch(
    among: list[Personalization], common: SharedContent = COMMON, attachments: Sequence[AttachedFile] = ()
) -> ComposedMail:
    return ComposedMail(shared=common, personalizations=among, attachments=list(attachments), is_batch=True)


def sizes(mail: ComposedMail) -> list[int]:
    return [len(part) for part in split_into_requests(mail)]


# Recipients


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, []), (1, [1]), (1000, [1000]), (1001, [1000, 1]), (2500, [1000, 1000, 500])],
)
def test_a_batch_is_split_into_requests_of_a_thousand_recipients(count: int, expected: list[int]) -> None:
    mail = batch(envelopes(count))
    assert sizes(mail) == expected
    assert [envelope for part in split_into_requests(mail) for envelope in part] == mail.personalizations


def test_cc_and_bcc_count_towards_the_recipient_limit() -> None:
    with_copies = envelopes(600, cc=addresses(1, "cc"), bcc=addresses(1, "bcc"))
    assert sizes(batch(with_copies)) == [333, 267]


def test_a_personalization_that_fills_a_request_is_alone_in_it() -> None:
    small, large = envelopes(1), Personalization(id="large", to=addresses(1), cc=addresses(999, "cc"))
    assert sizes(batch([*small, large, *small])) == [1, 1, 1]


def test_a_mail_that_is_no_batch_may_have_a_thousand_recipients() -> None:
    envelope = Personalization(
        id="one", to=addresses(500), cc=addresses(300, "cc"), bcc=addresses(200, "bcc")
    )
    assert split_into_requests(ComposedMail(shared=COMMON, personalizations=[envelope])) == [[envelope]]


def test_a_mail_that_is_no_batch_with_more_than_a_thousand_recipients_is_refused() -> None:
    mail = ComposedMail(
        shared=COMMON,
        personalizations=[Personalization(id="one", to=addresses(1000), bcc=addresses(1, "bcc"))],
    )
    with pytest.raises(TooLarge, match=r"up to 1000 recipients.*set `merge_data` \(\{\} will do\)"):
        split_into_requests(mail)


def test_personalizations_given_by_the_caller_are_not_split() -> None:
    with pytest.raises(TooLarge, match=r"up to 1000 recipients.*Send several messages\."):
        split_into_requests(ComposedMail(shared=COMMON, personalizations=envelopes(1001)))


def test_a_request_is_limited_in_personalizations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "MAX_PERSONALIZATIONS", 2)
    assert sizes(batch(envelopes(5))) == [2, 2, 1]
    with pytest.raises(TooLarge, match=r"up to 2 personalizations\. Send several messages\."):
        split_into_requests(ComposedMail(shared=COMMON, personalizations=envelopes(3)))


def test_too_many_cc_and_bcc_for_one_personalization_are_refused() -> None:
    with pytest.raises(TooLarge, match=r"up to 1000 recipients.*fewer in cc and bcc"):
        split_into_requests(batch(envelopes(2, bcc=addresses(1000, "bcc"))))


# Bytes


def test_a_mail_up_to_the_size_limit_of_a_request_is_accepted() -> None:
    only = envelopes(1)
    [room] = [
        payload.SIZE_LIMIT
        - len(encode_body(build(COMMON, only, [AttachedFile(content=b"", filename="a", type="b")])))
    ]
    fits = AttachedFile(content=bytes(room // 4 * 3 - 6), filename="a", type="b")
    mail = ComposedMail(shared=COMMON, personalizations=only, attachments=[fits])
    assert split_into_requests(mail) == [only]
    with pytest.raises(TooLarge, match=r"up to 29999999 bytes of JSON, .*Link to files"):
        split_into_requests(replace(mail, attachments=[replace(fits, content=fits.content + bytes(9))]))


def test_attachments_count_towards_the_size_of_every_request() -> None:
    large = AttachedFile(content=bytes(20_000_000), filename="a", type="b")
    mail = batch(envelopes(10, merge_data={"text": "x" * 1_000_000}), attachments=[large])
    assert sizes(mail) == [3, 3, 3, 1]


def test_attachments_replaced_by_esp_extra_are_not_counted() -> None:
    common = replace(COMMON, body={**COMMON.body, "attachments": [{"content": "aGk=", "filename": "a"}]})
    large = AttachedFile(content=bytes(30_000_000), filename="a", type="b")
    assert sizes(batch(envelopes(2), common, [large])) == [2]


def test_content_over_the_size_limit_is_refused() -> None:
    common = replace(COMMON, body={"content": [{"type": "text/plain", "value": "é" * 15_000_000}]})
    for is_batch in (True, False):
        with pytest.raises(TooLarge, match="bytes of JSON"):
            split_into_requests(ComposedMail(shared=common, personalizations=envelopes(2), is_batch=is_batch))


def test_too_large_is_a_mail_error_and_a_value_error() -> None:
    assert issubclass(TooLarge, MailError)
    assert issubclass(TooLarge, ValueError)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
args = st.dictionaries(texts, texts, max_size=3)
emails = st.lists(st.builds(lambda name: {"email": name}, texts), max_size=3)
an_envelope = st.builds(
    Personalization,
    id=texts,
    to=st.lists(st.builds(lambda name: {"email": name, "name": name}, texts), min_size=1, max_size=2),
    cc=emails,
    bcc=emails,
    merge_data=st.dictionaries(texts, texts | st.lists(texts, max_size=2), max_size=3),
    metadata=args,
    headers=args,
    given=st.none() | st.dictionaries(texts, texts, max_size=2),
)
a_common = st.builds(
    SharedContent,
    body=st.fixed_dictionaries({"subject": texts}),
    global_data=args,
    dynamic=st.booleans(),
    field_format=st.sampled_from([None, "-{}-", "{0}{0}", "*|{:>20}|*"]),
    extra=st.fixed_dictionaries({}, optional={"custom_args": args | texts, "headers": args, "subject": texts})
    | st.just({"substitutions": {"a": {"b": "c"}}, "dynamic_template_data": {"a": ["b"]}}),
    tracked=st.booleans(),
)
files = st.lists(
    st.builds(
        AttachedFile, content=st.binary(max_size=40), filename=texts, type=texts, content_id=st.none() | texts
    ),
    max_size=2,
)


@given(a_common, st.lists(an_envelope, max_size=8), files, st.integers(2, 12), st.integers(150, 1500))
def test_splitting_keeps_every_recipient_once_and_every_request_within_the_limits(
    common: SharedContent,
    among: list[Personalization],
    attachments: list[AttachedFile],
    most: int,
    limit: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payload, "MAX_RECIPIENTS", most)
        patch.setattr(payload, "SIZE_LIMIT", limit)
        try:
            found = split_into_requests(batch(among, common, attachments))
        except TooLarge:
            return
    assert [envelope for part in found for envelope in part] == among
    for part in found:
        assert part
        assert sum(len(envelope.recipients) for envelope in part) <= most
        assert len(encode_body(build(common, part, attachments))) < limit


@given(a_common, an_envelope, files)
def test_the_estimated_size_is_never_too_small(
    common: SharedContent, envelope: Personalization, attachments: list[AttachedFile]
) -> None:
    size = payload._shared_size(common, attachments) + sum(payload._sizes(common, [envelope] * 3))
    assert size >= len(encode_body(build(common, [envelope] * 3, attachments)))


def test_the_estimated_size_includes_message_ids_in_reply_to_addresses() -> None:
    reply_to = [{"email": "a+{message_id}@x.example"}] * 100
    common = replace(COMMON, body={**COMMON.body, "reply_to_list": reply_to})
    envelope = Personalization(id=str(uuid.uuid4()), to=addresses(1))
    size = payload._shared_size(common, []) + sum(payload._sizes(common, [envelope]))
    assert 0 <= size - len(encode_body(build(common, [envelope], []))) < 50


@given(a_common, an_envelope, files)
def test_the_estimated_size_is_not_much_too_large(
    common: SharedContent, envelope: Personalization, attachments: list[AttachedFile]
) -> None:
    alone = replace(common, global_data={}, extra={})
    size = payload._shared_size(alone, attachments) + sum(payload._sizes(alone, [envelope] * 3))
    assert size - len(encode_body(build(alone, [envelope] * 3, attachments))) < 50
