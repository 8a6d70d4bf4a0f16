"""What SendGrid cannot do raises, or is ignored where the project says so."""

import pytest

from sending_app.exceptions import AnymailUnsupportedFeature, MailError, UnsupportedFeature
from tests.support.sending.composed_messages import rules


def test_refuse_raises_for_an_unsupported_feature() -> None:
    with pytest.raises(UnsupportedFeature, match="SendGrid does not support flying") as caught:
        rules().refuse("flying")
    assert isinstance(caught.value, MailError)
    assert isinstance(caught.value, ValueError)
    assert AnymailUnsupportedFeature is UnsupportedFeature


def test_refuse_does_not_raise_when_unsupported_features_are_ignored() -> None:
    rules(ignore_unsupported=True).refuse("flying")
