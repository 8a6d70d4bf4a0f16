"""Fills an empty database with the data of a shop: a month of mails, events, replies and troubles."""
