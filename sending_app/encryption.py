"""Encryption of the content of mails in the database."""
