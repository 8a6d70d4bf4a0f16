"""SendGrid's rules for the JSON of a mail. Each module yields the faults of one part and raises nothing."""
