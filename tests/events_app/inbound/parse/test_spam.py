"""The spam result comes from SendGrid or from the headers, and is None without both."""

import pytest

from events_app.inbound.parse.post import spam_detected, spam_score

REPORT = "Content analysis details:   ({} points, {} required)\n\n pts rule name\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.9", 0.9),
        (" -1.2\n", -1.2),
        ("5", 5.0),
        ("", None),
        (None, None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("not checked", None),
        ("9" * 5000, 1e50),
    ],
)
def test_the_spam_score_is_a_finite_number_or_none(text: str | None, expected: float | None) -> None:
    assert spam_score(text) == expected


@pytest.mark.parametrize(
    ("points", "required", "expected"),
    [("0.9", "5.0", False), ("5.0", "5.0", True), ("12.3", "5.0", True), ("-2.1", "5.0", False)],
)
def test_spam_is_detected_by_the_points_of_the_report(points: str, required: str, expected: bool) -> None:
    assert spam_detected(REPORT.format(points, required)) is expected


@pytest.mark.parametrize("report", [None, "", "Spam detection software ...", REPORT.format("x", "5.0")])
def test_a_report_without_points_detects_nothing(report: str | None) -> None:
    assert spam_detected(report) is None


@pytest.mark.parametrize(
    ("flag", "status", "expected"),
    [
        ("YES", None, True),
        ("no", "", False),
        (None, "Yes, score=7.2 required=5.0", True),
        ("", "No, score=0.1", False),
        ("perhaps", "yesterday", None),
    ],
)
def test_spam_is_detected_by_headers_without_a_report(
    flag: str | None, status: str | None, expected: bool | None
) -> None:
    assert spam_detected(None, flag, status) is expected


def test_the_report_takes_precedence_over_headers() -> None:
    assert spam_detected(REPORT.format("9.0", "5.0"), "NO", "No") is True
