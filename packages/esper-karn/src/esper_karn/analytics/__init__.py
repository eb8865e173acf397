"""Queries over many runs: their logs as tables of an SQL database. Needs ``esper-karn[sql]``."""
