"""Where does the bowl go so that the focus lies on a target: search by the surrogate, truth by the solver."""

from trifocal.focus.pose_search.limits import PoseLimits
from trifocal.focus.pose_search.scalp import ScalpMap, scalp_map
from trifocal.focus.pose_search.search import PoseCandidate, find_poses
from trifocal.focus.pose_search.solver_loop import Aimed, aim_by_solver, refine_by_solver, shortfall

__all__ = [
    "Aimed",
    "PoseCandidate",
    "PoseLimits",
    "ScalpMap",
    "aim_by_solver",
    "find_poses",
    "refine_by_solver",
    "scalp_map",
    "shortfall",
]
