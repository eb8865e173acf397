"""The hosts of Esper's tasks, and the bases for hosts of your own."""
