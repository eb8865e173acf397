"""Ctrl-C, once and more often, as this process and whole commands hear it."""

from __future__ import annotations

import os
import signal

import pytest

from esper_train.interrupts import STOPPING, StopRequest


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_asks_the_second_insists_and_more_change_nothing() -> None:
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


def test_what_must_not_be_torn_is_finished_first() -> None:
    written = []

    with StopRequest() as stop:
        with stop.breakable(), stop.defer_signals():
            press()
            press()
            written.append("whole")
        assert stop()
    assert written == ["whole"]


def test_a_second_signal_outside_what_may_break_is_remembered() -> None:
    with StopRequest() as stop:
        press()
        press()
        with pytest.raises(KeyboardInterrupt), stop.breakable():
            pytest.fail("the block was entered")


@pytest.mark.parametrize("number", STOPPING)
def test_every_stopping_signal_asks_for_a_stop(number: signal.Signals) -> None:
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


def test_an_end_is_not_broken_off() -> None:
    with StopRequest() as stop:
        press()
        stop.ignore_signals()
        press()
        assert stop()


@pytest.mark.slow
def test_a_command_without_a_run_ends_silently(command, interrupt) -> None:
    interrupt(command("tasks", "--device", "cpu"), "task")
