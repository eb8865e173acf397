"""Sinks of plugins are opened by name, or refused with the reason."""

from __future__ import annotations

import pytest

from esper_leyline import LeylineError
from esper_nissa import SINKS, NissaError, open_sinks


def test_a_sink_factory_must_be_callable():
    with pytest.raises(LeylineError, match="it is a int; an entry point refers to a function that"):
        SINKS.register("number", 3)


def test_a_sink_of_a_plugin_must_take_events(tmp_path):
    SINKS.register("folder", lambda folder: folder)
    try:
        with pytest.raises(NissaError, match=r"sink 'folder' is a \w*Path without 'emit'"):
            open_sinks(["folder"], tmp_path)
    finally:
        SINKS.unregister("folder")
