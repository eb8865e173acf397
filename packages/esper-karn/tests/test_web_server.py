"""The server: runs, frames and events of real run directories, over real sockets."""

import contextlib
import http.client
import json
import socket
import time
from urllib.parse import quote

import pytest
from websockets.exceptions import ConnectionClosed

from esper_karn.errors import KarnError
from esper_karn.web import frames, open_runs
from esper_karn.web.application import application
from esper_karn.web.guard import HEADERS
from esper_karn.web.library import Library
from esper_karn.web.listener import bind
from esper_karn.web.open_runs import OPEN_RUNS
from esper_karn.web.page import PAGE


def get(server, path, cookie=True):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", path, headers={"Cookie": server.cookie} if cookie else {})
    response = connection.getresponse()
    response.text = response.read().decode()
    connection.close()
    return response


def get_json(server, path):
    response = get(server, path)
    assert response.status == 200, response.text
    return json.loads(response.text)


@pytest.fixture
def server(running_server, tmp_path, caches):
    (tmp_path / "runs").mkdir(exist_ok=True)
    library = Library(tmp_path / "runs")
    with running_server(lambda access: application(library, access, caches)) as running:
        yield running


def ask(socket, run, view="run", **more):
    socket.send(json.dumps({"run": run, "view": view, **more}))
    return json.loads(socket.recv(timeout=30))


def test_lists_the_runs_of_a_folder(server, write_run):
    write_run("a")
    write_run("b", end=False)
    found = get_json(server, "/api/runs")
    assert [run["run_id"] for run in found["runs"]] == ["b", "a"]
    assert [run["status"] for run in found["runs"]] == ["stale", "completed"]


def test_an_empty_folder_says_how_to_start_a_run(server):
    found = get_json(server, "/api/runs")
    assert found["runs"] == []
    assert "esper-train" in found["empty"]


def test_a_run_that_ends_is_read_again(server, write_run, run_of, as_log):
    run = write_run("a", text=as_log(run_of(2, end=False)))
    assert get_json(server, "/api/runs")["runs"][0]["status"] == "stale"
    (run / "events.jsonl").write_bytes(as_log(run_of(2)))
    assert get_json(server, "/api/runs")["runs"][0]["status"] == "completed"


def test_answers_a_whole_view_and_then_what_changed(server, write_run):
    write_run("a")
    whole = get_json(server, "/api/runs/a/frame?view=run")
    assert whole["from"] == -1
    assert whole["read"] == 1
    assert whole["panels"]["header"]["value"]["status"] == "completed"
    assert whole["panels"]["condition"]["value"]["condition"] == "ended"
    query = f"view=run&from={whole['to']}&stream={quote(whole['stream'])}"
    rest = get_json(server, f"/api/runs/a/frame?{query}")
    assert rest["from"] == whole["to"]
    assert set(rest["panels"]) == {"moment", "condition"}
    assert rest["series"] == {}


def test_several_views_make_one_frame(server, write_run):
    write_run("a")
    found = get_json(server, "/api/runs/a/frame?view=hosts,host/1")
    assert {"hosts", "leaderboard", "host/1"} <= set(found["panels"])
    assert "host/0" not in found["panels"]


def test_a_host_that_has_not_started_is_left_out(server, write_run):
    write_run("a")
    found = get_json(server, "/api/runs/a/frame?view=hosts,host/99")
    assert "host/99" not in found["panels"]
    assert "hosts" in found["panels"]


def test_shows_a_moment_of_the_past(server, write_run):
    write_run("a")
    found = get_json(server, "/api/runs/a/frame?view=run&at=5")
    moment = found["panels"]["moment"]["value"]
    assert found["to"] == moment["sequence"] == 5
    assert moment["held_back"] == moment["latest"] - 5
    assert found["panels"]["header"]["value"]["status"] == "running"


def test_another_stream_begins_again(server, write_run):
    write_run("a")
    found = get_json(server, "/api/runs/a/frame?view=run&from=3&stream=old")
    assert found["from"] == -1
    assert "header" in found["panels"]


def test_answers_events_of_a_kind(server, write_run, run_of):
    write_run("a")
    rounds = [each.sequence for each in run_of(4) if each.kind == "round_completed"]
    found = get_json(server, f"/api/runs/a/events?kind=round_completed&from={rounds[1]}&limit=2")
    assert [event["sequence"] for event in found["events"]] == rounds[1:3]


def read_log(server, query=""):
    """Asks for lines of the log until it is read."""
    while True:
        page = get_json(server, f"/api/runs/a/log{query}")
        if page["read"] == 1:
            return page


def test_answers_every_line_of_the_log_page_by_page(server, write_run):
    """A frame has the latest hundred lines."""
    write_run("a", rounds=700)
    page = read_log(server)
    answer = get_json(server, "/api/runs/a/frame?view=log")
    while answer["read"] < 1:
        answer = get_json(server, "/api/runs/a/frame?view=log")
    panel = answer["panels"]["log"]["value"]["lines"]
    assert (len(page["lines"]), page["read"]) == (500, 1.0)
    assert page["lines"][-len(panel) :] == panel
    found = page["lines"]
    while page["older"]:
        page = read_log(server, f"?before={found[0]['sequence']}")
        found = page["lines"] + found
    sequences = [line["sequence"] for line in found]
    assert sequences == sorted(set(sequences))
    assert len(found) > 700


def test_lines_of_a_long_log_come_when_it_is_read(server, write_run, monkeypatch):
    monkeypatch.setattr(open_runs, "PROGRESS", 0.0)
    write_run("a", rounds=400)
    first = get_json(server, "/api/runs/a/log")
    assert first["read"] < 1
    assert first["lines"] == []
    assert read_log(server)["lines"]


def test_compares_runs(server, write_run):
    write_run("a")
    write_run("b", rounds=2)
    found = get_json(server, "/api/compare?r=b&r=a")
    assert [run["run"] for run in found["runs"]] == ["b", "a"]
    assert found["area_rounds"] == 2
    assert found["runs"][0]["accuracy"] == {"best": 60.0, "last": 60.0, "area": 55.0}
    assert found["differences"] == [{"key": "n_episodes", "values": [2, 4]}]
    assert found["paired"][0]["accuracy"] == {"hosts": 4, "mean": 0.0, "low": 0.0, "high": 0.0}


def test_answers_the_report_of_a_run(server, write_run):
    write_run("a")
    assert get_json(server, "/api/runs/a/summary")["status"] == "completed"


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/api/runs/none/frame?view=run", "no run 'none'"),
        ("/api/runs/..%2F..%2Fetc/frame?view=run", "nothing at"),
        ("/api/runs/%2e%2e/frame?view=run", "no run '..'"),
        ("/api/runs/a%00/frame?view=run", "no run"),
        ("/api/runs/a/frame?view=moon", "views: run"),
        ("/api/runs/a/frame?view=host/x", "views: run"),
        ("/api/runs/a/frame", "view"),
        ("/api/runs/a/frame?view=run&from=-2", "from"),
        ("/api/runs/a/frame?view=run&at=x", "at"),
        ("/api/runs/a/frame?view=run&more=1", "more"),
        ("/api/runs/a/events?limit=100000", "limit"),
        ("/api/runs/a/log?limit=100000", "limit"),
        ("/api/runs/a/log?before=-1", "before"),
        ("/api/runs/none/log", "no run 'none'"),
        ("/api/compare", "one run cannot be compared"),
        ("/api/compare?r=a", "one run cannot be compared"),
        ("/api/compare?r=a&r=a", "run 'a' is named twice"),
        ("/api/compare?r=a&r=none", "no run 'none'"),
        ("/api/compare?r=a&x=1", "'x' is unknown here"),
        ("/api/moon", "nothing at '/api/moon'"),
    ],
)
def test_a_wrong_request_is_answered_in_one_line(server, write_run, path, word):
    write_run("a")
    response = get(server, path)
    assert response.status == 404
    error = json.loads(response.text)["error"]
    assert word in error
    assert "\n" not in error


def test_more_runs_than_can_be_open_are_not_compared(server, write_run):
    names = [f"run-{number}" for number in range(OPEN_RUNS + 1)]
    for name in names:
        write_run(name)
    response = get(server, "/api/compare?" + "&".join(f"r={name}" for name in names))
    assert "11 runs are too many; compare at most 10" in json.loads(response.text)["error"]


def test_a_log_of_another_version_is_one_line(server, write_run, run_of, as_log):
    text = as_log(run_of(1)).replace(b'"schema_version":3', b'"schema_version":1')
    write_run("a", text=text)
    response = get(server, "/api/runs/a/frame?view=run")
    assert response.status == 404
    assert "schema version 1" in json.loads(response.text)["error"]
    assert get_json(server, "/api/runs")["runs"][0]["status"] == "unreadable"


def test_a_torn_or_odd_line_does_not_stop_it(server, write_run, run_of, as_log):
    text = as_log(run_of(2))
    write_run("a", text=text + b'garbage\n\x00\x00\n{"half":')
    found = get_json(server, "/api/runs/a/frame?view=run")
    assert found["panels"]["header"]["value"]["status"] == "completed"


@pytest.mark.security
def test_text_of_a_log_stays_text(server, write_run, run_of, as_log):
    text = as_log(run_of(1)).replace(b"mnist1d", b"<img src=x onerror=alert(1)>")
    write_run("a", text=text)
    response = get(server, "/api/runs/a/frame?view=run")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"


def test_a_log_that_is_still_being_read_is_not_called_stale_or_crashed(
    server, write_run, monkeypatch
):
    monkeypatch.setattr(open_runs, "SLICE", 0.0)
    monkeypatch.setattr(open_runs, "PROGRESS", 0.0)
    write_run("a", rounds=40)
    found = get_json(server, "/api/runs/a/frame?view=run")
    assert found["read"] < 1
    assert "condition" not in found["panels"]
    while found["read"] < 1:
        found = get_json(server, "/api/runs/a/frame?view=run")
    assert found["panels"]["condition"]["value"]["condition"] == "ended"


def test_more_runs_than_are_kept_open(server, write_run):
    for number in range(OPEN_RUNS + 3):
        write_run(f"run-{number}")
    for number in [*range(OPEN_RUNS + 3), 0]:
        found = get_json(server, f"/api/runs/run-{number}/frame?view=run")
        assert found["panels"]["header"]["value"]["status"] == "completed"


class TestSocket:
    def test_answers_when_there_is_news(self, server, write_run, run_of, as_log):
        events = run_of(2)
        run = write_run("a", text=as_log(events[:5]))
        with server.connect() as opened:
            first = ask(opened, "a")
            assert first["to"] == 4
            with (run / "events.jsonl").open("ab") as log:
                log.write(as_log(events[5:]))
            begun = time.monotonic()
            second = ask(opened, "a", **{"from": first["to"], "stream": first["stream"]})
            assert second["to"] == events[-1].sequence
            assert time.monotonic() - begun < 1.5  # not the heartbeat

    def test_a_long_log_is_shown_from_time_to_time_while_it_is_read(
        self, server, write_run, monkeypatch
    ):
        """A frame for each slice would take longer than the reading."""
        monkeypatch.setattr(open_runs, "SLICE", 0.0)
        monkeypatch.setattr(frames, "PROGRESS", 60.0)
        write_run("a", rounds=400)
        shown = []
        with server.connect() as opened:
            known = {}
            while not shown or shown[-1] < 1:
                answer = ask(opened, "a", **known)
                known = {"from": answer["to"], "stream": answer["stream"]}
                shown.append(answer["read"])
        assert len(shown) == 2
        assert shown[0] < 1

    def test_answers_without_news_after_a_while(self, server, write_run):
        write_run("a")
        with server.connect() as opened:
            first = ask(opened, "a")
            second = ask(opened, "a", **{"from": first["to"], "stream": first["stream"]})
            assert set(second["panels"]) == {"moment", "condition"}

    def test_a_later_request_replaces_the_one_before(self, server, write_run):
        write_run("a")
        with server.connect() as opened:
            first = ask(opened, "a")
            known = {"from": first["to"], "stream": first["stream"]}
            opened.send(json.dumps({"run": "a", "view": "run", **known}))
            answer = ask(opened, "a", view="hosts")
            assert answer["view"] == "hosts"

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", '{"run": 1}', '{"run": "none", "view": "run"}']
    )
    def test_a_wrong_request_is_answered_and_the_socket_stays(self, server, write_run, text):
        write_run("a")
        with server.connect() as opened:
            opened.send(text)
            assert "error" in json.loads(opened.recv(timeout=30))
            assert ask(opened, "a")["run"] == "a"

    def test_a_run_that_was_replaced_begins_again(self, server, write_run, run_of, as_log):
        run = write_run("a", text=as_log(run_of(4)))
        with server.connect() as opened:
            first = ask(opened, "a")
            (run / "new").write_bytes(as_log(run_of(1, run_id="20250101-120000-mnist1d-other000")))
            (run / "new").replace(run / "events.jsonl")
            second = ask(opened, "a", **{"from": first["to"], "stream": first["stream"]})
            assert second["from"] == -1
            assert second["stream"] != first["stream"]

    def test_an_unexpected_error_closes_the_socket(self, server, write_run, monkeypatch):
        """A socket that stays open without answers would leave the page waiting for ever."""
        write_run("a")
        with server.connect() as opened:
            assert ask(opened, "a")["run"] == "a"
            monkeypatch.setattr(frames, "answer_frame", lambda *_: 1 / 0)
            with pytest.raises(ConnectionClosed):
                ask(opened, "a")

    def test_a_client_that_never_reads_does_not_stop_others(self, server, write_run):
        write_run("a")
        with contextlib.ExitStack() as stack:
            silent = stack.enter_context(server.connect())
            for _ in range(200):
                silent.send(json.dumps({"run": "a", "view": "run"}))
            other = stack.enter_context(server.connect())
            assert ask(other, "a")["run"] == "a"


class TestPage:
    def test_every_file_of_the_page_is_served(self, server):
        for path in PAGE.rglob("*"):
            if path.is_file() and path.name != "index.html":
                response = get(server, f"/{path.relative_to(PAGE)}", cookie=False)
                assert response.status == 200, path

    def test_each_address_of_the_page_is_the_page(self, server):
        for path in ("/", "/r/some-run", "/compare?r=a&r=b"):
            response = get(server, path, cookie=False)
            assert response.status == 200
            assert '<div id="app">' in response.text
            assert response.headers["content-security-policy"] == HEADERS["content-security-policy"]

    def test_names_nothing_outside_of_the_server(self):
        for path in PAGE.rglob("*.html"):
            text = path.read_text()
            assert "http://" not in text
            assert "https://" not in text

    @pytest.mark.security
    def test_nothing_else_is_served(self, server):
        for path in ("/assets/../application.py", "/assets/%2e%2e/answers.py", "/index.html"):
            assert get(server, path).status == 404


def test_a_taken_port_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(KarnError, match=f"port {port} is taken"):
            bind(port)
