"""A local stand-in for SendGrid. It delivers no mail.

It accepts v3 mail/send requests, refuses what SendGrid refuses, and posts signed events and inbound mail to
webhooks. The demo, `./dev up`, tests and benchmarks use it. So can any project: `python -m fake_sendgrid`, or
`fake_sendgrid.server.FakeSendGrid` in a test. It imports no other package of this repository.
"""
