"""Growing layers for PyTorch: hosts, slots, blueprints and the seed lifecycle."""

from esper_kasmina.activations import Activations
from esper_kasmina.averaging import sync_average
from esper_kasmina.blueprints import (
    BLUEPRINTS,
    BlueprintSpec,
    BranchBuilder,
    register_blueprint,
    unregister_blueprint,
)
from esper_kasmina.cnn import CNNHost
from esper_kasmina.errors import KasminaError
from esper_kasmina.factory import build_host
from esper_kasmina.gpt import GPTHost
from esper_kasmina.gradients import GradientMeasurement, measure_gradients
from esper_kasmina.graft import Place, graft
from esper_kasmina.grafted import Grafted
from esper_kasmina.group_options import SLOT_KEY
from esper_kasmina.grow import grow
from esper_kasmina.growth import Growth, Schedule
from esper_kasmina.harvest import harvest
from esper_kasmina.host import HostSnapshot, SlottedHost
from esper_kasmina.mlp import MLPHost
from esper_kasmina.observation import GradientObserver
from esper_kasmina.optimizers import parameter_groups, seed_slots, sync_optimizer
from esper_kasmina.path_host import PathHost
from esper_kasmina.schedulers import sync_scheduler
from esper_kasmina.seed import Seed
from esper_kasmina.seed_bed import SlotSnapshot
from esper_kasmina.slot import SeedSlot

__all__ = [
    "BLUEPRINTS",
    "SLOT_KEY",
    "Activations",
    "BlueprintSpec",
    "BranchBuilder",
    "CNNHost",
    "GPTHost",
    "GradientMeasurement",
    "GradientObserver",
    "Grafted",
    "Growth",
    "HostSnapshot",
    "KasminaError",
    "MLPHost",
    "PathHost",
    "Place",
    "Schedule",
    "Seed",
    "SeedSlot",
    "SlotSnapshot",
    "SlottedHost",
    "build_host",
    "graft",
    "grow",
    "harvest",
    "measure_gradients",
    "parameter_groups",
    "register_blueprint",
    "seed_slots",
    "sync_average",
    "sync_optimizer",
    "sync_scheduler",
    "unregister_blueprint",
]
