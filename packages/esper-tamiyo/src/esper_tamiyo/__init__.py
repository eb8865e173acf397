"""Decisions of Esper: heuristic controller, Obs V3 encoder, masks and the recurrent policy."""

from esper_tamiyo.controllers import RandomMaskedController, StaticController
from esper_tamiyo.distributions import MaskedCategorical, masked_categorical
from esper_tamiyo.encoder import CEILING, ObservationEncoder
from esper_tamiyo.errors import TamiyoError
from esper_tamiyo.frozen import PolicyController
from esper_tamiyo.heuristic import HeuristicConfig, HeuristicController
from esper_tamiyo.masks import MaskBuilder
from esper_tamiyo.normalizer import ObservationNormalizer
from esper_tamiyo.plugins import CONTROLLERS, ControllerFactory
from esper_tamiyo.policy import RecurrentPolicy
from esper_tamiyo.schedule import ScheduleConfig, ScheduleController

__all__ = [
    "CEILING",
    "CONTROLLERS",
    "ControllerFactory",
    "HeuristicConfig",
    "HeuristicController",
    "MaskBuilder",
    "MaskedCategorical",
    "ObservationEncoder",
    "ObservationNormalizer",
    "PolicyController",
    "RandomMaskedController",
    "RecurrentPolicy",
    "ScheduleConfig",
    "ScheduleController",
    "StaticController",
    "TamiyoError",
    "masked_categorical",
]
