"""Mails as a deployer would write them."""

from django.core.mail import EmailMessage

from sending_app.message import SendGridMessage


def announce_shipping(orders: dict[str, str]) -> SendGridMessage:
    """One merge: each reader gets a mail of their own, with the number of their own order."""
    message = SendGridMessage(
        to=list(orders),
        template_id="d-5a963add2ec84305813ff860db277d7a",
        merge_data={address: {"order_no": number} for address, number in orders.items()},
        merge_global_data={"ship_date": "May 15"},
        tags=["shipping"],
        track_opens=True,
    )
    message.send()
    return message


def send_invoice(to: str, invoice: bytes) -> EmailMessage:
    """A message of Django's own, with a file."""
    message = EmailMessage("Your invoice", "It is attached.", to=[to])
    message.attach("invoice.pdf", invoice, "application/pdf")
    message.send()
    return message


def send_welcome(to: str) -> SendGridMessage:
    """One more, with what should come back in its events."""
    message = SendGridMessage("Welcome", "Good to have you here.", to=[to], metadata={"campaign": "spring"})
    message.send()
    return message
