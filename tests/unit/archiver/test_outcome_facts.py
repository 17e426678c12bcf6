from __future__ import annotations

from archiver.capture.recorder.decode import Decoded
from archiver.evidence import Shown, Sighting, facts_to_judge
from manifests.record import Target

URL = "https://news.example/a"
CHECKED = Sighting(
    url=URL,
    status=403,
    location="",
    connection=1,
    ip="",
    truncated="",
    body_bytes=0,
    telling=(("cf-mitigated", "challenge"),),
)


def load(status: int, **facts):
    return {"url": URL, "method": "GET", "type": "document", "status": status, **facts}


def judged(*requests):
    target = Target(url=URL, final_url=f"{URL}#top", http_status=403)
    return facts_to_judge(URL, {"requests": list(requests)}, Decoded(), [CHECKED], Shown(target))


def test_a_check_that_was_passed_is_not_the_pages_answer():
    """The status is that of the document that is shown, and the headers of the check do not count."""
    facts = judged(load(403), load(200))
    assert (facts.status, facts.headers) == (200, ())


def test_only_another_load_of_the_same_document_counts():
    """What scripts fetch or send to the page's own address changes nothing."""
    others = [load(200, type="fetch"), load(200, method="POST"), load(200, url="https://news.example/b")]
    facts = judged(load(403), *others)
    assert (facts.status, facts.headers) == (403, CHECKED.telling)
