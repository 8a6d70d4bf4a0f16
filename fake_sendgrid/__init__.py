"""A local stand-in for SendGrid. It delivers no mail.

It accepts v3 mail/send requests, refuses what SendGrid refuses, and posts signed events and inbound mail to
webhooks. A page shows the mails. For development: `python -m fake_sendgrid`. For tests of a project: the
pytest fixture `fake_sendgrid`, or `fake_sendgrid.client.start`. The package imports neither Django nor
another package of this repository.
"""
