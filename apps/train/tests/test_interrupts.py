"""Ctrl-C, once and more often, as this process and whole commands hear it."""

from __future__ import annotations

import os
import signal

import pytest

from esper_train.interrupts import StopRequest


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_asks_the_second_insists_and_more_change_nothing() -> None:
    with StopRequest() as stop:
        assert not stop()
        press()
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            press()
        press()
        assert stop.exit_code == 130
    with pytest.raises(KeyboardInterrupt):
        press()


def test_what_must_not_be_torn_is_finished_first() -> None:
    written = []

    def write(stop: StopRequest) -> None:
        with stop.held_back():
            press()
            written.append("whole")

    with StopRequest() as stop:
        press()
        with pytest.raises(KeyboardInterrupt):
            write(stop)
    assert written == ["whole"]


def test_an_end_is_not_broken_off() -> None:
    with StopRequest() as stop:
        press()
        stop.let_end()
        press()
        assert stop()


@pytest.mark.slow
def test_a_command_without_a_run_ends_silently(command, interrupt) -> None:
    interrupt(command("tasks", "--device", "cpu"), "task")
