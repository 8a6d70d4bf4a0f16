"""Scopes of suppressions: all mail, a stream (`message.unsubscribe_scope`), or an unsubscribe group."""

from sending_app.mail import MOST_SCOPE, SharedContent

#: The scope of all mail. A suppression in this scope also holds for every stream and group.
ALL_MAIL = ""

#: The beginning of the scope of an unsubscribe group of SendGrid. Digits follow.
GROUP = "group:"


def group_scope(group_id: object) -> str | None:
    """The scope of SendGrid's unsubscribe group; None if there is no readable id."""
    is_id = isinstance(group_id, int | str) and not isinstance(group_id, bool)
    digits = str(group_id).strip() if is_id else ""
    # An id is a number (Suppressions API). With a longer text the column would overflow.
    return f"{GROUP}{digits}" if digits.isdecimal() and len(digits) < MOST_SCOPE - len(GROUP) else None


def scopes_of(shared: SharedContent) -> list[str]:
    """The scopes whose suppressions hold for the mail."""
    asm = shared.body.get("asm")
    group = group_scope(asm.get("group_id")) if isinstance(asm, dict) else None
    return list(dict.fromkeys([ALL_MAIL, shared.unsubscribe_scope, group or ALL_MAIL]))
