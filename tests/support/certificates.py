"""Certificates of an authority made for a test, by openssl."""

import datetime
import subprocess

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
CONFIGURATION = """
[ca]
default_ca = tests
[tests]
database = {at}/index
new_certs_dir = {at}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = policy
copy_extensions = copy
[policy]
commonName = supplied
"""


def openssl(*words):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


class Authority:
    """Signs certificates. `file` is its own."""

    def __init__(self, directory):
        self._at = directory / "authority"
        self._at.mkdir()
        self.file = self._at / "ca.pem"
        self._key = self._at / "ca.key"
        (self._at / "index").touch()
        (self._at / "ca.cnf").write_text(CONFIGURATION.format(at=self._at))
        own = ("-subj", "/CN=Authority of a test", "-days", 3650, "-addext", "basicConstraints=critical,CA:TRUE")
        openssl("req", "-x509", *KEY, "-keyout", self._key, "-out", self.file, *own)

    def sign(self, name, ends):
        """A certificate for a DNS name that began two years ago, and its key: two files. `ends`: a datetime in UTC."""
        base = f"{name}-{ends:%Y%m%d}"
        key, request, certificate = (self._at / f"{base}.{suffix}" for suffix in ("key", "csr", "pem"))
        openssl("req", *KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
        begins = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=730)
        dates = ("-startdate", f"{begins:%Y%m%d%H%M%SZ}", "-enddate", f"{ends:%Y%m%d%H%M%SZ}")
        signing = ("-config", self._at / "ca.cnf", "-cert", self.file, "-keyfile", self._key)
        openssl("ca", "-batch", "-notext", *signing, "-in", request, "-out", certificate, *dates)
        return certificate, key
