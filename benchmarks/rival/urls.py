"""The webhook, where its users have it."""

from django.urls import include, path

urlpatterns = [path("anymail/", include("anymail.urls"))]
