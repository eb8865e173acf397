"""Growing layers for PyTorch: hosts, slots, blueprints and the seed lifecycle."""

from esper_kasmina.blueprints import CNN_BLUEPRINTS, BranchBuilder
from esper_kasmina.cnn import CNNHost
from esper_kasmina.errors import KasminaError
from esper_kasmina.factory import build_host
from esper_kasmina.gradients import GradientMeasurement, measure_gradients
from esper_kasmina.host import HostSnapshot, SlottedHost
from esper_kasmina.optimizers import SLOT_KEY, sync_optimizer
from esper_kasmina.seed import Seed
from esper_kasmina.slot import SeedSlot, SlotSnapshot
from esper_kasmina.support import SUPPORTED_STYLES

__all__ = [
    "CNN_BLUEPRINTS",
    "SLOT_KEY",
    "SUPPORTED_STYLES",
    "BranchBuilder",
    "CNNHost",
    "GradientMeasurement",
    "HostSnapshot",
    "KasminaError",
    "Seed",
    "SeedSlot",
    "SlotSnapshot",
    "SlottedHost",
    "build_host",
    "measure_gradients",
    "sync_optimizer",
]
