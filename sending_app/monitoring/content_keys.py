"""The facts about the keys that encrypt the content of mails."""

from collections import Counter
from collections.abc import Iterator

from django.db.models.functions import Substr

from events_app.shared.console.terminal import counted
from events_app.shared.facts import DATABASE, Depth, Level, Reading, declare, source
from sending_app import conf, encryption
from sending_app.models import OutboxMessage

#: Messages to look at. The oldest have the oldest keys, because the content of a message is written once.
OLDEST = 1000

CONTENTS = declare(
    "outbox_content_keys",
    f"Of the oldest messages with content, up to {OLDEST:,}: how many the first key encrypts, another key, a "
    "missing key, or none",
    labels=("key",),
)


@source(Depth.EXAMINATION, DATABASE, "Encryption")
def read_content_keys() -> Iterator[Reading]:
    """Count the oldest contents by key. Removing a key makes the contents unreadable that need the key."""
    oldest = OutboxMessage.objects.filter(content__isnull=False).order_by("pk")
    beginnings = oldest.values_list(Substr("content", 1, encryption.MARKED), flat=True)[:OLDEST]
    counts = Counter(encryption.key_of(bytes(beginning)) for beginning in beginnings)
    in_plain = counts.pop(None, 0)
    by_key = [counts.pop(key, 0) for key in encryption.digests()]
    by_first, by_others = sum(by_key[:1]), sum(by_key[1:])
    missing = counts.total()
    yield CONTENTS.read(in_plain, "none")
    yield CONTENTS.read(by_first, "first")
    if by_others:
        text = f"An older key of {conf.ENCRYPTION_KEYS.name} still encrypts {counted(by_others, 'message')}."
        yield CONTENTS.read(by_others, "other", text=text)
    else:
        yield CONTENTS.read(0, "other")
    if missing:
        yield CONTENTS.read(
            missing,
            "missing",
            level=Level.ERROR,
            text=f"No key of {conf.ENCRYPTION_KEYS.name} decrypts the content of "
            f"{counted(missing, 'message')}.",
            advice="Add the missing key to the end of the list, and restart web and workers. The mails "
            "wait for the key, and fail after SEND_MAX_AGE.",
        )
    else:
        yield CONTENTS.read(0, "missing")
