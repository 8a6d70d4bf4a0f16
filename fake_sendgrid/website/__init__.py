"""The pages of a local SendGrid and its control API, on the port of the API."""
