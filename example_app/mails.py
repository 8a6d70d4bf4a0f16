"""Examples of sending mail."""

from django.core.mail import EmailMessage

from sending_app.message import SendGridMessage


def announce_shipping(orders: dict[str, str]) -> SendGridMessage:
    """Send a merge: each recipient gets a separate mail with their order number."""
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
    """Send a message of Django's own class, with an attachment."""
    message = EmailMessage("Your invoice", "It is attached.", to=[to])
    message.attach("invoice.pdf", invoice, "application/pdf")
    message.send()
    return message


def send_welcome(to: str) -> SendGridMessage:
    """Send a message with metadata, which its events will contain."""
    message = SendGridMessage("Welcome", "Good to have you here.", to=[to], metadata={"campaign": "spring"})
    message.send()
    return message
