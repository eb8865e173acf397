"""Writes the schemas and types: ``python -m esper_karn.schemas [FOLDER]``."""

import sys

from esper_karn.schemas.export import main

raise SystemExit(main(sys.argv[1:]))
