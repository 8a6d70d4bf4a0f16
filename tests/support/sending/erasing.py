"""Erase a person in the outbox, and look for what is left of the person."""

import json
from collections import Counter

from django.apps import apps
from django.db.models import Model

from events_app.shared.personal_data.person import Person
from events_app.shared.personal_data.registry import Counts, places
from sending_app import encryption, outbox
from sending_app.models import Suppression
from sending_app.personal_data import PLACES

#: A key of pseudonyms.
KEY = "for tests only: 32 characters and more"


def erase(address: str) -> dict[str, Counts]:
    """Erase the person in all places of sending_app. Return what was changed, without zeros."""
    return _run(address, erases=True)


def count(address: str) -> dict[str, Counts]:
    """What `erase` would change."""
    return _run(address, erases=False)


def _run(address: str, erases: bool) -> dict[str, Counts]:
    person = Person(address)
    counts: dict[str, Counts] = {}
    for place in places:
        if place.name not in PLACES:
            continue
        slices = (place.erase if erases else place.count)(person)
        counts[place.name] = +sum(slices, Counter[str]())
    return {name: numbers for name, numbers in counts.items() if numbers}


def traces(address: str) -> list[str]:
    """The columns of sending_app that mention the address."""
    person = Person(address)
    models = apps.get_app_config("sending_app").get_models()
    return sorted({trace for model in models for trace in _traces(person, model)})


def _traces(person: Person, model: type[Model]) -> list[str]:
    names = [field.attname for field in model._meta.concrete_fields]
    return [
        f"{model.__name__}.{name}"
        for row in model._default_manager.using(outbox.using()).values(*names)
        for name, column in row.items()
        if person.is_in(_content(column))
    ]


def _content(column: object) -> str | bytes:
    if isinstance(column, bytes | memoryview):
        return encryption.decrypt(column)
    return column if isinstance(column, str) else json.dumps(column, default=str, ensure_ascii=False)


def suppressed() -> list[tuple[str, str, bool]]:
    """Address, reason and state of each suppression."""
    rows = Suppression.objects.using(outbox.using()).order_by("pk")
    return list(rows.values_list("address", "reason", "active"))
