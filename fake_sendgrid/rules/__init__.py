"""What SendGrid asks of a mail's JSON. Each module names the faults of one part and raises nothing."""
