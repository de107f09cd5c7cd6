"""The certificate for the machine's own addresses."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from sbe_enabler import lan

pytestmark = pytest.mark.once

HOSTS = ["192.0.2.7", "mybox", "mybox.local", "localhost", "127.0.0.1"]


def load(path: Path) -> x509.Certificate:
    """Return the certificate in a file."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_certificate_names_exactly_the_hosts_of_the_machine(tmp_path: Path) -> None:
    certificate = load(lan.ensure_certificate(tmp_path, HOSTS)[0])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [IPv4Address("192.0.2.7"), IPv4Address("127.0.0.1")]
    assert names.get_values_for_type(x509.DNSName) == ["mybox", "mybox.local", "localhost"]


def test_phones_accept_the_certificate(tmp_path: Path) -> None:
    certificate = load(lan.ensure_certificate(tmp_path, HOSTS)[0])
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(days=398)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_key_belongs_to_the_certificate_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    certificate, key = lan.ensure_certificate(tmp_path, HOSTS)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)


def test_valid_certificate_is_kept(tmp_path: Path) -> None:
    before = load(lan.ensure_certificate(tmp_path, HOSTS)[0])
    assert load(lan.ensure_certificate(tmp_path, list(reversed(HOSTS)))[0]) == before


def test_certificate_is_renewed_when_an_address_changes(tmp_path: Path) -> None:
    before = load(lan.ensure_certificate(tmp_path, HOSTS)[0])
    assert load(lan.ensure_certificate(tmp_path, ["192.0.2.8", *HOSTS[1:]])[0]) != before


def test_certificate_is_renewed_before_it_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lan, "_LIFETIME", timedelta(days=20))
    before = load(lan.ensure_certificate(tmp_path, HOSTS)[0])
    monkeypatch.undo()
    after = load(lan.ensure_certificate(tmp_path, HOSTS)[0])
    assert after != before
    assert after.not_valid_after_utc > datetime.now(UTC) + timedelta(days=300)


@pytest.mark.parametrize("which", ["lan_certificate.pem", "lan_key.pem"])
@pytest.mark.parametrize("content", ["", "garbage", None])
def test_damaged_pair_is_replaced(tmp_path: Path, which: str, content: str | None) -> None:
    lan.ensure_certificate(tmp_path, HOSTS)
    (tmp_path / which).unlink()
    if content is not None:
        (tmp_path / which).write_text(content)
    certificate, key = lan.ensure_certificate(tmp_path, HOSTS)
    assert (tmp_path / which).read_text() != content
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)


def test_own_hosts_are_usable_names() -> None:
    hosts = lan.own_hosts()
    assert {"localhost", "127.0.0.1"} <= set(hosts)
    assert all(not IPv4Address(address).is_loopback for address in lan.own_addresses())
    assert len(hosts) == len(set(hosts))
