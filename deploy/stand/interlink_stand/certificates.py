"""Keys and certificates of a stand: an authority of its own, and one certificate for all servers.

The certificate names localhost and 127.0.0.1. It serves as a client's too, since nodes of a Redis
Cluster are clients of each other and are asked for one. They are made at the first `up` and thrown away by
`down`.
"""

import dataclasses
import pathlib

from . import limits
from .processes import run
from .record import Folder

EXTENSIONS = """\
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash

[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
"""


@dataclasses.dataclass
class Certificates:
    """Paths of PEM files."""

    authorities: pathlib.Path
    certificate: pathlib.Path
    key: pathlib.Path
    store: pathlib.Path
    """Key and certificate in one file, as Kafka reads them."""


def of(folder: Folder) -> Certificates:
    """The files of a stand, made when they are missing."""
    place = folder.path / "tls"
    files = Certificates(
        authorities=place / "authorities.pem",
        certificate=place / "server.pem",
        key=place / "server.key",
        store=place / "server-and-key.pem",
    )
    if not files.store.exists():
        place.mkdir(exist_ok=True)
        make(place, files)
    return files


def make(place: pathlib.Path, files: Certificates) -> None:
    """Makes the authority, the server's key, and its certificate."""
    extensions = place / "extensions.cnf"
    extensions.write_text(EXTENSIONS)
    authority_key = place / "authority.key"
    for key in (authority_key, files.key):
        curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl("genpkey", *curve, "-out", str(key))
        key.chmod(0o600)
    days = str(limits.CERTIFICATE_DAYS)
    request = place / "request.pem"
    subject = "/CN=Interlink test stand"
    openssl("req", "-new", "-key", str(authority_key), "-subj", subject, "-out", str(request))
    signed = ["x509", "-req", "-days", days, "-sha256", "-extfile", str(extensions)]
    own = ["-in", str(request), "-signkey", str(authority_key), "-out", str(files.authorities)]
    openssl(*signed, "-extensions", "authority", *own)
    subject = "/CN=localhost"
    openssl("req", "-new", "-key", str(files.key), "-subj", subject, "-out", str(request))
    by = ["-CA", str(files.authorities), "-CAkey", str(authority_key), "-CAcreateserial"]
    of_server = ["-in", str(request), "-out", str(files.certificate)]
    openssl(*signed, "-extensions", "server", *by, *of_server)
    files.store.touch(mode=0o600)
    files.store.write_text(files.key.read_text() + files.certificate.read_text())


def openssl(*arguments: str) -> None:
    """Runs one openssl command."""
    run(["openssl", *arguments], f"openssl {arguments[0]}")
