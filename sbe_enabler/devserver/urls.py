"""URLs of the test page and of its back end, the Dev Server."""

from django.urls import path

from sbe_enabler.devserver.views import SessionsView, qr_code, test_page

app_name = "devserver"
urlpatterns = [
    path("", test_page, name="test-page"),
    path("dev/qr.svg", qr_code, name="qr-code"),
    path("dev/sessions", SessionsView.as_view(), name="sessions"),
]
