"""What keeps a server well: metrics, and limits of each key."""

from collections.abc import Callable
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families


def _samples(client: httpx.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics", headers={"Accept": "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"})
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics_count_requests_and_events_without_a_key(
    server: Any, client: httpx.Client, make_client: Callable[..., httpx.Client], log_id: str
) -> None:
    """Another parser reads them; what was done between two readings is their difference; no id of
    a key, a log or a tenant is in them."""
    stranger = make_client(server)
    before = _samples(stranger)
    events = [{"id": "a", "action": "x"}, {"action": ""}]
    for _ in range(2):
        client.post("/v1/events/batch", params={"log_id": log_id}, json={"events": events})
    stranger.patch("/nothing/at/all")
    after = _samples(stranger)

    def grown(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after.get(key, 0.0) - before.get(key, 0.0)

    assert grown("trailseal_requests_total", operation="createEvents", status="200") == 2
    assert grown("trailseal_request_seconds_count", operation="createEvents") == 2
    assert grown("trailseal_requests_total", operation="-", status="404") == 1
    outcomes = {
        each: grown("trailseal_events_total", outcome=each)
        for each in ("created", "duplicate", "failed")
    }
    assert outcomes == {"created": 1, "duplicate": 1, "failed": 2}
    text = stranger.get("/metrics").text
    assert log_id not in text
    assert "key_" not in text
    assert "nothing" not in text


def test_a_key_that_asks_too_often_is_told_when_to_come_back(
    make_server: Callable[..., Any], make_client: Callable[..., httpx.Client]
) -> None:
    """429 with Retry-After; other keys and requests without one are not touched."""
    server = make_server(requests_per_second=5)
    client = make_client(server, server.key)
    made = client.post("/v1/api-keys", json={"name": "b", "scopes": ["events:read"]}).json()
    answers = [client.get("/v1/me") for _ in range(30)]
    limited = [each for each in answers if each.status_code == 429]
    assert len(limited) > 5
    assert limited[0].json()["code"] == "rate_limited"
    assert limited[0].json()["retryable"] is True
    assert int(limited[0].headers["retry-after"]) >= 1
    assert make_client(server, made["secret"]).get("/v1/me").status_code == 200
    assert client.get("/healthz").status_code == 200
