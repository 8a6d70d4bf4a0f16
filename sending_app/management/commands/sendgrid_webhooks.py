"""The operator's command for SendGrid's webhooks: sets up, signs, tests and lists them, and changes keys."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError, CommandParser, OutputWrapper

from events_app.shared.console import options as shared_options
from events_app.shared.console.command import Actions, Options
from events_app.shared.console.terminal import dump
from events_app.shared.escaping import printable
from sending_app import account
from sending_app.conf import DEFAULT_ALIAS
from sending_app.webhooks import (
    event_setup,
    event_webhooks,
    inbound_setup,
    listing,
    oauth,
    rotation,
    urls,
)
from sending_app.webhooks.calls import Calls
from sending_app.webhooks.event_setup import Wanted
from sending_app.webhooks.event_webhooks import EVENTS, STATUS_CHANGE, EventWebhook, EventWebhooks
from sending_app.webhooks.inbound_setup import WantedInbound
from sending_app.webhooks.oauth import OAuth

#: Seconds to wait for the events of a test. SendGrid may take half a minute.
PATIENCE = 120.0

_EPILOG = "Without --apply, an action shows the calls that it would make, and changes nothing."


class Command(Actions):
    help = "Set up, sign, test and list SendGrid's webhooks, and change their keys, by SendGrid's API."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        common = shared_options.own()
        common.add_argument(
            "--account", default=DEFAULT_ALIAS, help="a mailer or an account in SENDGRID_ACCOUNTS"
        )
        change = CommandParser(add_help=False, parents=[common])
        change.add_argument(
            "--apply", action="store_true", help="make the changes; without it, only show them"
        )
        which = CommandParser(add_help=False, parents=[change])
        which.add_argument("--url", help="the webhook that posts to this URL (default: that of this project)")
        which.add_argument("--id", help="the webhook with this id at SendGrid")
        settings = CommandParser(add_help=False)
        settings.add_argument(
            "--events", type=_events, metavar="LIST", help=f"all, or some of: {', '.join(_all_events())}"
        )
        settings.add_argument("--name", help="the webhook's name at SendGrid")
        settings.add_argument(
            "--basic-auth", action="store_true", help="put user and password of WEBHOOK_SECRET into the URL"
        )
        settings.add_argument("--oauth", action="store_true", help="let SendGrid get a token for its posts")
        settings.add_argument("--token-url", metavar="URL", help="where SendGrid gets the token")
        settings.add_argument(
            "--client-id",
            metavar="ID",
            help="the OAuth client (default: the last of WEBHOOK_OAUTH_CLIENTS); asks for an unknown secret",
        )
        inbound = CommandParser(add_help=False)
        inbound.add_argument("--hostname", help="Inbound Parse for the mail to this host name")
        waiting = CommandParser(add_help=False)
        waiting.add_argument(
            "--wait", type=_seconds, default=PATIENCE, metavar="SECONDS", help="for a test's events (120)"
        )
        lists = actions.add_parser("list", parents=[common], help="list all webhooks and host names")
        lists.add_argument("--json", action="store_true", help="print JSON, for programs")
        setup = actions.add_parser(
            "setup",
            parents=[change, inbound, settings, waiting],
            epilog=_EPILOG,
            help="create a webhook, sign it, and enable it when this server has its key",
        )
        setup.add_argument("--url", required=True, help="https://your.host/anymail/sendgrid/tracking/")
        setup.add_argument(
            "--spam-check",
            action="store_true",
            default=None,
            help="let SendGrid check inbound mails for spam",
        )
        update = actions.add_parser(
            "update", parents=[which, settings], epilog=_EPILOG, help="change events, name or URL"
        )
        update.add_argument("--new-url", metavar="URL", help="let the webhook post to this URL")
        actions.add_parser("sign", parents=[which], epilog=_EPILOG, help="turn the signature on")
        actions.add_parser("unsign", parents=[which], epilog=_EPILOG, help="turn the signature off")
        rotate = actions.add_parser(
            "rotate",
            parents=[which, inbound, waiting],
            epilog=_EPILOG,
            help="change the key without a refused post, by a second webhook",
        )
        step = rotate.add_mutually_exclusive_group()
        step.add_argument("--finish", action="store_true", help="delete the first webhook, after 24 hours")
        step.add_argument("--untested", action="store_true", help="go on without SendGrid's test")
        step.add_argument(
            "--accept-gap", action="store_true", help="with only one webhook: lose events, perhaps"
        )
        actions.add_parser(
            "test", parents=[which, waiting], epilog=_EPILOG, help="let SendGrid post its test"
        )

    # Actions

    def _list(self, options: Options) -> None:
        # A program that reads the JSON gets no warnings in between.
        found = listing.read_listing(self._calls(options, self.stderr))
        self.write([dump(found.as_json())] if options["json"] else found.lines(self.width()))

    def _setup(self, options: Options) -> None:
        calls = self._calls(options)
        if options["hostname"]:
            if options["events"] or options["name"]:
                raise CommandError("--events and --name belong to an Event Webhook, not to a host name.")
            wanted = WantedInbound(
                hostname=options["hostname"],
                url=options["url"],
                spam_check=options["spam_check"],
                basic_auth=options["basic_auth"],
                oauth=_oauth(options),
            )
            inbound_setup.set_up_host(calls, wanted)
        elif options["spam_check"]:
            raise CommandError("--spam-check belongs to a host name of inbound mail: add --hostname.")
        else:
            event_setup.set_up(calls, _wanted(options, url=options["url"], wait=options["wait"]))
        self._remind(calls)

    def _update(self, options: Options) -> None:
        calls = self._calls(options)
        _, webhook = _found(calls, options)
        event_setup.update(calls, webhook, _wanted(options, url=options["new_url"]))
        self._remind(calls)

    def _sign(self, options: Options) -> None:
        calls = self._calls(options)
        event_setup.sign(calls, _found(calls, options)[1])
        self._remind(calls)

    def _unsign(self, options: Options) -> None:
        calls = self._calls(options)
        event_setup.unsign(calls, _found(calls, options)[1])
        self._remind(calls)

    def _rotate(self, options: Options) -> None:
        calls = self._calls(options)
        if options["hostname"]:
            (inbound_setup.finish_rotation if options["finish"] else inbound_setup.rotate_policy)(
                calls, options["hostname"]
            )
        else:
            webhooks, webhook = _found(calls, options)
            if options["finish"]:
                rotation.finish(calls, webhooks, webhook.url)
            elif options["accept_gap"]:
                rotation.rotate_with_gap(calls, webhooks, webhook)
            else:
                wanted = Wanted(wait=options["wait"])
                rotation.rotate(calls, webhooks, webhook.url, wanted, untested=options["untested"])
        self._remind(calls)

    def _test(self, options: Options) -> None:
        calls = self._calls(options)
        event_setup.test(calls, _found(calls, options)[1], Wanted(wait=options["wait"]))
        self._remind(calls)

    def _calls(self, options: Options, out: OutputWrapper | None = None) -> Calls:
        def say(text: str) -> None:
            (out or self.stdout).write(printable(text))
            (out or self.stdout).flush()

        return Calls(account.named(options["account"]), say, apply=options.get("apply", False))

    def _remind(self, calls: Calls) -> None:
        if calls.left_out:
            self.stdout.write("Nothing was changed. --apply makes the changes.")


def _found(calls: Calls, options: Options) -> tuple[EventWebhooks, EventWebhook]:
    """All webhooks, and the webhook that the options name. Raises CommandError."""
    webhooks = event_webhooks.read_webhooks(calls)
    if options["id"]:
        found = [hook for hook in webhooks.webhooks if hook.id == options["id"]]
        missing = f"No webhook has the id {options['id']}."
    elif options["url"]:
        found = webhooks.named(options["url"])
        missing = f"No webhook posts to {urls.masked(options['url'])}."
    else:
        found = [hook for hook in webhooks.webhooks if urls.is_ours(hook.url, "tracking")]
        missing = "No webhook posts to this project, by ALLOWED_HOSTS and urls.py."
        if len({urls.target(hook.url) for hook in found}) > 1:
            raise CommandError(
                "Several webhooks post to this project. Choose one with --url or --id: see list."
            )
    if not found:
        raise CommandError(f"{missing} The action list shows all.")
    # Of a change of the key, the webhook that posts.
    return webhooks, next((hook for hook in found if hook.enabled), found[0])


def _wanted(options: Options, **values: Any) -> Wanted:
    return Wanted(
        events=options["events"],
        name=options["name"],
        basic_auth=options["basic_auth"],
        oauth=_oauth(options),
        **values,
    )


def _oauth(options: Options) -> OAuth | None:
    if not options["oauth"]:
        if options["token_url"] or options["client_id"]:
            raise CommandError("--token-url and --client-id need --oauth.")
        return None
    if options["basic_auth"]:
        raise CommandError("--oauth and --basic-auth exclude each other: both have the same header.")
    if not options["token_url"]:
        raise CommandError("--oauth needs --token-url.")
    return oauth.credentials(options["token_url"], options["client_id"])


def _all_events() -> tuple[str, ...]:
    return (*EVENTS, STATUS_CHANGE)


def _events(text: str) -> frozenset[str]:
    if text == "all":
        return frozenset(EVENTS)
    names = frozenset(name.strip() for name in text.split(","))
    if unknown := sorted(names.difference(_all_events())):
        raise ArgumentTypeError(f"{unknown[0]!r} is no event. There are: all, {', '.join(_all_events())}.")
    return names


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 3600:
        raise ArgumentTypeError(f"{text!r} is no number of seconds, up to an hour.")
    return seconds
