"""The content ids that `cid:` URLs of HTML name (RFC 2392).

The HTML is searched, not parsed: the HTML of mails is often malformed.
"""

import html
import re
from itertools import chain, islice, pairwise
from urllib.parse import unquote

#: The most URLs to read: twice the parts that a post may have.
MOST_URLS = 4_000

#: The most characters of a URL. A header line with a content id has 998 (RFC 5322, 2.1.1).
LONGEST_URL = 1000

_SCHEME = re.compile("cid(?::|&colon;|&#0*58;|&#x0*3a;)", re.IGNORECASE | re.ASCII)
_END_IN_SOURCE = re.compile('["<>\r\n]')

# A content id may have each of these, and each may end a URL: of an attribute without quotes, with single
# quotes, in CSS (`url(cid:a)`), or in CSS within an attribute (`url(&quot;cid:a&quot;)`).
_ENDS = (re.compile(r"\s"), re.compile("'"), re.compile(r"\)"), re.compile('"'))


def content_ids(source: str) -> set[str]:
    """The content ids, without <>, in any `cid:` URL of the HTML; of too many URLs, the first `MOST_URLS`.

    A URL whose end is unclear gives each possible id. Ids are given as written and percent-decoded.
    """
    ids: set[str] = set()
    starts = (match.span() for match in islice(_SCHEME.finditer(source), MOST_URLS))
    for (_, start), (following, _) in pairwise(chain(starts, [(len(source), 0)])):
        written = source[start : min(following, start + LONGEST_URL)]
        url = html.unescape(_END_IN_SOURCE.split(written, maxsplit=1)[0]).strip()
        ids.update((url, *(end.split(url, maxsplit=1)[0] for end in _ENDS)))
    return (ids | set(map(unquote, ids))) - {""}
