"""Exports the JSON Schemas: ``python -m esper_leyline.schemas [FOLDER]``."""

import sys

from esper_leyline.schemas.export import main

raise SystemExit(main(sys.argv[1:]))
