"""The backends: `EMAIL_BACKEND = "sending_app.backends.queued.EmailBackend"`, or a mailer under `MAILERS`."""
