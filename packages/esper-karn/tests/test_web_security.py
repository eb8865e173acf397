"""Who may ask the server: hosts, origins, the token and its cookie."""

import contextlib
import http.client
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus

from esper_karn.web.access import Access, host_name, new_token, permitted_hosts
from esper_karn.web.guard import HEADERS, MAX_BODY, MAX_SOCKETS, Guard

TOKEN = "the-right-token"


def application(access):
    async def data(request):
        return PlainTextResponse("data")

    async def echo(websocket):
        await websocket.accept()
        with contextlib.suppress(Exception):
            while True:
                await websocket.send_text(await websocket.receive_text())

    routes = [
        Route("/", data),
        Route("/api/runs", data),
        WebSocketRoute("/ws", echo),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, access=access)])


def ask(server, path, *, method="GET", host=None, cookie=None, body=None, headers=()):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", f"127.0.0.1:{server.port}" if host is None else host)
    if cookie is not None:
        connection.putheader("Cookie", cookie)
    for name, value in headers:
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    response = connection.getresponse()
    response.text = response.read().decode()
    connection.close()
    return response


@pytest.fixture(scope="module")
def server(running_server):
    with running_server(application, ["my.proxy"]) as running:
        yield running


class TestHost:
    def test_accepts_loopback_and_permitted_names(self, server):
        for host in ("127.0.0.1", "localhost:1", "[::1]:8080", "LOCALHOST", "my.proxy"):
            assert ask(server, "/", host=host).status == 200, host

    def test_refuses_a_name_under_which_another_site_sends_browsers_here(self, server):
        for host in ("evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil.example", ""):
            response = ask(server, "/", host=host)
            assert response.status == 421, host
            assert "--allow-host" in response.text

    def test_all_addresses_are_no_host(self):
        assert not {"0.0.0.0", "::"} & permitted_hosts(["0.0.0.0", "::"])

    @given(st.text())
    def test_any_header_is_a_host_or_none(self, header):
        name = host_name(header)
        assert name is None or name == name.lower()


class TestToken:
    def test_data_needs_the_cookie_and_the_page_does_not(self, server):
        assert ask(server, "/").status == 200
        refused = ask(server, "/api/runs")
        assert refused.status == 401
        assert "link" in refused.text
        assert ask(server, "/api/runs", cookie=server.cookie).status == 200

    def test_the_link_sets_a_cookie_and_leads_to_the_clean_address(self, server):
        response = ask(server, f"/?host=3&token={TOKEN}")
        assert response.status == 303
        assert response.headers["location"] == "/?host=3"
        cookie = response.headers["set-cookie"]
        assert cookie.startswith(f"esper_{server.port}=")
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert ask(server, "/api/runs", cookie=cookie.split(";")[0]).status == 200

    def test_a_wrong_token_sets_nothing(self, server):
        response = ask(server, "/?token=wrong")
        assert response.status == 303
        assert "set-cookie" not in response.headers
        assert ask(server, "/api/runs", cookie=f"esper_{server.port}=wrong").status == 401

    def test_the_cookie_of_another_port_does_not_do(self, server):
        cookie = f"esper_1={server.access.cookie_value}"
        assert ask(server, "/api/runs", cookie=cookie).status == 401

    def test_a_link_never_leads_to_another_site(self, server):
        for path in ("//evil.example/", "/\\evil.example/", "///evil.example"):
            response = ask(server, f"{path}?token={TOKEN}")
            location = response.headers.get("location", "/")
            assert location.startswith("/")
            assert not location.startswith(("//", "/\\")), path

    def test_tokens_have_128_bits_and_differ(self):
        assert len({new_token() for _ in range(100)}) == 100
        assert len(new_token()) >= 22

    def test_the_token_is_not_in_the_text_of_the_settings(self, server):
        assert TOKEN not in repr(server.access)

    @given(st.text(max_size=50))
    def test_any_other_token_is_refused(self, token):
        access = Access(token=TOKEN, port=1, hosts=frozenset())
        assert access.permits_token(token) == (token == TOKEN)

    @given(st.text(alphabet=st.characters(max_codepoint=255), max_size=80))
    def test_any_cookie_header_is_read_without_an_error(self, header):
        access = Access(token=TOKEN, port=1, hosts=frozenset())
        assert access.permits_cookies(header) in (True, False)


class TestRequests:
    def test_only_get_is_answered(self, server):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            assert ask(server, "/", method=method).status == 405, method

    def test_a_long_body_is_refused(self, server):
        response = ask(server, "/", body=b"x" * (MAX_BODY + 1))
        assert response.status == 413

    def test_a_body_without_a_length_is_refused(self, server):
        response = ask(server, "/", headers=[("Transfer-Encoding", "chunked")], body=b"0\r\n\r\n")
        assert response.status in (400, 413)

    def test_a_long_address_is_refused(self, server):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall(b"GET /?" + b"x" * (2 * MAX_BODY) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 4")

    def test_every_answer_has_the_headers(self, server):
        for path, cookie in (("/", None), ("/api/runs", None), ("/nothing", server.cookie)):
            headers = ask(server, path, cookie=cookie).headers
            for name, value in HEADERS.items():
                assert headers[name] == value, (path, name)


class TestSockets:
    def test_answers_its_own_page(self, server):
        with server.connect() as own:
            own.send("hello")
            assert own.recv() == "hello"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"origin": "http://evil.example"},
            {"origin": None},
            {"origin": "https://127.0.0.1"},
            {"cookie": "esper_1=x"},
            {"host": "evil.example"},
        ],
    )
    def test_refuses_another_origin_cookie_or_host(self, server, wrong):
        with pytest.raises(InvalidStatus) as refused, server.connect(**wrong):
            pass
        assert refused.value.response.status_code == 403

    def test_a_long_message_closes_the_socket(self, server):
        with server.connect() as own:
            own.send("x" * (MAX_BODY + 1))
            with pytest.raises(ConnectionClosed):
                own.recv(timeout=10)

    def test_one_socket_too_many_is_refused_and_leaves_the_others(self, server):
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(server.connect()) for _ in range(MAX_SOCKETS)]
            with pytest.raises(InvalidStatus), server.connect():
                pass
            opened[0].send("still here")
            assert opened[0].recv(timeout=10) == "still here"
        deadline = time.monotonic() + 10
        while True:  # The server notices the closed ones after a moment.
            try:
                with server.connect():
                    break
            except InvalidStatus:
                assert time.monotonic() < deadline
                time.sleep(0.05)
