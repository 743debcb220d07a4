"""Certificates and keys from files, for brokers and for devices."""

from __future__ import annotations

import pathlib
import ssl

from cryptography import x509
from cryptography.x509.oid import NameOID

from runtime.problems import FatalError


def of_brokers(
    ca: pathlib.Path | None, certificate: pathlib.Path | None, key: pathlib.Path | None
) -> ssl.SSLContext | None:
    """How brokers are trusted, and who we are to them; None is the default. Raises FatalError."""
    if ca is None and certificate is None:
        return None
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError as error:  # SSLError is one
        named = ", ".join(str(path) for path in (ca, certificate, key) if path is not None)
        raise FatalError(f"cannot use the certificates {named}: {error}") from error
    return context


def common_name(certificate: pathlib.Path) -> str:
    """Whom a certificate names: who we are to a broker that asks for it. Raises FatalError."""
    try:
        names = x509.load_pem_x509_certificate(_read(certificate)).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError as error:
        raise FatalError(f"{certificate} is no certificate: {error}") from error
    if len(names) != 1:
        raise FatalError(f"{certificate} has no common name")
    return str(names[0].value)


def of_devices(
    certificate: pathlib.Path | None, key: pathlib.Path | None, client_ca: pathlib.Path | None
) -> ssl.SSLContext:
    """What the gRPC server shows, and whose certificates it asks for. Raises FatalError."""
    if certificate is None or key is None:
        raise FatalError("ingest.grpc_tls_address needs grpc_tls_certificate and grpc_tls_key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    try:
        context.load_cert_chain(certificate, key, password="")  # without it, an encrypted key would ask at a terminal
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
    except OSError as error:  # SSLError is one
        named = ", ".join(str(path) for path in (certificate, key, client_ca) if path is not None)
        raise FatalError(f"cannot use the certificates {named}: {error}") from error
    return context


def _read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FatalError(f"cannot read {path}: {error.strerror}") from error
