from __future__ import annotations

import contextlib
import http.server
import threading

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("kills")]

TEXT = "text of the post " * 120


class Wall(http.server.BaseHTTPRequestHandler):
    """Posts that can be taken away and put back."""

    gone: set[str]

    def do_GET(self):
        is_gone = self.path in self.gone
        body = f"<!doctype html><title>Post</title><p>{'not here' if is_gone else TEXT}".encode()
        self.send_response(404 if is_gone else 200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_): ...


@contextlib.contextmanager
def wall():
    handler = type("Handler", (Wall,), {"gone": set()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.gone
    server.shutdown()
    server.server_close()


def test_posts_that_vanish_and_return_are_captured_when_they_do_and_only_then(bench):
    """Present, removed, restored: each change is told once, bound to a capture before and one after it."""
    with wall() as (origin, gone):
        posts = [f"{origin}/post/{number}" for number in (1, 2)]
        local = ("--allow-address", "127.0.0.1")
        begun = bench.run("capture", *posts, "--incident", "KZ-1", *local)["captures"]
        assert bench.run("watch", "add", "KZ-1", "--every", "1h")["new"] == 2
        run = ("watch", "run", *local)
        first = bench.run(*run)
        assert (first["checks"], len(first["captures"]), first["events"]) == (2, 2, [])
        assert bench.run(*run)["checks"] == 0  # nothing is due
        quiet = bench.run(*run, "--again")
        assert (quiet["checks"], quiet["captures"], quiet["events"]) == (2, [], [])

        gone.add("/post/1")
        (vanished,) = bench.run(*run, "--again")["events"]
        assert (vanished["url"], vanished["was"], vanished["became"]) == (posts[0], "present", "removed")
        assert vanished["last_seen_at"] < vanished["first_seen_at"]
        after = bench.record({"capture_id": vanished["after"]})
        assert after["outcome"]["kind"] == "not-found"
        assert vanished["last_seen_at"] in after["seed"]["note"]
        assert vanished["before"] in {one["capture_id"] for one in first["captures"]}

        gone.clear()
        (back,) = bench.run(*run, "--again")["events"]
        assert (back["was"], back["became"], back["before"]) == ("removed", "restored", vanished["after"])

        page = bench.folder / "diff.html"
        ids = vanished["before"], vanished["after"]
        differs = bench.run("diff", *ids, "--output", str(page))
        assert {"name": "outcome", "before": "captured", "after": "not-found"} in differs["facts"]
        assert differs["not_compared"] == []
        headers = {one["name"]: (one["before"], one["after"]) for one in differs["headers"]}
        assert [line[-13:] for line in headers["(status)"]] == ["200 OK", "404 Not Found"]
        assert "-" + TEXT.strip() in differs["text"]["lines"]
        assert differs["pictures"][0]["regions"]
        assert "<script" not in page.read_text()

        told = bench.run("watch", "status", posts[0])
        assert [one["became"] for one in told["events"]] == ["removed", "restored"]
        assert [one["state"] for one in told["watches"]] == ["restored"]
        assert len(bench.run("list")["captures"]) == len(begun) + 2 + 1 + 1

        assert len(bench.run("watch", "end", "KZ-1")["ended"]) == 2
        assert bench.run(*run, "--again")["checks"] == 0
