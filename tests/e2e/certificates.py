"""An authority of the test's own, and a certificate of its for this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    authority: Path
    certificate: Path
    key: Path

    @property
    def variables(self) -> dict[str, Path]:
        """What `tls.yaml` reads."""
        return {"TLS_CERTIFICATE": self.certificate, "TLS_KEY": self.key}


def issued(directory: Path) -> Certificates:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    made = Certificates(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    authority.cert_pem.write_to_path(made.authority)
    issued.private_key_pem.write_to_path(made.key)
    for part in issued.cert_chain_pems:
        part.write_to_path(made.certificate, append=True)
    return made
