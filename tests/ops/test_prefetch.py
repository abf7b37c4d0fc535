import threading
import weakref

import pytest

from fapvideo.ops.prefetch import prefetch


def threads():
    return [t for t in threading.enumerate() if t.name == "fapvideo-prefetch"]


def test_items_come_in_order_from_another_thread():
    seen = set()

    def source():
        for number in range(50):
            seen.add(threading.get_ident())
            yield number

    assert list(prefetch(source(), 3)) == list(range(50))
    assert len(seen) == 1
    assert threading.get_ident() not in seen
    assert not threads()


def test_at_most_depth_plus_one_items_are_ahead():
    made = threading.Semaphore(0)
    produced = []

    def source():
        for number in range(20):
            produced.append(number)
            made.release()
            yield number

    items = prefetch(source(), 2)
    assert next(items) == 0
    for _ in range(4):  # the one taken, two in the queue, one in the producer's hand
        assert made.acquire(timeout=5)
    assert not made.acquire(timeout=0.05)
    assert produced == [0, 1, 2, 3]
    assert list(items) == list(range(1, 20))


def test_an_error_comes_after_the_items_before_it():
    def source():
        yield 1
        yield 2
        raise KeyError("lost")

    items = prefetch(source(), 4)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError, match="lost"):
        next(items)
    assert not threads()


def test_closing_early_stops_the_thread_and_closes_the_source():
    closed = threading.Event()

    def source():
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.set()

    running = source()  # held here, so that only an explicit close ends it
    items = prefetch(running, 1)
    assert next(items) == 0
    items.close()
    assert closed.is_set()
    assert not threads()


def test_an_error_in_the_consumer_closes_the_source():
    closed = threading.Event()

    def source():
        try:
            yield from range(1000)
        finally:
            closed.set()

    def consume():
        for item in prefetch(source(), 2):
            if item == 5:
                raise RuntimeError("consumer")

    with pytest.raises(RuntimeError, match="consumer"):
        consume()
    assert closed.wait(5)


def test_nothing_runs_before_the_first_item_is_asked_for():
    started = []

    def source():
        started.append(1)
        yield 1

    items = prefetch(source(), 2)
    assert not started
    assert not threads()
    items.close()
    assert not started


def test_an_item_is_let_go_once_it_is_used():
    class Frame:
        pass

    alive = weakref.WeakSet()
    made = threading.Semaphore(0)

    def source():
        for _ in range(8):
            frame = Frame()
            alive.add(frame)
            made.release()
            yield frame
            del frame

    items = prefetch(source(), 2)
    assert isinstance(next(items), Frame)  # taken and dropped at once
    for _ in range(4):  # it, two in the queue, one in the producer's hand
        assert made.acquire(timeout=5)
    assert len(alive) == 3
    items.close()
    assert not alive


def test_an_empty_source_and_a_wrong_depth():
    assert list(prefetch([], 1)) == []
    with pytest.raises(ValueError, match="depth"):
        prefetch([1], 0)
