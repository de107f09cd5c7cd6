"""This machine's names on the local network, and a certificate for them.

Browsers let a page use the camera and microphone only over HTTPS or on the loopback address. So calls with a phone
require a certificate. It is self-signed, so the user must accept it in the browser.
"""

import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import ifaddr
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sbe_enabler.private_files import write_private

# Phones refuse server certificates that are valid for more than 398 days.
_LIFETIME = timedelta(days=397)
_RENEW_BEFORE = timedelta(days=30)
_CLOCK_SKEW = timedelta(hours=1)


def own_addresses() -> list[str]:
    """Return this machine's IPv4 addresses except loopback. The address of the default route is first."""
    addresses = [
        str(address.ip)
        for adapter in ifaddr.get_adapters()
        for address in adapter.ips
        if address.is_IPv4 and not IPv4Address(str(address.ip)).is_loopback
    ]
    preferred = _default_route_address()
    return sorted(set(addresses), key=lambda address: (address != preferred, IPv4Address(address)))


def _default_route_address() -> str:
    """Return the source address of the default route; an empty string if there is no such route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a UDP socket only reads the routing table and sends no packet.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def own_hosts() -> list[str]:
    """Return all names with which browsers may reach this machine: its addresses, host names and loopback."""
    name = socket.gethostname().lower()
    names = [name] if "." in name else [name, f"{name}.local"]
    return [*own_addresses(), *names, "localhost", "127.0.0.1"]


def ensure_certificate(directory: Path, hosts: Sequence[str]) -> tuple[Path, Path]:
    """Return the paths of a certificate for exactly `hosts` and of its private key (both PEM).

    New files are written if one is missing, if they do not match each other or `hosts`, or within 30 days of expiry.
    """
    certificate, key = directory / "lan_certificate.pem", directory / "lan_key.pem"
    if not _is_usable(certificate, key, hosts):
        certificate.unlink(missing_ok=True)
        key.unlink(missing_ok=True)
        private_key = ec.generate_private_key(ec.SECP256R1())
        write_private(key, _pem(private_key))
        signed = _self_signed_certificate(private_key, hosts)
        write_private(certificate, signed.public_bytes(serialization.Encoding.PEM).decode())
    return certificate, key


def _is_usable(certificate: Path, key: Path, hosts: Sequence[str]) -> bool:
    """Return whether certificate and key match, are for exactly `hosts`, and do not expire soon."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        private_key = serialization.load_pem_private_key(key.read_bytes(), password=None)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    return (
        found.public_key() == private_key.public_key()
        and set(names) == set(_general_names(hosts))
        and datetime.now(UTC) < found.not_valid_after_utc - _RENEW_BEFORE
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Return the private key as unencrypted PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _general_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    """Return the hosts as subject alternative names: IP addresses for IPv4 addresses, DNS names for the rest."""

    def name(host: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(IPv4Address(host))
        except ValueError:
            return x509.DNSName(host)

    return [name(host) for host in hosts]


def _self_signed_certificate(key: ec.EllipticCurvePrivateKey, hosts: Sequence[str]) -> x509.Certificate:
    """Return a self-signed server certificate that cannot sign other certificates."""
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SBE Enabler")])
    public = key.public_key()
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME - _CLOCK_SKEW)
        .add_extension(x509.SubjectAlternativeName(_general_names(hosts)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
