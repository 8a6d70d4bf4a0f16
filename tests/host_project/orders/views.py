"""Mail to the customers."""

from accounts.models import User
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from sending_app.message import SendGridMessage


@require_POST
def announce(request: HttpRequest) -> HttpResponse:
    """Announce a book to each customer who gets mail, in one merge."""
    customers = User.objects.filter(gets_mail=True).order_by("email")
    message = SendGridMessage(
        to=[user.email for user in customers],
        template_id="d-5a963add2ec84305813ff860db277d7a",
        merge_data={user.email: {"customer": user.pk} for user in customers},
        merge_global_data={"title": request.POST["title"]},
        tags=["announcement"],
    )
    message.send()
    return HttpResponse(f"{len(message.to)} mails")
