"""The actions of the admin pages of events and inbound mails: retry, replay, discard."""

from collections.abc import Sequence
from typing import Any

from django import forms

from events_app.changes import EVENTS, INBOUND_MAILS, Changes
from events_app.dispatch import replay
from events_app.dispatch.kinds import Kind
from events_app.shared.admin.actions import Action, Asked
from events_app.shared.changes import Change


class _ReplayForm(forms.Form):
    """Asks for the receivers. None is chosen at first: a replay may charge or mail a customer again."""

    to = forms.ChoiceField(
        label="Call",
        widget=forms.RadioSelect,
        choices=(("all", "all receivers"), ("some", "only the receivers chosen below")),
    )
    names = forms.MultipleChoiceField(label="Receivers", widget=forms.CheckboxSelectMultiple, required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if cleaned.get("to") == "some" and not cleaned.get("names") and "names" not in self.errors:
            self.add_error("names", "Choose a receiver.")
        if cleaned.get("to") == "all":
            cleaned["names"] = []
        return cleaned


def _replay_form(kind: Kind) -> type[forms.Form]:
    """The form with the receivers that are connected when the page is shown."""

    class ReplayForm(_ReplayForm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            names: Any = self.fields["names"]
            names.choices = [(name, name) for name in replay.connected_receivers(kind)]

    return ReplayForm


def _actions(changes: Changes, noun: str) -> Sequence[Action]:
    def replay_to(asked: Asked) -> Change:
        return changes.replay(asked.choices.get("names", []))

    return (
        Action(
            "retry",
            "Retry",
            f"The failed receivers of dead letters and of retrying {noun}s are called again now. "
            "Other receivers are not called.",
            lambda _: changes.retry(),
        ),
        Action(
            "replay",
            "Replay",
            f"Receivers are called anew, for delivered {noun}s and dead letters. A receiver that has had the "
            f"{noun} gets the same {noun} again.",
            replay_to,
            _replay_form(changes.kind),
        ),
        Action(
            "discard",
            "Discard",
            f"Dead letters are given up: nobody calls their receivers again. The {noun} stays, as done.",
            lambda _: changes.discard(),
        ),
    )


EVENT_ACTIONS = _actions(EVENTS, "event")
INBOUND_ACTIONS = _actions(INBOUND_MAILS, "mail")
