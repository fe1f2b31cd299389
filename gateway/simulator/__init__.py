"""A stateful simulated VergeOS, served over HTTP: for the demo and for tests."""

from gateway.simulator.faults import Fault
from gateway.simulator.handles import VmHandle
from gateway.simulator.journal import Action
from gateway.simulator.settings import SimulatorSettings
from gateway.simulator.simulator import Simulator, serve

__all__ = ["Action", "Fault", "Simulator", "SimulatorSettings", "VmHandle", "serve"]
