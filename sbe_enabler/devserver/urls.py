"""Addresses of the test page and of the Dev Server behind it."""

from django.urls import path

from sbe_enabler.devserver.views import SessionsView, test_page

app_name = "devserver"
urlpatterns = [
    path("", test_page, name="test-page"),
    path("dev/sessions", SessionsView.as_view(), name="sessions"),
]
