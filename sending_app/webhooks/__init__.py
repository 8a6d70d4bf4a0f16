"""Sets up SendGrid's webhooks by its API: `manage.py sendgrid_webhooks`.

SendGrid and our settings have the state. A run reads both, does the next step, and names the step after. If a
run breaks off, an operator runs the command again.
"""
