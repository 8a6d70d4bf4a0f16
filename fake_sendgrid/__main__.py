"""`python -m fake_sendgrid`: a local SendGrid for development. It runs in the foreground until Ctrl-C."""

import argparse
import errno
import signal
import sys
import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path

from fake_sendgrid import console
from fake_sendgrid.control_messages import LONGEST
from fake_sendgrid.event_webhook import PostingOptions
from fake_sendgrid.scenarios import DEFAULT_SCENARIO, SCENARIOS, sends_reply
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.webhook_sender import WebhookSender
from fake_sendgrid.website import site
from fake_sendgrid.website.control import web_url

#: The number of mails kept in memory.
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
            refused=frozenset(options.refuse),
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
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        hint = f": choose another port than {options.port} with --port" if in_use else ""
        print(f"fake_sendgrid: {error}{hint}", file=sys.stderr)
        return 1
    ended = threading.Event()
    # A shell script starts background jobs with SIGINT ignored, so set both handlers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with fake:
        site.add_to(fake, keep=_KEEP)
        print(_greeting(fake), flush=True)
        ended.wait()
        print()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fake_sendgrid",
        description=(
            "A local SendGrid for development. It takes your project's mails, shows them on a web page, and "
            "posts signed events and replies to your project's webhooks. It delivers no mail."
        ),
        epilog="The page and the API are on 127.0.0.1. The page has the settings for your project.",
    )
    parser.add_argument(
        "--port", type=_port, default=8025, help="port of the page and the API (8025; 0: a free port)"
    )
    parser.add_argument("--webhook-url", type=_url, metavar="URL", help="where events are posted (nowhere)")
    parser.add_argument("--inbound-url", type=_url, metavar="URL", help="where replies are posted (nowhere)")
    parser.add_argument("--key", action="append", metavar="KEY", help="an accepted API key; repeatable (any)")
    parser.add_argument(
        "--refuse",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="an address that no request may have; repeatable (none)",
    )
    parser.add_argument(
        "--signing-key",
        type=Path,
        metavar="FILE",
        help="the private key that signs posts; created if missing (a new key at each start)",
    )
    parser.add_argument(
        "--duplicates", type=_share, default=0.0, metavar="SHARE", help="share of events posted twice (0)"
    )
    parser.add_argument(
        "--disorder",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="share of events posted later than newer ones (0)",
    )
    parser.add_argument(
        "--delay",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="time between a mail and its events (0)",
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 65535")
    return port


def _url(text: str) -> str | None:
    try:
        return web_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {LONGEST}")
    return seconds


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return share


def _greeting(fake: FakeSendGrid) -> str:
    scenarios = "\n".join(
        f"  {prefix + '…':14}{', '.join(scenario) or 'no events'}{', reply' * sends_reply(prefix)}"
        for prefix, scenario in SCENARIOS.items()
    )
    return textwrap.dedent("""\
        A local SendGrid. It takes your mail and delivers none.

        page              {page}   <- open it: mails, events, settings for your project
        API               {url}
        webhook           {webhook}
        inbound webhook   {inbound}
        verification key  {key}

        The beginning of an address selects the events of its mail:
        {scenarios}
          other         {default}

        Ctrl-C ends it.
        """).format(
        page=fake.page_url,
        url=fake.url,
        webhook=fake.webhook_url or "none, events wait: set it on the page or with --webhook-url",
        inbound=fake.inbound_url or "none, nobody replies: set it on the page or with --inbound-url",
        key=fake.public_key,
        scenarios=scenarios,
        default=", ".join(DEFAULT_SCENARIO),
    )


if __name__ == "__main__":
    sys.exit(main())
