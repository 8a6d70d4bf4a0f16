"""What several test modules need. No test module is imported by another."""
