"""Responses of the wiring outside the conference resource."""

import pytest
from django.test import Client


@pytest.mark.parametrize("path", ["/", "/healthz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_read_only_address_refuses_other_methods(path: str, method: str) -> None:
    response = Client(enforce_csrf_checks=True).generic(method, path, b"{}", content_type="application/json")
    assert (response.status_code, response["allow"]) == (405, "GET, HEAD")
    assert response.json()["code"] == "method-not-allowed"


@pytest.mark.django_db
def test_forged_form_in_the_admin_gets_a_readable_page() -> None:
    response = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "x"})
    assert response.status_code == 403
    assert response["content-type"].startswith("text/html")


def test_unknown_host_name_is_refused_with_the_name_of_its_setting() -> None:
    response = Client().get("/healthz", headers={"host": "evil.example"})
    assert response.status_code == 400
    assert "SBE_ALLOWED_HOSTS" in response.json()["detail"]


@pytest.mark.django_db
def test_registering_requires_an_api_key() -> None:
    response = Client().post("/sessions", {"username": "alice"}, content_type="application/json")
    assert response.status_code == 401
    assert "Api-Key" in response.json()["detail"]
    assert response["www-authenticate"]
