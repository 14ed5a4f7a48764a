"""V18: SIGTERM under load."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from trailseal_server.limits import ANSWER_DEADLINE

from .servers import GONE, Process, call, check_history, rounds

STOPS = rounds(1, 50)
WRITERS = 16
LOAD_S = 0.7
STOP_S = 10.0
BATCH = 50


class Outcomes:
    """What each request of one client became: answered, or broken off."""

    def __init__(self) -> None:
        self.receipts: list[tuple[str, int, str]] = []
        self.refused: set[str] = set()
        self.unanswered: set[str] = set()
        self.others: list[Any] = []


def write(server: Process, key: str, name: str) -> Outcomes:
    """Single events, batches and events with a proof, until the server is gone."""
    told = Outcomes()
    with closing(server.connect()) as connection:
        number = 0
        while True:
            number += 1
            ids = [f"{name}-{number}"]
            event: dict[str, Any] = {"id": ids[0], "action": "a"}
            path, body = "/v1/events", event
            if number % 3 == 0:
                ids = [f"{name}-{number}-{at}" for at in range(BATCH)]
                path = "/v1/events/batch"
                body = {"events": [{"id": each, "action": "a"} for each in ids]}
            elif number % 7 == 0:
                path = "/v1/events?include=proof"  # waits for a checkpoint
            try:
                status, answer = call(connection, key, "POST", path, body)
            except GONE:
                told.unanswered.update(ids)
                return told
            if status in {200, 201}:
                found = [each["receipt"] for each in answer.get("results", [{"receipt": answer}])]
                told.receipts += [(r["event_id"], r["index"], r["leaf_hash"]) for r in found]
            else:
                told.refused.update(ids)
                if answer.get("code") != "unavailable":
                    told.others.append(answer)


def test_v18_sigterm_under_load_finishes_what_was_accepted(
    make_database: Callable[[], str], tmp_path: Path, record_property: Callable[[str, float], None]
) -> None:
    """With exit code 0, and in the long form within 10 s. Each request was answered and holds, or
    was not answered and left nothing behind; who waits for events is answered at once.

    A server that has not ended after ANSWER_DEADLINE breaks off what it still writes: only a
    machine with far too much to do brings it to that.
    """
    url = make_database()
    key, receipts, longest = "", [], 0.0
    not_stored, unknown = set[str](), set[str]()
    for stop in range(STOPS):
        with Process(url, tmp_path) as server, ThreadPoolExecutor(WRITERS + 1) as pool:
            key = key or server.key or ""
            first = server.call(key, "POST", "/v1/events", {"id": f"first-{stop}", "action": "a"})
            assert first[0] == 201
            writing = [
                pool.submit(write, server, key, f"{stop}-{number}") for number in range(WRITERS)
            ]
            log = server.call(key, "POST", "/v1/logs", {"log_id": f"quiet-{stop}"})
            assert log[0] == 201
            query = f"/v1/events?log_id=quiet-{stop}&order=asc"
            tail = server.call(key, "GET", query)[1]["tail_cursor"]
            waiting = server.connect()
            path = f"{query}&cursor={tail}&wait=30"
            waiting.request("GET", path, headers={"Authorization": f"Bearer {key}"})
            # It has arrived once a request that was sent after it is answered.
            assert server.call(key, "GET", query)[0] == 200
            polled = pool.submit(waiting.getresponse)
            threading.Event().wait(LOAD_S)
            began = time.monotonic()
            assert server.end() == 0, server.errors
            took = time.monotonic() - began
            outcomes = [each.result() for each in writing]
            assert polled.result().status == 200
            waiting.close()
        assert [each.others for each in outcomes] == [[]] * WRITERS
        receipts += [receipt for each in outcomes for receipt in each.receipts]
        longest = max(longest, took)
        not_stored |= {event_id for each in outcomes for event_id in each.refused}
        unanswered = {event_id for each in outcomes for event_id in each.unanswered}
        if took < ANSWER_DEADLINE:
            not_stored |= unanswered
        else:
            unknown |= unanswered
    assert len(receipts) > STOPS * WRITERS
    ids = check_history(url, receipts, [])
    assert ids & not_stored == set()
    assert len(ids - unknown) == len(receipts) + STOPS
    record_property("longest_s", round(longest, 2))
    record_property("unknown", len(unknown))
    assert STOPS == 1 or longest < STOP_S
