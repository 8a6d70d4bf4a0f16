"""Log lines: their format, their limits, and the reports of failures. `docs/logs.md` is for their readers."""
