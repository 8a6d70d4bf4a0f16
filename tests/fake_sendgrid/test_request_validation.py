"""fake_sendgrid refuses what SendGrid refuses, with SendGrid's error bodies."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_sendgrid.request_validation import (
    BODY_LIMIT,
    RequestRejected,
    api_key_of,
    faults,
    is_sandboxed,
    read_mail,
)
from fake_sendgrid.responses import ApiResponse
from tests.support.fake_sendgrid.api_requests import HEADERS, mail_body, mail_body_with

NOW = 1_780_000_000
LATE = NOW + 72 * 3600 + 1
DYNAMIC = "d-0123456789abcdef0123456789abcdef"
LEGACY = "0c1d2e3f-0000-4000-8000-123456789abc"
ADA, BOB = {"email": "ada@example.com"}, {"email": "bob@example.com"}
PLAIN, HTML = {"type": "text/plain", "value": "hello"}, {"type": "text/html", "value": "<p>hello</p>"}
AMP = {"type": "text/x-amp-html", "value": "<!doctype html>"}
CALENDAR = {"type": "text/calendar", "value": "BEGIN:VCALENDAR"}
FILE = {"content": "aGVsbG8=", "filename": "hello.txt"}


def refusal(body: bytes, headers: dict[str, str] = HEADERS) -> ApiResponse:
    with pytest.raises(RequestRejected) as caught:
        read_mail(body, headers, keys={"SG.fake"}, now=NOW)
    return caught.value.response


def fields(body: dict[str, Any]) -> list[str | None]:
    return [fault.field for fault in faults(body, NOW)]


def several(count: int, each: int = 1) -> list[dict[str, Any]]:
    return [{"to": [{"email": f"r{n}-{m}@example.com"} for m in range(each)]} for n in range(count)]


GOOD = {
    "plain": mail_body(),
    "several": mail_body("a@example.com", "b@example.com", "A@example.com"),
    "a thousand of one": mail_body(personalizations=several(1000)),
    "one of a thousand": mail_body(personalizations=several(1, 1000)),
    "cc and bcc": mail_body_with(cc=[BOB], bcc=[{"email": "eve@example.com", "name": ""}]),
    "names": mail_body_with(to=[{"email": "ada@example.com", "name": "Ada, Countess; née Byron"}]),
    "quoted local part": mail_body_with(to=[{"email": '"ada the first"@example.com'}]),
    "quoted dots": mail_body_with(to=[{"email": '"a..b"@example.com'}]),
    "dots without quotes": mail_body_with(to=[{"email": ".a..b.@example.com"}]),
    "local part in any script": mail_body_with(to=[{"email": "адa@example.com"}]),
    "a domain in any script": mail_body_with(to=[{"email": "bob@exämple.com"}]),
    "a domain of one word": mail_body_with(to=[{"email": "bob@localhost"}]),
    "an IP address": mail_body_with(to=[{"email": "bob@[127.0.0.1]"}]),
    "two that differ beyond ASCII case": mail_body_with(to=[{"email": "ü@a.org"}, {"email": "Ü@a.org"}]),
    "from almost anything": mail_body(**{"from": {"email": "a..what{ever}?. @-x-"}}),
    "a subject of each": mail_body(subject=..., personalizations=[{"to": [ADA], "subject": "Yours"}]),
    "bodies in order": mail_body(content=[PLAIN, HTML, CALENDAR]),
    "html alone": mail_body(content=[HTML]),
    "AMP between text and HTML": mail_body(content=[PLAIN, AMP, HTML]),
    "AMP last": mail_body(content=[PLAIN, HTML, AMP]),
    "an invitation": mail_body(
        content=[PLAIN, HTML, {**CALENDAR, "type": "text/calendar; method=REQUEST"}],
        attachments=[{**FILE, "type": "text/calendar;method=REQUEST"}],
    ),
    "a template gives all": mail_body(subject=..., content=..., template_id=DYNAMIC),
    "dynamic data": {**mail_body_with(dynamic_template_data={"n": [1, None]}), "template_id": DYNAMIC},
    "substitutions": mail_body_with(substitutions={"-name-": "Ada"}),
    "legacy template": {**mail_body_with(substitutions={"-name-": ""}), "template_id": LEGACY},
    "attachments": mail_body(attachments=[FILE, {**FILE, "disposition": "inline", "content_id": "logo"}]),
    "custom args": {**mail_body_with(custom_args={"a": "1"}), "custom_args": {"b": ""}},
    "headers": mail_body_with(headers={"X-One": "ü", "List-Unsubscribe": "<https://example.com>"}),
    "ten categories": mail_body(categories=[f"c{n}" for n in range(10)]),
    "in 72 hours": mail_body(send_at=LATE - 1),
    "sent at once": mail_body_with(send_at=0),
    "asm": mail_body(asm={"group_id": 7, "groups_to_display": [7, 8]}),
    "pool": mail_body(ip_pool_name="bulk"),
    "reply to": mail_body(reply_to=BOB),
    "reply to several": mail_body(reply_to_list=[ADA, BOB]),
    "own from": mail_body_with(**{"from": {"email": "other@EXAMPLE.org"}}),
    "bypass": mail_body(mail_settings={"bypass_list_management": {"enable": True}}),
    "a bypass that is off": mail_body(
        mail_settings={
            "bypass_list_management": {"enable": True},
            "bypass_spam_management": {"enable": False},
        }
    ),
    "tracking": mail_body(tracking_settings={"click_tracking": {"enable": True, "enable_text": False}}),
    "sections": mail_body(sections={":a": "b"}, batch_id="MTIz"),
}

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no personalizations": (mail_body(personalizations=...), "personalizations"),
    "empty personalizations": (mail_body(personalizations=[]), "personalizations"),
    "personalizations no list": (mail_body(personalizations={}), "personalizations"),
    "a personalization no object": (mail_body(personalizations=["a"]), "personalizations.0"),
    "1,001 personalizations": (mail_body(personalizations=several(1001)), "personalizations"),
    "1,001 recipients": (mail_body(personalizations=several(77, 13)), "personalizations"),
    "no to": (mail_body(personalizations=[{"cc": [ADA]}]), "personalizations.0.to"),
    "empty to": (mail_body_with(to=[]), "personalizations.0.to"),
    "to no list": (mail_body_with(to=ADA), "personalizations.0.to"),
    "to of texts": (mail_body_with(to=["ada@example.com"]), "personalizations.0.to.0"),
    "empty cc": (mail_body_with(cc=[]), "personalizations.0.cc"),
    "bcc null": (mail_body_with(bcc=None), "personalizations.0.bcc"),
    "no email": (mail_body_with(to=[{"name": "Ada"}]), "personalizations.0.to.0.email"),
    "email a list": (mail_body_with(to=[{"email": ["a"]}]), "personalizations.0.to.0.email"),
    "malformed": (mail_body_with(to=[ADA, {"email": "bob"}]), "personalizations.0.to.1.email"),
    "malformed cc": (mail_body_with(cc=[{"email": "bob@example..com"}]), "personalizations.0.cc.0.email"),
    "with its name": (
        mail_body_with(to=[{"email": "Bob <bob@example.com>"}]),
        "personalizations.0.to.0.email",
    ),
    "with a space": (mail_body_with(to=[{"email": "bob @example.com"}]), "personalizations.0.to.0.email"),
    "of two lines": (mail_body_with(to=[{"email": '"a\nb"@example.com'}]), "personalizations.0.to.0.email"),
    "name a number": (mail_body_with(to=[{**BOB, "name": 7}]), "personalizations.0.to.0.name"),
    "twice in to": (mail_body_with(to=[ADA, {"email": "ADA@Example.com"}]), "personalizations.0.to"),
    "in to and bcc": (mail_body_with(bcc=[ADA]), "personalizations.0.to"),
    "no from": (mail_body(**{"from": ...}), "from.email"),
    "from a text": (mail_body(**{"from": "shop@example.org"}), "from"),
    "malformed from": (mail_body(**{"from": {"email": "shop"}}), "from.email"),
    "from of two lines": (mail_body(**{"from": {"email": "a\n@example.org"}}), "from.email"),
    "from not in ASCII": (mail_body(**{"from": {"email": "schö@example.org"}}), "from.email"),
    "from of another domain": (
        mail_body_with(**{"from": {"email": "a@example.net"}}),
        "personalizations.0.from.email",
    ),
    "no subject": (mail_body(subject=...), "subject"),
    "no subject of one": (
        mail_body(subject=..., personalizations=[{"to": [ADA], "subject": "Yours"}, {"to": [BOB]}]),
        "subject",
    ),
    "empty subject": (mail_body(subject=""), "subject"),
    "empty subject of one": (mail_body_with(subject=""), "personalizations.0.subject"),
    "no content": (mail_body(content=...), "content"),
    "empty content": (mail_body(content=[]), "content"),
    "content a text": (mail_body(content="hello"), "content"),
    "a part a text": (mail_body(content=["hello"]), "content.0"),
    "empty body": (mail_body(content=[{**PLAIN, "value": ""}]), "content.0.value"),
    "no body": (mail_body(content=[PLAIN, {"type": "text/html"}]), "content.1.value"),
    "body null": (mail_body(content=[{**PLAIN, "value": None}]), "content.0.value"),
    "no type": (mail_body(content=[{"value": "hello"}]), "content.0.type"),
    "type with charset": (
        mail_body(content=[{**PLAIN, "type": "text/plain; charset=utf-8"}]),
        "content.0.type",
    ),
    "type with a line end": (mail_body(content=[{**PLAIN, "type": "text/plain\r\n"}]), "content.0.type"),
    "html first": (mail_body(content=[HTML, PLAIN]), "content"),
    "plain not first": (mail_body(content=[CALENDAR, PLAIN]), "content"),
    "html twice": (mail_body(content=[HTML, HTML]), "content"),
    "attachments an object": (mail_body(attachments=FILE), "attachments"),
    "an attachment a text": (mail_body(attachments=["a"]), "attachments.0"),
    "no filename": (mail_body(attachments=[{"content": "aGVsbG8="}]), "attachments.0.filename"),
    "empty filename": (mail_body(attachments=[{**FILE, "filename": ""}]), "attachments.0.filename"),
    "filename of two lines": (
        mail_body(attachments=[{**FILE, "filename": "a\nb"}]),
        "attachments.0.filename",
    ),
    "filename with ;": (mail_body(attachments=[{**FILE, "filename": "a;b"}]), "attachments.0.filename"),
    "attached without content": (mail_body(attachments=[{"filename": "a"}]), "attachments.0.content"),
    "an empty attachment": (mail_body(attachments=[{**FILE, "content": ""}]), "attachments.0.content"),
    "bad base64": (mail_body(attachments=[FILE, {**FILE, "content": "a b"}]), "attachments.1.content"),
    "attachment's type with charset": (
        mail_body(attachments=[{**FILE, "type": "text/calendar; method=REQUEST; Charset=utf-8"}]),
        "attachments.0.type",
    ),
    "attachment's type with boundary": (
        mail_body(attachments=[{**FILE, "type": "multipart/mixed;boundary=b"}]),
        "attachments.0.type",
    ),
    "attachment's type with CR": (
        mail_body(attachments=[{**FILE, "type": "a/b;\r c=d"}]),
        "attachments.0.type",
    ),
    "an empty type": (mail_body(attachments=[{**FILE, "type": ""}]), "attachments.0.type"),
    "a type a number": (mail_body(attachments=[{**FILE, "type": 5}]), "attachments.0.type"),
    "AMP before text": (mail_body(content=[AMP, HTML, PLAIN]), "content"),
    "HTML after a calendar": (mail_body(content=[PLAIN, CALENDAR, HTML]), "content"),
    "content id with CR": (
        mail_body(attachments=[{**FILE, "content_id": "a\r"}]),
        "attachments.0.content_id",
    ),
    "disposition": (mail_body(attachments=[{**FILE, "disposition": "shown"}]), "attachments.0.disposition"),
    "empty custom args": (mail_body_with(custom_args={}), "personalizations.0.custom_args"),
    "custom args a list": (mail_body(custom_args=[]), "custom_args"),
    "long custom args": (mail_body_with(custom_args={"a": "b" * 9_999}), "personalizations.0.custom_args"),
    "long when merged": (
        {**mail_body_with(custom_args={"a": "b" * 4_999}), "custom_args": {"c": "ü" * 2_500}},
        "personalizations.0.custom_args",
    ),
    "reserved header": (mail_body_with(headers={"reply-TO": "a"}), "personalizations.0.headers.reply-TO"),
    "reserved at the root": (mail_body(headers={"Content-Type": "a"}), "headers.Content-Type"),
    "header with a space": (mail_body(headers={"X One": "a"}), "headers.X One"),
    "header not in ASCII": (mail_body(headers={"X-Ü": "a"}), "headers.X-Ü"),
    "header twice": (mail_body(headers={"X-One": "a", "x-one": "b"}), "headers"),
    "eleven categories": (mail_body(categories=[f"c{n}" for n in range(11)]), "categories"),
    "a category twice": (mail_body(categories=["a", "b", "a"]), "categories"),
    "a category a number": (mail_body(categories=["a", 1]), "categories.1"),
    "a category not in ASCII": (mail_body(categories=["größe"]), "categories.0"),
    "a long category": (mail_body(categories=["a" * 256]), "categories.0"),
    "categories a text": (mail_body(categories="a"), "categories"),
    "too far ahead": (mail_body(send_at=LATE), "send_at"),
    "too far ahead for one": (mail_body_with(send_at=LATE), "personalizations.0.send_at"),
    "send_at a text": (mail_body(send_at="soon"), "send_at"),
    "send_at a float": (mail_body(send_at=1.5), "send_at"),
    "send_at true": (mail_body(send_at=True), "send_at"),
    "two ways to reply": (mail_body(reply_to=ADA, reply_to_list=[BOB]), "reply_to"),
    "malformed reply to": (mail_body(reply_to={"email": ""}), "reply_to.email"),
    "reply to one twice": (mail_body(reply_to_list=[ADA, ADA]), "reply_to_list"),
    "malformed in the list": (mail_body(reply_to_list=[ADA, {}]), "reply_to_list.1.email"),
    "substitutions in a dynamic template": (
        {**mail_body_with(substitutions={"a": "b"}), "template_id": DYNAMIC},
        "personalizations.0.substitutions",
    ),
    "dynamic data in a legacy template": (
        {**mail_body_with(dynamic_template_data={"a": "b"}), "template_id": LEGACY},
        "personalizations.0.dynamic_template_data",
    ),
    "dynamic data in none": (
        mail_body_with(dynamic_template_data={"a": "b"}),
        "personalizations.0.dynamic_template_data",
    ),
    "empty template": (mail_body(template_id=""), "template_id"),
    "asm group a text": (mail_body(asm={"group_id": "7"}), "asm.group_id"),
    "asm without a group": (mail_body(asm={}), "asm.group_id"),
    "26 groups": (mail_body(asm={"group_id": 7, "groups_to_display": [*range(26)]}), "asm.groups_to_display"),
    "short pool": (mail_body(ip_pool_name="a"), "ip_pool_name"),
    "all bypasses": (
        mail_body(
            mail_settings={
                f"bypass_{kind}_management": {"enable": True} for kind in ("list", "spam", "bounce")
            }
        ),
        "mail_settings.bypass_list_management",
    ),
    "a setting true": (mail_body(mail_settings={"sandbox_mode": True}), "mail_settings.sandbox_mode"),
    "enable a text": (
        mail_body(tracking_settings={"open_tracking": {"enable": "yes"}}),
        "tracking_settings.open_tracking.enable",
    ),
}

BARE = {
    "a custom arg a number": mail_body_with(custom_args={"order": 7}),
    "a custom arg of the root": mail_body(custom_args={"order": None}),
    "a substitution a number": mail_body_with(substitutions={"-n-": 7}),
    "a header a number": mail_body(headers={"X-One": 7}),
    "whatever else is wrong": {**mail_body_with(custom_args={"order": 7}), "content": []},
}


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD.keys())
def test_a_valid_mail_is_read(body: dict[str, Any]) -> None:
    assert read_mail(json.dumps(body).encode(), HEADERS, keys={"SG.fake"}, now=NOW) == body


@pytest.mark.parametrize(("body", "field"), BAD.values(), ids=BAD.keys())
def test_a_fault_is_named_by_its_field(body: dict[str, Any], field: str) -> None:
    assert set(fields(body)) == {field}


@pytest.mark.parametrize("body", BARE.values(), ids=BARE.keys())
def test_some_faults_have_only_a_generic_message(body: dict[str, Any]) -> None:
    answer = refusal(json.dumps(body).encode())
    assert answer.status == 400
    assert answer.body == b'{"errors":[{"message":"Bad Request","field":null,"help":null}]}'


def test_all_faults_are_listed() -> None:
    answer = refusal(
        json.dumps({**mail_body_with(to=[{"email": "ada"}]), "subject": "", "content": []}).encode()
    )
    errors = json.loads(answer.body)["errors"]
    assert [error["field"] for error in errors] == ["personalizations.0.to.0.email", "subject", "content"]
    assert errors[0] == {
        "message": "Does not contain a valid address.",
        "field": "personalizations.0.to.0.email",
        "help": "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html"
        "#message.personalizations.to.email",
    }


@pytest.mark.parametrize("header", ["", "SG.fake", "Bearer", "Bearer SG.other", "Basic SG.fake"])
def test_an_invalid_api_key_is_401(header: str) -> None:
    answer = refusal(b"", {**HEADERS, "Authorization": header})
    assert answer.status == 401
    assert json.loads(answer.body)["errors"] == [
        {
            "message": "The provided authorization grant is invalid, expired, or revoked",
            "field": None,
            "help": None,
        }
    ]


def test_any_api_key_is_accepted_when_none_is_configured() -> None:
    body = json.dumps(mail_body()).encode()
    assert read_mail(body, {**HEADERS, "Authorization": "Bearer SG.other"}, keys=None)
    with pytest.raises(RequestRejected, match="401"):
        read_mail(body, {**HEADERS, "Authorization": ""}, keys=None)


def test_the_api_key_is_read_after_bearer() -> None:
    assert api_key_of({"Authorization": "bearer SG.a"}) == "SG.a"
    assert api_key_of({"Authorization": "Token SG.a"}) is None
    assert api_key_of({}) is None


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Content-Type", "text/plain", 415),
        ("Content-Type", "", 415),
        ("Accept", "text/html", 406),
        ("Accept", "text/html, image/*;q=0.5", 406),
    ],
)
def test_accept_and_content_type_must_be_json(header: str, value: str, status: int) -> None:
    assert refusal(json.dumps(mail_body()).encode(), {**HEADERS, header: value}).status == status


@pytest.mark.parametrize("accept", ["*/*", "text/html, application/json;q=0.9", "application/*", ""])
def test_accept_headers_that_include_json_are_accepted(accept: str) -> None:
    headers = {**HEADERS, "Accept": accept, "Content-Type": "application/json; charset=utf-8"}
    assert read_mail(json.dumps(mail_body()).encode(), headers, keys=None)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000], ids=repr)
def test_a_body_that_is_no_json_is_400(body: bytes) -> None:
    assert refusal(body).status == 400


def test_a_body_that_is_no_object_is_400() -> None:
    assert json.loads(refusal(b"[]").body)["errors"][0]["field"] == "(root)"


def test_a_body_of_30_mb_is_413_with_an_html_page() -> None:
    room = BODY_LIMIT - len(json.dumps(mail_body(attachments=[{**FILE, "content": ""}])))
    content = "A" * (room // 4 * 4 - 4)
    below = json.dumps(mail_body(attachments=[{**FILE, "content": content}])).encode()
    assert read_mail(below, HEADERS, keys=None)
    answer = refusal(below.ljust(BODY_LIMIT))
    assert answer.status == 413
    assert answer.headers == {"Content-Type": "text/html"}
    assert answer.body.startswith(b"<html>")


def test_sandbox_mode_is_recognized() -> None:
    assert is_sandboxed(mail_body(mail_settings={"sandbox_mode": {"enable": True}}))
    assert not is_sandboxed(mail_body(mail_settings={"sandbox_mode": {"enable": False}}))
    assert not is_sandboxed(mail_body())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
KEYS = sorted({key for body in GOOD.values() for key in body})
OWN_KEYS = sorted({key for body in GOOD.values() for one in body["personalizations"] for key in one})


@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.dictionaries(st.sampled_from(OWN_KEYS), JSON))
def test_any_json_is_read_or_refused(root: dict[str, Any], one: dict[str, Any]) -> None:
    for body in (root, {**mail_body_with(**one), **root}, mail_body(**root)):
        raw = json.dumps(body).encode()
        if faults(body, NOW):
            assert refusal(raw).status == 400
        else:
            assert read_mail(raw, HEADERS, keys=None, now=NOW) == body
