"""One SendGrid object becomes one TrackingEvent, whatever is in it."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events_app import normalize as tables
from events_app.decode import Unreadable, decode_object
from events_app.normalize import normalize, read_event
from events_app.signals import EventType, RejectReason, TrackingEvent
from tests.support.strategies import any_object, any_text, any_value

ROOT = Path(__file__).parent.parent.parent
CASES: list[dict[str, Any]] = json.loads((ROOT / "tests/payloads/events.json").read_bytes())
RAW: dict[str, dict[str, Any]] = {case["case"]: case["raw"] for case in CASES}

EVENTS = [
    ("processed", "queued"),
    ("delivered", "delivered"),
    ("deferred", "deferred"),
    ("bounce", "bounced"),
    ("dropped", "rejected"),
    ("open", "opened"),
    ("click", "clicked"),
    ("spamreport", "complained"),
    ("unsubscribe", "unsubscribed"),
    ("group_unsubscribe", "unsubscribed"),
    ("group_resubscribe", "subscribed"),
]
OTHER_EVENTS = ["account_status_change", "received", "cancel_drop", "spam_report", "blocked", "sent", ""]
NAMES = [name for name, _ in EVENTS] + OTHER_EVENTS


def of(name: object, **fields: Any) -> TrackingEvent:
    return normalize({"event": name, **fields})


# SendGrid's payloads


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_normalize_maps_each_sample_payload(case: dict[str, Any]) -> None:
    raw = decode_object(json.dumps(case["raw"], ensure_ascii=False).encode())
    event = normalize(raw)
    found = {name: getattr(event, name) for name in case["expect"]}
    if isinstance(found.get("timestamp"), datetime):
        found["timestamp"] = found["timestamp"].isoformat()
    assert found == case["expect"]
    assert event.esp_event is raw
    assert raw == case["raw"]


def test_every_sample_case_has_a_payload() -> None:
    assert len(RAW) == len(CASES) == 97
    assert {raw["event"].lower() for raw in RAW.values()} >= {name for name, _ in EVENTS}


# What Anymail 15.1 got wrong


@pytest.mark.parametrize(
    "poison",
    [
        {},
        {"timestamp": 1784000000},
        {"event": None},
        {"event": "open", "timestamp": None},
        {"event": "open", "timestamp": "yesterday"},
        {"event": "open", "timestamp": 10**30},
        {"event": "dropped", "reason": None, "type": None},
        {"event": "dropped", "reason": 5, "type": []},
    ],
)
def test_b5_a_malformed_event_does_not_raise(poison: dict[str, Any]) -> None:
    event = normalize(poison)
    assert event.esp_event is poison
    assert event.timestamp is None or event.event_type == "unknown"


def test_b7_a_category_string_becomes_a_list() -> None:
    assert normalize(RAW["category_as_string"]).tags == ["lone tag"]


def test_b8_spam_drops_are_spam_and_bounces_have_a_reject_reason() -> None:
    assert normalize(RAW["dropped_spam_reporting_address"]).reject_reason == "spam"
    assert of("dropped", reason="Spam Content").reject_reason == "spam"
    bounces = [normalize(raw) for raw in RAW.values() if raw["event"] == "bounce"]
    assert bounces
    assert all(event.reject_reason for event in bounces)


def test_b9_fields_sendgrid_added_later_are_not_metadata() -> None:
    newer = {
        "sg_template_id": "d-1",
        "sg_template_name": "harvest",
        "sg_machine_open": False,
        "sg_content_type": "html",
        "sg_from_next_year": {"deep": 1},
        "bounce_classification": "Technical",
        "singlesend_id": "7a3f",
        "unique_args": {"basket": "77"},
    }
    assert of("open", **newer).metadata == {"basket": "77"}


# Event types


@pytest.mark.parametrize(("name", "event_type"), EVENTS)
def test_event_type_is_mapped_from_the_event_name(name: str, event_type: str) -> None:
    for written in (name, name.upper(), f" {name.capitalize()}\n"):
        assert of(written).event_type == event_type


@pytest.mark.parametrize("name", [*OTHER_EVENTS, "opened", None, 17, True, 1.5, ["open"], {"open": 1}])
def test_other_event_names_are_unknown(name: object) -> None:
    event = of(name, email="mira.okafor@example.net", basket="77")
    assert event.event_type is EventType.UNKNOWN
    assert event.recipient == "mira.okafor@example.net"
    assert event.metadata == {"basket": "77"}


# Reject reasons


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("Invalid", "invalid"),
        ("Invalid Address", "invalid"),
        ("Unsubscribed Address", "unsubscribed"),
        ("bounce", "bounced"),
        ("Bounced Address", "bounced"),
        ("blocked", "blocked"),
        ("expired", "timed_out"),
        ("Spam Reporting Address", "spam"),
        ("Spam Content", "spam"),
        ("Recipient List over Package Quota", "other"),
        ("Invalid SMTPAPI header", "other"),
        ("", "other"),
        (None, "other"),
        (["Invalid"], "other"),
    ],
)
def test_drop_reason_is_mapped_to_a_reject_reason(reason: object, expected: str) -> None:
    assert of("dropped", reason=reason).reject_reason == expected
    assert of("dropped", type=reason).reject_reason == expected
    if isinstance(reason, str):
        assert of("dropped", reason=f" {reason.upper()} ").reject_reason == expected


@pytest.mark.parametrize(
    ("reason", "kind", "expected"),
    [
        ("Bounced Address", "expired", "bounced"),
        ("Bounced Address", "first-steps", "bounced"),
        ("no such reason", "blocked", "blocked"),
        ("no such reason", "first-steps", "other"),
    ],
)
def test_drop_reason_takes_precedence_over_type(reason: str, kind: str, expected: str) -> None:
    assert of("dropped", reason=reason, type=kind).reject_reason == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"type": "bounce"}, "bounced"),
        ({"type": " Blocked "}, "blocked"),
        ({"type": "EXPIRED"}, "timed_out"),
        ({}, "bounced"),
        ({"type": None}, "bounced"),
        ({"type": ""}, "bounced"),
        ({"type": "evaporated"}, "other"),
        ({"type": 5}, "other"),
        ({"type": ["bounce"]}, "other"),
        ({"type": "blocked", "bounce_classification": " content"}, "spam"),
        ({"bounce_classification": "Content"}, "spam"),
        ({"type": "blocked", "bounce_classification": "Reputation"}, "blocked"),
        ({"type": "blocked", "bounce_classification": ["Content"]}, "blocked"),
    ],
)
def test_bounce_fields_are_mapped_to_a_reject_reason(fields: dict[str, Any], expected: str) -> None:
    assert of("bounce", **fields).reject_reason == expected


@pytest.mark.parametrize("name", NAMES)
def test_only_bounces_and_drops_have_a_reject_reason(name: str) -> None:
    reason = of(name, reason="Invalid", type="blocked", bounce_classification="Content").reject_reason
    assert (reason is not None) == (name in ("bounce", "dropped"))


# Timestamp


@pytest.mark.parametrize(
    "value",
    [
        1784000021,
        1784000021.0,
        "1784000021",
        " 1784000021\n\x1f",
        "1784000021.0",
        1784000021000,
        "1784000021000",
    ],
)
def test_timestamp_is_read_as_utc(value: object) -> None:
    found = of("open", timestamp=value).timestamp
    assert found == datetime(2026, 7, 14, 3, 33, 41, tzinfo=UTC)
    assert found.tzinfo is UTC


@pytest.mark.parametrize("value", [1784000021517, "1784000021517", 1784000021.517, "1784000021.517"])
def test_timestamp_keeps_its_fraction(value: object) -> None:
    assert of("open", timestamp=value).timestamp == datetime(2026, 7, 14, 3, 33, 41, 517000, tzinfo=UTC)


def test_a_large_timestamp_is_read_as_milliseconds() -> None:
    assert of("open", timestamp=10**11 - 1).timestamp == datetime(5138, 11, 16, 9, 46, 39, tzinfo=UTC)
    assert of("open", timestamp=10**11).timestamp == datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            True,
            False,
            "",
            "soon",
            "1e9",
            "-5",
            "0x10",
            "1_000",
            "nan",
            "inf",
            "١٧٨٤",
            "1.",
            "9" * 5000,
        ),
        *(
            -5,
            -(10**40),
            10**17,
            10**400,
            1e300,
            float("inf"),
            float("-inf"),
            float("nan"),
            [],
            {},
            [1784000021],
        ),
    ],
)
def test_an_invalid_timestamp_is_none(value: object) -> None:
    assert of("open", timestamp=value).timestamp is None


# Ids, recipient, tags


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"anymail_id": "u-1", "smtp-id": "<s@x>"}, "u-1"),
        ({"anymail_id": "", "smtp-id": " <s@x>\n"}, "<s@x>"),
        ({"anymail_id": None, "smtp-id": "<s@x>"}, "<s@x>"),
        ({"anymail_id": 17, "smtp-id": "<s@x>"}, "<s@x>"),
        ({"anymail_id": "\0", "smtp-id": "<s@x>"}, "<s@x>"),
        ({"smtp-id": " "}, None),
        ({"smtp-id": 17}, None),
        ({"sg_message_id": "m.recvd-1.0"}, None),
    ],
)
def test_message_id_is_the_anymail_id_or_the_smtp_id(fields: dict[str, Any], expected: str | None) -> None:
    assert normalize({"event": "open", **fields}).message_id == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("aB-_==", "aB-_=="),
        (" aB ", " aB "),
        (17, "17"),
        ("", None),
        (True, None),
        (1.5, None),
        ("a\0\ud800", "a�"),
    ],
)
def test_event_id_is_read_as_text(value: object, expected: str | None) -> None:
    assert of("open", sg_event_id=value).event_id == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(" mira@example.net\r\n", "mira@example.net"), ("Mira@Example.net", "Mira@Example.net")]
    + [(nothing, None) for nothing in ("", " ", "\0 ", None, 17, ["mira@example.net"])],
)
def test_recipient_is_read_as_text(value: object, expected: str | None) -> None:
    assert of("open", email=value).recipient == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("invoice", ["invoice"]),
        ("in\0voice\ud800", ["invoice�"]),
        (["invoice", "march"], ["invoice", "march"]),
        (["invoice", None, 17, True, 1.5], ["invoice", "17", "True", "1.5"]),
        (["a\0b", "\ud800"], ["ab", "�"]),
        ([], []),
        (None, []),
        (17, []),
        ({"invoice": 1}, []),
    ],
)
def test_tags_are_read_from_the_category(value: object, expected: list[str]) -> None:
    assert of("open", category=value).tags == expected


def test_tags_are_a_copy_of_the_category() -> None:
    raw = {"event": "open", "category": ["invoice"]}
    normalize(raw).tags.append("mine")
    assert raw["category"] == ["invoice"]


# Metadata


@pytest.mark.parametrize("name", NAMES)
def test_reserved_sendgrid_keys_are_never_metadata(name: str) -> None:
    own = dict.fromkeys([*tables.OWN_KEYS, "sg_event_id", "sg_message_id", "sg_anything"], "x")
    assert normalize({**own, "event": name, "basket": "77"}).metadata == {"basket": "77"}


@pytest.mark.parametrize("name", NAMES)
def test_fields_documented_for_one_event_are_metadata_of_none(name: str) -> None:
    documented = ("reseller_id", "message", "from", "domain", "date", "api_key_id", "size")
    undocumented = ("mc_auto_id", "mc_auto_name", "mc_auto_step_id")
    assert of(name, **dict.fromkeys([*documented, *undocumented], "x"), basket="77").metadata == {
        "basket": "77"
    }


def test_metadata_values_are_unchanged() -> None:
    values = {
        "a": "\0\ud800 ",
        "b": 17,
        "c": None,
        "": "no name",
        "d": {"e": [1, {"sg_f": 2}]},
        "SG_G": "",
        "Type": 1,
    }
    assert normalize({"event": "delivered", **values}).metadata == values


@pytest.mark.parametrize("holder", ["unique_args", "custom_args"])
def test_nested_metadata_is_flattened(holder: str) -> None:
    nested = {"basket": "inner", "shelf": 9, "anymail_id": "u-1", "type": "x", "sg_a": 1}
    event = of("delivered", basket="outer", **{holder: nested})
    assert event.metadata == {"basket": "outer", "shelf": 9}
    assert event.message_id is None


def test_both_nested_objects_are_flattened() -> None:
    event = of(
        "open", unique_args={"a": 1, "b": 1}, custom_args={"b": 2, "c": 2, "unique_args": {"c": 3, "d": 3}}
    )
    assert event.metadata == {"a": 1, "b": 1, "c": 2, "d": 3}


def test_nested_metadata_names_without_an_object_are_plain_metadata() -> None:
    assert of("open", unique_args="yes", custom_args=["a"]).metadata == {
        "unique_args": "yes",
        "custom_args": ["a"],
    }


# What only some events have


@pytest.mark.parametrize("name", NAMES)
def test_mta_response_is_set_for_events_of_mail_servers_only(name: str) -> None:
    expected = name in ("delivered", "deferred", "bounce")
    assert of(name, response="250 ok \n", reason="r").mta_response == ("250 ok \n" if expected else None)
    assert of(name, response="", reason="550 no").mta_response == ("550 no" if expected else None)
    assert of(name, response=250, reason=None).mta_response is None
    assert of(name, response="", reason="").mta_response is None


@pytest.mark.parametrize("name", NAMES)
def test_user_agent_is_set_for_events_of_people_only(name: str) -> None:
    persons = ("open", "click", "unsubscribe", "group_unsubscribe", "group_resubscribe")
    assert of(name, useragent="Lynx/2.9.0").user_agent == ("Lynx/2.9.0" if name in persons else None)
    assert of(name, useragent=17).user_agent is None


@pytest.mark.parametrize("name", NAMES)
def test_click_url_is_set_for_clicks_only(name: str) -> None:
    url = "https://books.example.com/?q=%20"
    assert of(name, url=url).click_url == (url if name == "click" else None)
    assert of(name, url=[url]).click_url is None


# Description


@pytest.mark.parametrize("name", NAMES)
def test_every_event_has_a_short_sentence(name: str) -> None:
    description = of(name).description
    assert description
    assert re.fullmatch(r"[A-Z][^.]{10,80}\.", description)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            {"event": "open", "sg_machine_open": True},
            "Apple Mail Privacy Protection, not a person, opened the message.",
        ),
        ({"event": "open", "sg_machine_open": "x"}, "The message was opened."),
        ({"event": "click", "sg_machine_open": True}, "A link in the message was clicked."),
        ({"event": "bounce", "type": "evaporated"}, "The message bounced."),
        ({"event": "bounce", "bounce_classification": ["x"]}, "The message bounced for good."),
        ({"event": "dropped"}, "SendGrid did not send the message."),
        ({"event": "dropped", "reason": " Over\n quota. "}, "SendGrid did not send the message: Over quota."),
        ({"event": "dropped", "reason": "for {0} {}"}, "SendGrid did not send the message: for {0} {}."),
        ({"event": "deferred", "attempt": True}, "Delivery was put off and SendGrid will try again."),
        ({"event": "account_status_change"}, "SendGrid changed the status of the account."),
        ({}, "SendGrid reported an event of a kind not known here."),
        ({"event": "Read_Aloud"}, "SendGrid reported an event of a kind not known here: Read_Aloud."),
    ],
)
def test_description_explains_the_event(raw: dict[str, Any], expected: str) -> None:
    assert normalize(raw).description == expected


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("dropped", "reason"),
        ("bounce", "bounce_classification"),
        ("deferred", "attempt"),
        ("account_status_change", "type"),
        ("x", "event"),
    ],
)
def test_description_quotes_short_text_and_no_address(name: str, field: str) -> None:
    bare = normalize({"event": name, field: "" if field != "event" else None}).description
    assert bare is not None
    for text in ("no mira@example.net here", "x " * 200 + "mira@example.net"):
        assert normalize({"event": name, field: text}).description == bare
    long = normalize({"event": name, field: "\u202e\x1b\0\ud800" + "word " * 2000}).description
    assert long is not None
    assert len(long) < 130
    assert long.isprintable()


# Anything at all

KNOWN_KEYS = sorted(
    {"sg_event_id", "sg_message_id", "sg_machine_open", "sg_template_id"}.union(
        tables.OWN_KEYS, tables.NESTED_METADATA
    )
)
any_event = st.builds(
    lambda known, free, name: {**free, **known, **name},
    st.dictionaries(st.sampled_from(KNOWN_KEYS), any_value | any_object, max_size=12),
    any_object,
    st.fixed_dictionaries({}, optional={"event": st.sampled_from(NAMES) | any_value}),
)


def _texts(event: TrackingEvent) -> Iterator[str]:
    maybe = (event.message_id, event.event_id, event.recipient, event.description)
    yield from (
        text for text in (*maybe, event.mta_response, event.user_agent, event.click_url) if text is not None
    )
    yield from event.tags


@given(any_event)
@example({"event": "open", "category": ["\ud800\0"], "email": "\ud800\0", "sg_event_id": "\ud800\0"})
@example({"event": "\ud800@\0"})
@example({"event": "open", "unique_args": {"unique_args": {"custom_args": {"a": 1, "email": 2}}}})
def test_any_object_is_normalized(given_event: dict[str, Any]) -> None:
    raw = decode_object(json.dumps(given_event).encode())
    event = normalize(raw)
    assert event.esp_event is raw
    assert isinstance(event.event_type, EventType)
    assert event.timestamp is None or event.timestamp.utcoffset() is not None
    assert (event.reject_reason is not None) == (event.event_type in ("bounced", "rejected"))
    assert all(type(tag) is str for tag in event.tags)
    assert not event.metadata.keys() & tables.OWN_KEYS
    assert not [key for key in event.metadata if key.startswith("sg_")]
    assert not [key for key in tables.NESTED_METADATA if isinstance(event.metadata.get(key), dict)]
    for text in _texts(event):
        assert b"\0" not in text.encode()
    assert event.description
    assert "@" not in event.description


@given(any_text)
def test_no_text_in_a_known_key_raises(text: str) -> None:
    for name in NAMES:
        for text_of in _texts(normalize({**dict.fromkeys(KNOWN_KEYS, text), "event": name})):
            assert b"\0" not in text_of.encode()


def test_the_deepest_decodable_object_is_normalized() -> None:
    deep = decode_object(b'{"unique_args":' * 99 + b'{"a":1}' + b"}" * 99)
    assert normalize(deep).metadata == {"a": 1}
    assert normalize(decode_object(b'{"event":"open","category":' + b"[" * 99 + b"]" * 99 + b"}")).tags


# From bytes


def test_read_returns_the_object_and_its_event() -> None:
    found, event = read_event(b'{"event": "bounce", "type": "blocked", "n": NaN}')
    assert (found["event"], event.event_type, event.reject_reason) == ("bounce", "bounced", "blocked")
    assert event.esp_event is found


def test_each_read_returns_a_fresh_event() -> None:
    raw = b'{"event": "open", "category": ["spring"], "order": {"n": 1}}'
    _, one = read_event(raw)
    _, other = read_event(raw)
    assert one == other
    one.metadata["order"]["n"] = 2
    one.tags.clear()
    one.esp_event.clear()
    assert (other.metadata, other.tags) == ({"order": {"n": 1}}, ["spring"])
    assert other.esp_event["event"] == "open"


@pytest.mark.parametrize("raw", [b"", b"nonsense", b"[1]", b"[" * 5000, b'{"event": "op'])
def test_an_element_that_is_no_object_is_unreadable(raw: bytes) -> None:
    with pytest.raises(Unreadable, match="The element"):
        read_event(raw)


def test_an_internal_error_is_unreadable_and_leaks_no_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(raw: dict[str, Any]) -> TrackingEvent:
        raise ZeroDivisionError(raw["email"])

    monkeypatch.setattr(tables, "normalize", faulty)
    with pytest.raises(Unreadable) as raised:
        read_event(b'{"email": "mira.okafor@example.net"}')
    assert str(raised.value) == "Reading it failed: ZeroDivisionError."
    assert raised.value.__context__ is None


@given(st.binary(max_size=200) | any_object.map(lambda found: json.dumps(found).encode()))
def test_any_bytes_are_read_or_unreadable(raw: bytes) -> None:
    try:
        found, event = read_event(raw)
    except Unreadable:
        return
    assert event.esp_event is found


# docs/events.md


def _rows(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading of docs/events.md, without its head."""
    page = (ROOT / "docs/events.md").read_text(encoding="utf-8")
    section = page.partition(f"# {heading}\n")[2]
    lines = [line for line in section.partition("\n#")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def _code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def _table(heading: str) -> dict[str, str]:
    return {cells[-2].strip("`"): cells[-1].strip("`") for cells in _rows(heading)}


def test_docs_list_all_event_types() -> None:
    assert _table("Event types") == {**tables.EVENT_TYPES, "anything else": EventType.UNKNOWN}


def test_docs_list_all_drop_reasons() -> None:
    assert _table("Dropped") == {**tables.DROP_REASONS, "anything else": RejectReason.OTHER}


def test_docs_list_all_bounce_reasons() -> None:
    by_field: dict[str, dict[str, str]] = {}
    for field, value, reason in _rows("Bounce"):
        by_field.setdefault(field.strip("`"), {})[value.strip("`")] = reason.strip("`")
    assert by_field == {
        "bounce_classification": tables.BOUNCE_CLASSIFICATIONS,
        "type": {
            **tables.BOUNCE_TYPES,
            "missing": RejectReason.BOUNCED,
            "anything else": RejectReason.OTHER,
        },
    }


def test_docs_list_all_event_attributes() -> None:
    rows = {_code(name)[0]: source for name, source, _ in _rows("Attributes")}
    assert rows.keys() == TrackingEvent.__dataclass_fields__.keys()
    words = {name: set(re.findall(r"\w+", source)) for name, source in rows.items()}
    assert words["mta_response"] & set(NAMES) == tables.MTA_EVENTS
    assert words["user_agent"] & set(NAMES) == tables.USER_AGENT_EVENTS
    assert words["click_url"] & set(NAMES) == {"click"}


def test_docs_list_all_names_reserved_from_metadata() -> None:
    assert {name for _, names in _rows("Metadata") for name in _code(names)} == tables.OWN_KEYS
