"""Forms as another library reads them."""

from io import BytesIO

from multipart import MultipartParser, MultipartPart, parse_options_header

from fake_sendgrid.form import Form


def read(content_type: str, body: bytes) -> list[MultipartPart]:
    """Its parts in order; raises multipart.MultipartError."""
    kind, options = parse_options_header(content_type)
    assert kind == "multipart/form-data"
    return list(MultipartParser(BytesIO(body), options["boundary"], strict=True))


def fields(form: Form) -> dict[str, MultipartPart]:
    """Its parts by name."""
    parts = read(form.content_type, form.body())
    assert len({part.name for part in parts}) == len(parts)
    return {part.name: part for part in parts}
