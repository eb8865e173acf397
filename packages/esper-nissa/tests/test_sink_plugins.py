"""Sinks of plugins are opened by name, or refused with the reason."""

from __future__ import annotations

import pytest

from esper_leyline import LeylineError
from esper_nissa import SINKS, NissaError, open_sinks


def test_what_cannot_be_called_is_no_sink():
    with pytest.raises(LeylineError, match="it is a int; an entry point refers to a function that"):
        SINKS.register("number", 3)


def test_what_a_plugin_opens_has_to_take_events(tmp_path):
    SINKS.register("folder", lambda folder: folder)
    try:
        with pytest.raises(NissaError, match=r"sink 'folder' is a \w*Path without 'emit'"):
            open_sinks(["folder"], tmp_path)
    finally:
        SINKS.unregister("folder")
