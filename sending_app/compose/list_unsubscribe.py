"""Headers with which mail programs unsubscribe a recipient: RFC 2369, and at one click RFC 8058."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sending_app import conf
from sending_app.exceptions import ConfigurationError, UnsupportedFeature
from sending_app.mail import Personalization, SharedContent
from sending_app.unsubscribe_links import Link, make_url

#: The merge field with the link. Without delimiters of its own the field has hyphens around its name.
FIELD = "unsubscribe_url"

#: Octets of a line of a mail, without its end (RFC 5322, 2.1.1). No URL can be folded.
MAX_LINE = 998

_HEADERS = frozenset({"list-unsubscribe", "list-unsubscribe-post"})


def add_links(made: Sequence[Personalization], shared: SharedContent) -> list[Personalization]:
    """Give each personalization a link of its own, as headers and as a merge field.

    A personalization with such a header of the caller stays unchanged. So do all, if the header is set for
    the whole message. Raises ConfigurationError without UNSUBSCRIBE_URL, and UnsupportedFeature for a
    personalization to several recipients.
    """
    if _has_header(shared.body) or _has_header(shared.extra):
        return list(made)
    prefix = conf.UNSUBSCRIBE_URL.get()
    return [_with_link(personalization, shared, prefix) for personalization in made]


def _has_header(fields: Mapping[str, Any]) -> bool:
    return any(name.lower() in _HEADERS for name in fields.get("headers", {}))


def _with_link(personalization: Personalization, shared: SharedContent, prefix: str) -> Personalization:
    given = personalization.given
    if _has_header({"headers": personalization.headers} if given is None else given):
        return personalization
    if len(personalization.to) > 1:
        raise UnsupportedFeature(
            f"unsubscribe_scope needs a mail to each recipient, and this one has {len(personalization.to)} "
            "addresses in `to`: a link is for one person. Set `merge_data` ({} will do): each `to` recipient "
            "then gets a separate mail. In a list of esp_extra's personalizations, write one for each"
        )
    if not prefix:
        raise ConfigurationError(
            f"unsubscribe_scope needs {conf.UNSUBSCRIBE_URL.places()[0]}: the public https URL under which "
            "your urls.py includes sending_app.urls, such as https://example.com/mail/. Or set your own "
            "List-Unsubscribe header."
        )
    url = make_url(Link(personalization.to[0]["email"], shared.unsubscribe_scope, personalization.id), prefix)
    headers = {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    if len(f"List-Unsubscribe: <{url}>") > MAX_LINE:
        raise UnsupportedFeature(
            f"The link to unsubscribe is longer than a mail's line of {MAX_LINE} characters: choose a "
            "shorter unsubscribe_scope"
        )
    if given is not None:
        return replace(personalization, given={**given, "headers": {**given.get("headers", {}), **headers}})
    name = FIELD if shared.dynamic or shared.field_format else f"-{FIELD}-"
    # The caller's own field of this name wins.
    merge_data = {} if name in shared.global_data else {name: url}
    return replace(
        personalization,
        headers={**personalization.headers, **headers},
        merge_data={**merge_data, **personalization.merge_data},
    )
