"""The form that suppresses an address."""

from collections.abc import Callable
from datetime import datetime

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from sending_app.admin.suppressed import REASON_NAMES
from sending_app.models import Suppression
from sending_app.suppression.manual import storable_address, storable_scope, suppress


class SuppressForm(forms.Form):
    """An address with a reason, a scope and an end."""

    address = forms.CharField(
        max_length=1000, widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "email"})
    )
    reason = forms.ChoiceField(
        choices=list(REASON_NAMES.items()), initial=Suppression.Reason.BLOCKED.value, widget=forms.RadioSelect
    )
    scope = forms.CharField(
        required=False,
        max_length=1000,
        label="Only this stream of mail",
        help_text="Empty: all mail. A name as in message.unsubscribe_scope, such as news; or group: and the "
        "number of an unsubscribe group at SendGrid.",
    )
    until = forms.DateTimeField(
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M:%S"),
    )

    def __init__(self, data: object = None) -> None:
        super().__init__(data)  # type: ignore[arg-type]
        zone = timezone.get_current_timezone_name()
        self.fields["until"].help_text = f"In the time zone {zone}. Empty: without end."

    def clean_address(self) -> str:
        return _usable(storable_address, self.cleaned_data["address"])

    def clean_scope(self) -> str:
        return _usable(storable_scope, self.cleaned_data["scope"])

    def clean_until(self) -> datetime | None:
        until: datetime | None = self.cleaned_data["until"]
        if until is not None and until <= timezone.now():
            raise ValidationError("The end must lie in the future.")
        return until

    def suppress(self) -> Suppression:
        """Suppress the address of the valid form, and return the row."""
        values = self.cleaned_data
        reason = Suppression.Reason(values["reason"])
        suppress([values["address"]], reason, values["scope"], values["until"])
        return Suppression.objects.get(address=values["address"], scope=values["scope"], reason=reason)


def _usable(storable: Callable[[str], str], text: str) -> str:
    try:
        return storable(text)
    except ValueError as error:
        raise ValidationError(str(error)) from None
