"""Telemetry of Esper: the hub, its sinks and the run directory."""

from esper_nissa.errors import LogError, NissaError
from esper_nissa.hub import FlushingSink, Hub
from esper_nissa.log_position import EarlierWork, LogPosition, earlier_work, next_position
from esper_nissa.monitor.monitor import Monitor, MonitorThresholds
from esper_nissa.run_directory import RunDirectory, create_folder
from esper_nissa.run_lock import RunLock
from esper_nissa.sinks.jsonl import JsonlSink
from esper_nissa.sinks.plugins import SINKS, SinkFactory, open_sinks
from esper_nissa.vitals.machine import Machine
from esper_nissa.vitals.thread import VitalsThread

__all__ = [
    "SINKS",
    "EarlierWork",
    "FlushingSink",
    "Hub",
    "JsonlSink",
    "LogError",
    "LogPosition",
    "Machine",
    "Monitor",
    "MonitorThresholds",
    "NissaError",
    "RunDirectory",
    "RunLock",
    "SinkFactory",
    "VitalsThread",
    "create_folder",
    "earlier_work",
    "next_position",
    "open_sinks",
]
