"""The planner: from a person's words to an answer, with tools where they help."""

from omni.planner.loop import Planner
from omni.planner.plan import Limits, Plan, Request, Say, Step

__all__ = ["Limits", "Plan", "Planner", "Request", "Say", "Step"]
