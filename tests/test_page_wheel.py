"""The page of a wheel: served where there is neither Node nor a network, every file of it."""

from __future__ import annotations

import http.client
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.slow

NO_NETWORK = """
import socket

def refuse(*_):
    raise OSError("this test has no network")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""
"""Loaded by Python at its start: a server may listen, but not connect."""

FILE = re.compile(r'(?:src|href)="(/[^"]+)"|url\(["\']?(/[^"\')]+)')


@contextmanager
def served(program: Path, folder: Path) -> Iterator[http.client.HTTPConnection]:
    """Serves a folder of runs with nothing on the search path; gives a permitted connection."""
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    (folder / "runs").mkdir()
    environment = {"PATH": str(folder), "PYTHONPATH": str(folder), "HOME": str(folder)}
    command = [program, "web", folder / "runs", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            link = urlsplit(server.stdout.readline().split()[-1])
            with closing(http.client.HTTPConnection(link.netloc, timeout=30)) as connection:
                yield connection
        finally:
            server.terminate()


def fetch(connection: http.client.HTTPConnection, path: str) -> tuple[str, bytes]:
    """Returns type and content of a file, which must be there."""
    connection.request("GET", path)
    response = connection.getresponse()
    assert response.status == 200, path
    return response.headers["content-type"].partition(";")[0], response.read()


def test_every_file_of_the_page_is_served_without_node_and_network(wheels, install, tmp_path):
    karn = f"esper-karn[web] @ {wheels['esper-karn'].as_uri()}"
    programs = install(wheels["esper-overwatch"], karn)
    with served(programs / "esper-overwatch", tmp_path) as connection:
        for address in ("/", "/r/some-run", "/compare?r=a&r=b"):
            kind, page = fetch(connection, address)
            assert kind == "text/html"
        found = {}
        waiting = _files(page)
        while waiting:
            path = waiting.pop()
            if path not in found:
                found[path], content = fetch(connection, path)
                # A script is no document: what looks like an address in it is not one.
                waiting += _files(content) if found[path] == "text/css" else []
    assert sorted(Path(path).suffix for path in found) == [".css", ".js", ".svg"]
    assert sorted(found.values()) == ["image/svg+xml", "text/css", "text/javascript"]


def _files(content: bytes) -> list[str]:
    text = content.decode()
    return [path or other for path, other in FILE.findall(text)]
