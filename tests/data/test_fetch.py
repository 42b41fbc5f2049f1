from __future__ import annotations

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from pepo_rlhf.data import fetch
from pepo_rlhf.data.fetch import fetch_image, is_url


class Server(BaseHTTPRequestHandler):
    """Answers `PNG`; what the path says first goes wrong, /flaky twice."""

    paths: list[str] = []

    def do_GET(self) -> None:
        self.paths.append(self.path)
        tries = self.paths.count(self.path)
        if self.path == "/missing.png":
            return self.send_error(404)
        if self.path == "/unreachable.png" or (self.path == "/flaky.png" and tries < 3):
            return self.connection.close()
        self.send_response(200)
        self.send_header("Content-Length", "30" if self.path == "/cut.png" else "3")
        self.end_headers()
        self.wfile.write(b"PNG")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Server.paths = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_urls_are_told_from_paths() -> None:
    assert is_url("http://example.org/a.png") and is_url("HTTPS://example.org/a.png")
    assert not is_url("/data/http/a.png") and not is_url("a.png")


def test_the_bytes_of_the_answer(address: str) -> None:
    assert fetch_image(f"{address}/a.png") == b"PNG"


def test_spaces_and_letters_beyond_ascii_are_quoted_and_the_rest_stays(address: str) -> None:
    assert fetch_image(f"{address}/zwei Würfel%20.png?size=3&x=~1") == b"PNG"
    assert Server.paths == ["/zwei%20W%C3%BCrfel%20.png?size=3&x=~1"]


def test_a_network_that_fails_is_tried_three_times(address: str) -> None:
    assert fetch_image(f"{address}/flaky.png") == b"PNG"
    with pytest.raises(ValueError, match="cannot be fetched in 3 tries"):
        fetch_image(f"{address}/unreachable.png")
    assert Server.paths == ["/flaky.png"] * 3 + ["/unreachable.png"] * 3


def test_a_body_that_is_cut_off_is_a_failing_network(address: str) -> None:
    with pytest.raises(ValueError, match="in 3 tries: the connection closed 27 bytes before the end"):
        fetch_image(f"{address}/cut.png")


def test_a_server_that_refuses_is_asked_once(address: str) -> None:
    with pytest.raises(ValueError, match="the server answers 404 Not Found"):
        fetch_image(f"{address}/missing.png")
    assert Server.paths == ["/missing.png"]


def test_an_answer_above_the_limit_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MAX_BYTES", 3)
    assert fetch_image(f"{address}/a.png") == b"PNG"
    monkeypatch.setattr(fetch, "MAX_BYTES", 2)
    with pytest.raises(ValueError, match="more than .* MiB"):
        fetch_image(f"{address}/a.png")


def test_a_malformed_url_is_refused() -> None:
    with pytest.raises(ValueError, match="not a valid URL"):
        fetch_image("http://127.0.0.1:port/a.png")
