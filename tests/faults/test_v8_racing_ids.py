"""V8: clients that race with one id."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from .servers import Fleet, call, check_history, rounds

RACES = rounds(15, 1000)
CLIENTS = 12
CONTENTS = 3  # different ones of each id


def test_v8_of_racing_clients_one_event_is_stored_the_others_replay_or_conflict(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    """Same id: the first content wins, the same one gets its receipt again, another one is 409;
    single and in batches, at two processes."""
    url = make_database()
    fleet = Fleet(url, tmp_path, 2)
    key = fleet.keys[0]
    line = threading.Barrier(CLIENTS)

    def client(number: int) -> list[tuple[int, Any]]:
        answers = []
        with closing(fleet.members[number % 2].connect()) as connection:
            for race in range(RACES):
                event = {"id": f"r{race}", "action": "a", "data": {"v": number % CONTENTS}}
                line.wait()
                if (number + race) % 4:
                    answers.append(call(connection, key, "POST", "/v1/events", event))
                    continue
                status, body = call(
                    connection, key, "POST", "/v1/events/batch", {"events": [event]}
                )
                assert status == 200
                (item,) = body["results"]
                codes = {"created": 201, "duplicate": 200, "failed": 409}
                answers.append(
                    (codes[item["status"]], item.get("receipt") or {"code": item["error"]["code"]})
                )
        return answers

    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(client, range(CLIENTS)))
    finally:
        fleet.stop()
    receipts = []
    for race in range(RACES):
        each = [(number, *answers[number][race]) for number in range(CLIENTS)]
        ((winner, _, first),) = [one for one in each if one[1] == 201]
        assert first["replayed"] is False
        receipts.append((first["event_id"], first["index"], first["leaf_hash"]))
        for number, status, body in each:
            if number == winner:
                continue
            if number % CONTENTS == winner % CONTENTS:
                same = ("event_id", "index", "received_at", "leaf_hash")
                assert (status, body["replayed"]) == (200, True)
                assert [body[name] for name in same] == [first[name] for name in same]
            else:
                assert (status, body["code"]) == (409, "event_id_conflict")
    assert check_history(url, receipts, []) == {f"r{race}" for race in range(RACES)}
