"""`python -m fake_sendgrid`: a SendGrid for developing against, in the foreground, until Ctrl-C."""

import argparse
import signal
import sys
import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path

from fake_sendgrid import console
from fake_sendgrid.event_webhook import PostingOptions
from fake_sendgrid.scenarios import DEFAULT_SCENARIO, SCENARIOS, sends_reply
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.webhook_sender import WebhookSender

#: Mails that are kept in memory.
_KEEP = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        sender = WebhookSender.from_key_file(options.signing_key) if options.signing_key else WebhookSender()
        fake = FakeSendGrid(
            webhook_url=options.webhook_url,
            inbound_url=options.inbound_url,
            sender=sender,
            keys=options.key and frozenset(options.key),
            port=options.port,
            posting=PostingOptions(
                duplicates=options.duplicates, disorder=options.disorder, delay=options.delay
            ),
            keep=_KEEP,
            on_request=console.print_request,
            on_post=console.print_event_post,
            on_inbound=console.print_inbound_delivery,
        )
    except (OSError, ValueError) as error:
        print(f"fake_sendgrid: {error}", file=sys.stderr)
        return 1
    ended = threading.Event()
    # Both, and whatever was inherited: a script's background job would have Ctrl-C ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with fake:
        print(_greeting(fake), flush=True)
        ended.wait()
        print()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fake_sendgrid",
        description="A local SendGrid: takes v3 mail/send and posts signed events back. It sends nothing.",
    )
    parser.add_argument("--port", type=int, default=8025, help="of the API, on 127.0.0.1 (8025)")
    parser.add_argument("--webhook-url", help="where events are posted; without it none are")
    parser.add_argument("--inbound-url", help="where answers to mails are posted; without it none are")
    parser.add_argument("--key", action="append", help="an API key that is let in; repeatable (any)")
    parser.add_argument(
        "--signing-key", type=Path, help="file of the private key posts are signed with, made if missing"
    )
    parser.add_argument("--duplicates", type=_share, default=0.0, help="share of events posted twice (0)")
    parser.add_argument("--disorder", type=_share, default=0.0, help="share of events held back (0)")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds from a mail to its events (0)")
    return parser


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return share


def _greeting(fake: FakeSendGrid) -> str:
    fates = "\n".join(
        f"  {word + '…':14}{', '.join(fate) or 'nothing'}{', answered' * sends_reply(word)}"
        for word, fate in SCENARIOS.items()
    )
    return textwrap.dedent("""\
        API               {url}
        webhook           {webhook}
        inbound webhook   {inbound}
        verification key  {key}

        What becomes of a mail depends on how its address begins:
        {fates}
          else          {otherwise}

        Ctrl-C ends it.
        """).format(
        url=fake.url,
        webhook=fake.webhook_url or "none: no events are posted (--webhook-url)",
        inbound=fake.inbound_url or "none: no mail is answered (--inbound-url)",
        key=fake.public_key,
        fates=fates,
        otherwise=", ".join(DEFAULT_SCENARIO),
    )


if __name__ == "__main__":
    sys.exit(main())
