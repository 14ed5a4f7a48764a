"""Token buckets, with a clock that the test turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal_server import rates
from trailseal_server.problems import Problem
from trailseal_server.rates import BURST_S, Rates


class Clock:
    """Seconds that pass when told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def _allowed(limits: Rates, key: str) -> bool:
    try:
        limits.take(key)
    except Problem as problem:
        return problem.code != "rate_limited"
    return True


def test_a_key_may_save_up_a_burst_and_no_more() -> None:
    """The burst, then nothing, then as many as time allows; another key has its own."""
    clock = Clock()
    limits = Rates(5, clock)
    assert sum(_allowed(limits, "a") for _ in range(100)) == 5 * BURST_S
    assert _allowed(limits, "b")
    clock.now += 1
    assert sum(_allowed(limits, "a") for _ in range(100)) == 5
    clock.now += 3600
    assert sum(_allowed(limits, "a") for _ in range(100)) == 5 * BURST_S


def test_who_waits_as_told_is_let_in() -> None:
    """Retry-After is long enough, and no longer than a token takes."""
    clock = Clock()
    limits = Rates(4, clock)
    while _allowed(limits, "a"):
        pass
    with pytest.raises(Problem) as caught:
        limits.take("a")
    assert caught.value.retry_after == pytest.approx(0.25)
    clock.now += caught.value.retry_after or 0
    limits.take("a")


@given(steps=st.lists(st.floats(0, 2), max_size=60), rate=st.integers(1, 20))
def test_no_pattern_of_requests_gets_more_than_its_rate(steps: list[float], rate: int) -> None:
    """Over any time: at most the burst and the rate times that time."""
    clock = Clock()
    limits = Rates(rate, clock)
    passed = 0
    for step in steps:
        clock.now += step
        passed += _allowed(limits, "a")
    assert passed <= rate * (BURST_S + sum(steps)) + 1e-6


def test_nothing_is_counted_without_a_limit_and_memory_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """0 is no limit; beyond `MAX_BUCKETS` the key used longest ago begins anew."""
    free = Rates(0)
    for _ in range(1000):
        free.take("a")
    monkeypatch.setattr(rates, "MAX_BUCKETS", 2)
    limits = Rates(1, Clock())
    for key in ("a", "a", "b", "b", "c"):
        limits.take(key)
    assert not _allowed(limits, "b")
    assert _allowed(limits, "a")
