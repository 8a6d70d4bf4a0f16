"""The backends: `EMAIL_BACKEND = "sending_app.backends.queued.EmailBackend"`, or the same under `MAILERS`."""
