"""The charts: hourly counts as pictures and tables."""
