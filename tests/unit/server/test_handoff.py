"""What another thread gives to the event loop (handoff.py)."""

import asyncio
import gc
import threading

import pytest
from trailseal_server.handoff import Handoff, Reply

WAIT_S = 30.0
THREADS = 4
EACH = 200


def test_every_reply_gets_its_own_result_from_any_thread() -> None:
    """However many threads give, and however few wake-ups that takes."""

    async def main() -> list[int]:
        handoff = Handoff()
        replies = [handoff.reply() for _ in range(THREADS * EACH)]

        def give(start: int) -> None:
            for number in range(start, len(replies), THREADS):
                replies[number].set_result(number)

        threads = [threading.Thread(target=give, args=(start,)) for start in range(THREADS)]
        for thread in threads:
            thread.start()
        async with asyncio.timeout(WAIT_S):
            found = await asyncio.gather(*(reply.future for reply in replies))
        for thread in threads:
            thread.join()
        return list(found)

    assert asyncio.run(main()) == list(range(THREADS * EACH))


def test_a_failure_is_raised_where_it_is_awaited() -> None:
    """And whoever waits beside it gets a result all the same."""

    async def main() -> None:
        handoff = Handoff()
        bad, good = handoff.reply(), handoff.reply()
        bad.set_exception(OSError("the disk is full"))
        good.set_result("written")
        with pytest.raises(OSError, match="full"):
            await bad.future
        assert await good.future == "written"

    asyncio.run(main())


def test_a_caller_that_is_gone_takes_nothing_from_others() -> None:
    """Its connection broke before the commit: the results of the same transaction arrive."""

    async def main() -> None:
        handoff = Handoff()
        gone, waiting = handoff.reply(), handoff.reply()
        gone.future.cancel()
        gone.set_result("for nobody")
        waiting.set_result("written")
        assert await waiting.future == "written"

    asyncio.run(main())


def test_a_result_after_the_end_of_the_loop_is_nobodys() -> None:
    """The writer outlives the event loop by a moment, and does not fail for it."""

    async def main() -> Reply:
        return Handoff().reply()

    reply = asyncio.run(main())
    reply.set_result("too late")
    assert not reply.future.done()


def test_a_failure_that_nobody_waits_for_is_not_complained_about() -> None:
    """The client is gone, and its request was refused: the event loop has nothing to say."""
    said: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        reply = Handoff().reply()
        reply.set_exception(OSError("the disk is full"))
        await asyncio.sleep(0.01)
        assert reply.future.done()

    asyncio.run(main())
    gc.collect()
    assert not said
