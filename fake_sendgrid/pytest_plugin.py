"""A pytest plugin: the fixture `fake_sendgrid`."""
