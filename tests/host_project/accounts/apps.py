"""The app of the user model."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
