"""`understudy sweep`: one recipe at several values of one or two keys, with every step that can be shared.

A variant is the recipe at one value of each axis. The steps of all variants are put together by their hash
and run once, in one folder with one ledger, so a larger value pays its teacher only for the difference and
one budget holds for all of them.
"""

from understudy.sweep.axes import Axis, Variant
from understudy.sweep.costs import estimates
from understudy.sweep.planning import StepView, Sweep, load, plan
from understudy.sweep.running import Outcome, run

__all__ = ["Axis", "Outcome", "StepView", "Sweep", "Variant", "estimates", "load", "plan", "run"]
