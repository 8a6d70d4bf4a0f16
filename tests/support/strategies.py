"""Hypothesis strategies that tests of several modules draw from."""

from itertools import pairwise

from hypothesis import strategies as st

#: Bits of which headers are made, and which make the standard library's parser raise.
header_bits = st.sampled_from(
    (
        *(
            "(",
            ")",
            "<",
            ">",
            "@",
            "[",
            "]",
            "\\",
            '"',
            ";",
            ":",
            ",",
            "=?",
            "?=",
            "?q?",
            "=?utf-8?q?a=0Ab?=",
            " ",
        ),
        *(
            "filename",
            "*0*=",
            "''",
            "%C3",
            "=",
            "a",
            "ü",
            "=?utf-8?b?=?=",
            "\0",
            "\n\t",
            "utf-8",
            "/",
            "boundary",
        ),
    )
)

header_values = st.lists(header_bits, max_size=12).map("".join)

MAIL_LINES = (
    *(b"Content-Type: multipart/mixed; boundary=a", b'Content-Type: multipart/digest; boundary="b"'),
    *(b"Content-Type: message/rfc822", b"Content-Type: multipart/mixed", b"Content-Type: text/html"),
    *(
        b"--a",
        b"--b",
        b"--a--",
        b"--b--",
        b"--a  ",
        b"--ab",
        b"--",
        b"",
        b"",
        b"text",
        b"Subject: x",
        b" more",
    ),
    *(b"\xff\xfe", b"X:"),
)


def has_no_empty_part(lines: list[bytes]) -> bool:
    """The standard library takes the end of a multipart that follows a delimiter for another delimiter."""
    return not any(one.startswith(b"--") and other.startswith(b"--") for one, other in pairwise(lines))


#: Sources of mails, well-formed or not.
mail_sources = st.builds(
    lambda lines, eol: eol.join(lines),
    st.lists(st.sampled_from(MAIL_LINES), max_size=16).filter(has_no_empty_part),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)

#: Text that JSON can carry, lone surrogates and NUL too.
any_text = st.text(st.characters(exclude_categories=()), max_size=20)

#: Any value that JSON can carry, NaN and infinities too.
any_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)

#: Any JSON object.
any_object = st.dictionaries(any_text, any_value, max_size=6)

#: For settings that are merged level by level.
leaves = st.integers() | st.text(max_size=3)

nested_values = st.recursive(leaves, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3))

nested_dicts = st.dictionaries(st.sampled_from("abc"), nested_values, max_size=3)

#: A value that can be written as JSON.
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
