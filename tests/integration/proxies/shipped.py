"""How do the shipped configurations run in a test? As they are, but for addresses, paths and what a test changes."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from processor_live_demo.child import Child

DEPLOY = Path(__file__).parents[3] / "deploy"
PATH = f"{os.environ['PATH']}:/usr/sbin"
"""Debian has nginx where only root looks."""
PAGE = "<!doctype html><title>SPA</title>"

Changes = Mapping[str, str]
"""What of a configuration becomes what; each must be there exactly once."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What a proxy of a test stands before."""

    home: Path
    """A directory of its own, with `cert.pem`, `key.pem` and the page in `spa`."""
    port: int
    instances: tuple[str, ...]
    """`host:port` of each instance of the service."""
    directus: str
    """Its `host:port`."""


Proxy = Callable[[Site, Changes], Child]
"""A program that is not running yet, its configuration written into the site's home."""


def prepare(home: Path) -> None:
    """Make a certificate for 127.0.0.1 and the page."""
    (home / "spa").mkdir()
    (home / "spa" / "index.html").write_text(PAGE, encoding="utf-8")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", "key.pem")
    subject = ("-days", "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(
        ["openssl", "req", "-x509", *key, *subject, "-out", "cert.pem"],  # noqa: S607 - wherever the system has it
        cwd=home, check=True, capture_output=True,
    )  # fmt: skip


def nginx(site: Site, changes: Changes) -> Child:
    """Return nginx, also for those who are not root."""
    home = site.home
    own = "".join(f"{kind}_temp_path {home}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    instance = "server 127.0.0.1:8081 max_fails=0;"
    addresses = {
        "http {": f"http {{ access_log off; {own}",
        "listen 443": f"listen 127.0.0.1:{site.port}",
        "/etc/ssl/live.rally.example.pem": f"{home}/cert.pem",
        "/etc/ssl/live.rally.example.key": f"{home}/key.pem",
        "/srv/spa": f"{home}/spa",
        "127.0.0.1:8055": site.directus,
        instance: " ".join(instance.replace("127.0.0.1:8081", each) for each in site.instances),
    }
    _write("nginx.conf", home, changes, addresses)
    more = f"daemon off; pid {home}/nginx.pid; user root;"  # ignored by those who are not root
    return _child("nginx", home, "-e", "stderr", "-p", str(home), "-c", "nginx.conf", "-g", more)


def caddy(site: Site, changes: Changes) -> Child:
    """Return Caddy, with the test's own certificate instead of one that it asks for."""
    home = site.home
    options = f"{{\n admin unix/{home}/admin\n auto_https disable_redirects\n}}\n"
    addresses = {
        "live.rally.example {": f"{options}https://127.0.0.1:{site.port} {{\n tls {home}/cert.pem {home}/key.pem",
        "/srv/spa": f"{home}/spa",
        "127.0.0.1:8055": site.directus,
        "127.0.0.1:8081": " ".join(site.instances),
    }
    _write("Caddyfile", home, changes, addresses)
    return _child("caddy", home, "run", "--config", str(home / "Caddyfile"))


def is_ready(proxy: Child) -> bool:
    """Return whether a proxy has opened its port."""
    return proxy.log.with_name("nginx.pid").exists() or "serving initial configuration" in proxy.log.read_text()


def _write(name: str, home: Path, *changes: Changes) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    for before, after in (pair for each in changes for pair in each.items()):
        assert text.count(before) == 1, f"{name} has {before!r} {text.count(before)} times"
        text = text.replace(before, after)
    (home / name).write_text(text, encoding="utf-8")


def _child(program: str, home: Path, *args: str) -> Child:
    path = shutil.which(program, path=PATH)
    assert path, f"these tests need {program} (Debian: apt-get install {program})"
    environ = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    return Child(name=program, command=[path, *args], log=home / f"{program}.log", environ=environ)
