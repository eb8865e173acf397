"""Ctrl-C, once and more often, as this process and whole commands hear it."""

from __future__ import annotations

import os
import signal

import pytest

from esper_train.interrupts import STOPPING, StopRequest


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_signal_requests_the_second_interrupts_and_more_are_ignored() -> None:
    with StopRequest() as stop:
        assert not stop()
        press()
        assert stop()
        with pytest.raises(KeyboardInterrupt), stop.breakable():
            press()
        press()
        assert stop.exit_code == 130
    with pytest.raises(KeyboardInterrupt):
        press()


def test_deferred_signals_wait_for_the_end_of_the_block() -> None:
    written = []

    with StopRequest() as stop:
        with stop.breakable(), stop.defer_signals():
            press()
            press()
            written.append("whole")
        assert stop()
    assert written == ["whole"]


def test_a_second_signal_outside_breakable_is_deferred() -> None:
    with StopRequest() as stop:
        press()
        press()
        with pytest.raises(KeyboardInterrupt), stop.breakable():
            pytest.fail("the block was entered")


@pytest.mark.parametrize("number", STOPPING)
def test_every_stopping_signal_requests_a_stop(number: signal.Signals) -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), number)
        assert stop()
        assert stop.exit_code == 128 + number


def test_an_ignored_hang_up_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_do_not_interrupt_the_end_of_a_run() -> None:
    with StopRequest() as stop:
        press()
        stop.ignore_signals()
        press()
        assert stop()


@pytest.mark.slow
def test_a_command_without_a_run_ends_silently(command, interrupt) -> None:
    interrupt(command("tasks", "--device", "cpu"), "task")
