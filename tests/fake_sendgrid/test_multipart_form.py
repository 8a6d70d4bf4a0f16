"""An encoded form can be parsed back, with any values."""

from hypothesis import given
from hypothesis import strategies as st

from fake_sendgrid.multipart_form import FormPart, MultipartForm
from tests.support.fake_sendgrid.parsed_forms import fields_by_name, parse_form

FORM = MultipartForm(
    (
        FormPart("subject", b"Hello"),
        FormPart("to", b"a@example.com"),
        FormPart("attachment1", b"%PDF", "a.pdf"),
    )
)


def test_the_form_has_the_wire_format_of_sendgrid() -> None:
    form = MultipartForm(
        (FormPart("attachment1", b"abc", "a.txt", "text/plain"), FormPart("to", b"a@example.com"))
    )
    assert form.content_type == "multipart/form-data; boundary=xYzZY"
    assert form.body() == (
        b'--xYzZY\r\nContent-Disposition: form-data; name="attachment1"; filename="a.txt"\r\n'
        b"Content-Type: text/plain\r\n\r\nabc\r\n"
        b'--xYzZY\r\nContent-Disposition: form-data; name="to"\r\n\r\na@example.com\r\n--xYzZY--\r\n'
    )


@given(st.lists(st.sampled_from([b"xYzZY", b"--", b"\r\n", b"1", b"\xff", b"a"]), max_size=8).map(b"".join))
def test_a_value_that_contains_the_boundary_is_read_back(value: bytes) -> None:
    form = MultipartForm((FormPart("email", value), FormPart("text", b"xYzZY1"), FormPart("to", value)))
    assert [part.raw for part in parse_form(form.content_type, form.body())] == [value, b"xYzZY1", value]


def test_file_names_are_read_back() -> None:
    names = ["übersicht 2.csv", 'the "last" one.txt', "", "日本.pdf"]
    form = MultipartForm(
        tuple(FormPart(f"attachment{number}", b"x", name) for number, name in enumerate(names))
    )
    assert [part.filename for part in parse_form(form.content_type, form.body())] == names


def test_a_line_break_in_a_file_name_does_not_end_the_header() -> None:
    form = MultipartForm((FormPart("attachment1", b"x", "two\r\nlines.txt", "text/plain"),))
    assert fields_by_name(form)["attachment1"].filename == "two lines.txt"


def test_without_removes_parts() -> None:
    assert [part.name for part in FORM.without("to", "attachment1", "cc").parts] == ["subject"]


def test_replaced_changes_the_value_of_a_part_in_place() -> None:
    changed = FORM.replaced("to", b"b@example.com").replaced("attachment1", b"")
    assert changed.parts == (
        FORM.parts[0],
        FormPart("to", b"b@example.com"),
        FormPart("attachment1", b"", "a.pdf"),
    )


def test_replaced_appends_a_missing_part() -> None:
    assert FORM.replaced("cc", b"c@example.com").parts == (*FORM.parts, FormPart("cc", b"c@example.com"))
