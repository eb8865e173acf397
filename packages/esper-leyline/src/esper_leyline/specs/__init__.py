"""Descriptions of hosts, data and tasks; Kasmina and Tolaria build the real things."""
