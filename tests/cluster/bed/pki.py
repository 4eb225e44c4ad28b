"""The bed's certificates and kubeconfigs, made once."""

import datetime as dt
import ipaddress
from collections.abc import Sequence

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster.bed import layout

_DAYS = dt.timedelta(days=3650)
CA = layout.PKI / "ca.crt"

# Name of the file: (common name, organisation that RBAC knows as a group).
_USERS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", None),
    "scheduler": ("system:kube-scheduler", None),
    "kubelet": (f"system:node:{layout.NODE}", "system:nodes"),
    "proxy": ("system:kube-proxy", None),
    "coredns": ("coredns", "system:masters"),
    "apiserver-kubelet": ("kube-apiserver", "system:masters"),
}
_API_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")


def make() -> None:
    """Make what is not there yet."""
    if (layout.PKI / "done").exists():
        return
    _authority()
    _write_key("sa", rsa.generate_private_key(65537, 2048), public=True)
    certificate("apiserver", "kube-apiserver", None, _API_NAMES, ("127.0.0.1", layout.NODE_IP, layout.API_SERVICE))
    for name, (common, group) in _USERS.items():
        certificate(name, common, group, (layout.NODE,), (layout.NODE_IP,))
        _kubeconfig(name)
    (layout.PKI / "done").touch()


def certificate(
    name: str, common: str, group: str | None, names: Sequence[str] = (), addresses: Sequence[str] = ()
) -> None:
    """Write `<name>.crt` and `<name>.key`, signed by the bed's authority, for client and server."""
    authority = x509.load_pem_x509_certificate(CA.read_bytes())
    signer = serialization.load_pem_private_key((layout.PKI / "ca.key").read_bytes(), None)
    assert isinstance(signer, rsa.RSAPrivateKey)
    key = rsa.generate_private_key(65537, 2048)
    _write_key(name, key)
    alternatives: list[x509.GeneralName] = [x509.DNSName(item) for item in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(item)) for item in addresses]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    made = (
        _builder(_name(common, group), authority.subject, key.public_key())
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(signer, hashes.SHA256())
    )
    (layout.PKI / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _authority() -> None:
    key = rsa.generate_private_key(65537, 2048)
    _write_key("ca", key)
    name = _name("kubeloop-bed", None)
    made = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    CA.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _builder(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + _DAYS)


def _name(common: str, group: str | None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if group is not None:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(parts)


def _write_key(name: str, key: rsa.RSAPrivateKey, *, public: bool = False) -> None:
    file = layout.PKI / f"{name}.key"
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    if public:
        (layout.PKI / f"{name}.pub").write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )


def _kubeconfig(name: str) -> None:
    files = {"client-certificate": str(layout.PKI / f"{name}.crt"), "client-key": str(layout.PKI / f"{name}.key")}
    server = {"server": f"https://{layout.NODE_IP}:6443", "certificate-authority": str(CA)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bed", "cluster": server}],
        "users": [{"name": name, "user": files}],
        "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": name}}],
        "current-context": "bed",
    }
    (layout.PKI / f"{name}.kubeconfig").write_text(yaml.safe_dump(document), encoding="utf-8")
