"""The links of mails that were sent before an erasure still work, and bring no data of the person back."""

from collections.abc import Callable

import pytest
from django.test import Client

from events_app.models import ErasedPerson, Event
from events_app.shared.database import database_now
from events_app.shared.personal_data.person import Person
from sending_app.models import Recipient, Suppression
from tests.support.sending.erasing import KEY, erase
from tests.support.sending.outbox_mails import mail, put_in_outbox
from tests.support.sending.unsubscribe_links import link, path_of

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

ANN = Person("ann@example.com")


@pytest.fixture(autouse=True)
def key(anymail: Callable[..., None]) -> None:
    anymail(PERSONAL_DATA_KEY=KEY)


def forget(database: str) -> None:
    ErasedPerson.objects.using(database).create(pseudonym=ANN.pseudonym, erased_at=database_now(database))
    erase(ANN.address)


def suppressed(database: str) -> list[tuple[str, bool]]:
    return list(Suppression.objects.using(database).values_list("address", "active"))


def test_an_unsubscribe_after_the_erasure_holds_under_the_pseudonym(database: str, client: Client) -> None:
    forget(database)
    for _ in range(2):
        assert client.post(path_of()).status_code == 200
    assert suppressed(database) == [(ANN.pseudonym, True)]
    assert Event.objects.using(database).get().recipient == ANN.pseudonym


def test_an_undo_after_the_erasure_ends_the_suppression(database: str, client: Client) -> None:
    client.post(path_of())
    assert suppressed(database) == [(ANN.address, True)]
    forget(database)
    client.post(path_of())
    client.post(f"{path_of()}/undo")
    assert suppressed(database) == [(ANN.pseudonym, False)]


def test_a_customer_again_can_undo_the_unsubscribe_of_before(database: str, client: Client) -> None:
    client.post(path_of())
    forget(database)
    put_in_outbox(mail(ANN.address))
    newer = path_of(link(message_id=str(Recipient.objects.using(database).get().message_id)))
    client.post(f"{newer}/undo")
    assert not Suppression.objects.using(database).filter(active=True).exists()
    client.post(newer)
    assert (ANN.address, True) in suppressed(database)
