"""What seeds can be made of: one module a blueprint, one registry line each."""

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
