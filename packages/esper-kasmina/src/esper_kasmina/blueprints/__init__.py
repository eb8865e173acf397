"""The kinds of seeds. Each blueprint is one module and one line in ``registry``."""

from esper_kasmina.blueprints.registry import (
    BLUEPRINTS,
    register_blueprint,
    unregister_blueprint,
    why_unfit,
)
from esper_kasmina.blueprints.spec import BlueprintSpec, BranchBuilder
from esper_kasmina.blueprints.trial import find_fault

__all__ = [
    "BLUEPRINTS",
    "BlueprintSpec",
    "BranchBuilder",
    "find_fault",
    "register_blueprint",
    "unregister_blueprint",
    "why_unfit",
]
