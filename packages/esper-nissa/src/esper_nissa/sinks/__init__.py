"""Where events go: a class with ``emit`` and ``close`` for each destination."""
