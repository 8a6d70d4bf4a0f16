"""Forms of fake_sendgrid, parsed by another library."""

from io import BytesIO

from multipart import MultipartParser, MultipartPart, parse_options_header

from fake_sendgrid.multipart_form import MultipartForm


def parse_form(content_type: str, body: bytes) -> list[MultipartPart]:
    """Parts of the form in order; raises multipart.MultipartError."""
    kind, options = parse_options_header(content_type)
    assert kind == "multipart/form-data"
    return list(MultipartParser(BytesIO(body), options["boundary"], strict=True))


def fields_by_name(form: MultipartForm) -> dict[str, MultipartPart]:
    """Parts of the form by name."""
    parts = parse_form(form.content_type, form.body())
    assert len({part.name for part in parts}) == len(parts)
    return {part.name: part for part in parts}
