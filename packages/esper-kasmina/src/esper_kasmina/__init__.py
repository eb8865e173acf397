"""Growing layers for PyTorch: hosts, slots, blueprints and the seed lifecycle."""

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.blueprints import (
    BLUEPRINTS,
    BlueprintSpec,
    BranchBuilder,
    register_blueprint,
    unregister_blueprint,
    why_unfit,
)
from esper_kasmina.errors import KasminaError
from esper_kasmina.grafting.graft import SlotSite, graft
from esper_kasmina.grafting.grafted import Grafted
from esper_kasmina.grafting.harvest import harvest
from esper_kasmina.growth.grow import grow
from esper_kasmina.growth.schedule import Growth, Schedule
from esper_kasmina.hosts.base import HostSnapshot, SlottedHost
from esper_kasmina.hosts.build import build_host
from esper_kasmina.hosts.cnn import CNNHost
from esper_kasmina.hosts.gpt import GPTHost
from esper_kasmina.hosts.mlp import MLPHost
from esper_kasmina.hosts.sequential import SequentialHost
from esper_kasmina.optim.averaging import sync_average
from esper_kasmina.optim.gradient_observer import GradientObserver
from esper_kasmina.optim.group_options import SLOT_KEY
from esper_kasmina.optim.groups import parameter_groups, sync_optimizer
from esper_kasmina.optim.schedulers import sync_scheduler
from esper_kasmina.slots.gradients import GradientMeasurement, measure_gradients
from esper_kasmina.slots.lookup import seed_slots
from esper_kasmina.slots.seed import Seed
from esper_kasmina.slots.slot import SeedSlot, SlotSnapshot

__all__ = [
    "BLUEPRINTS",
    "SLOT_KEY",
    "ActivationSpec",
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
    "Schedule",
    "Seed",
    "SeedSlot",
    "SequentialHost",
    "SlotSite",
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
    "why_unfit",
]
