"""The rival's webhook, at the URL of its documentation."""

from django.urls import include, path

urlpatterns = [path("anymail/", include("anymail.urls"))]
