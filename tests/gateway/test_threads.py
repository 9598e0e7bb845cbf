"""Threads for work that may never end: when they end, and what they hold."""

import threading
import time
import weakref

import pytest

from flywheel_gateway.threads import Threads


def test_threads_that_nobody_refers_to_end() -> None:
    """As those of a decider that a reload has replaced."""
    threads = Threads(1, "tests")
    thread = threads.submit(threading.current_thread).result()
    del threads
    thread.join(10)
    assert not thread.is_alive()


def test_threads_take_no_work_after_their_end() -> None:
    threads = Threads(1, "tests")
    threads.shutdown()
    with pytest.raises(RuntimeError, match="no more work"):
        threads.submit(threading.current_thread)


def test_an_idle_thread_does_not_hold_its_last_prompt() -> None:
    class Prompt:
        pass

    threads, prompt = Threads(1, "tests"), Prompt()
    held = weakref.ref(prompt)
    threads.submit(id, prompt).result()
    del prompt
    for _ in range(500):
        if held() is None:
            break
        time.sleep(0.02)
    assert held() is None
    threads.shutdown()


def test_threads_start_once_the_system_has_room_for_them_again() -> None:
    """A start that fails must not take the place of a thread, or no router would ever be asked again."""
    threads = Threads(1, "tests")
    before = threading.stack_size(1 << 46)  # no system has the address space
    try:
        with pytest.raises(RuntimeError, match="start new thread"):
            threads.submit(threading.current_thread)
    finally:
        threading.stack_size(before)
    assert threads.submit(threading.current_thread).result(timeout=10).name == "tests"
    threads.shutdown()
