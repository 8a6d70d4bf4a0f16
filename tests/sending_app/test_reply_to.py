"""An id goes where its place is in an address, and nowhere else."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from sending_app.mail import MARKER, fill_marker

ID = "0b7f6a5e-83c4-4d2f-9a3c-52a4b1f2c9d0"
HEX = uuid.UUID(ID).hex

addresses = st.lists(st.fixed_dictionaries({"email": st.text()}, optional={"name": st.text()}), max_size=4)


def test_a_reply_to_placeholder_is_replaced_by_the_message_id() -> None:
    given = [{"email": "support+{message_id}@x.example", "name": "The {message_id} shop"}]
    assert fill_marker(given, ID) == [{"email": f"support+{HEX}@x.example", "name": "The {message_id} shop"}]
    assert given[0]["email"] == "support+{message_id}@x.example"


@given(addresses)
def test_reply_to_without_a_placeholder_is_unchanged(given: list[dict[str, str]]) -> None:
    plain = [one for one in given if MARKER not in one["email"]]
    assert fill_marker(plain, ID) == plain
