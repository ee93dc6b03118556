"""Kedro's settings: hooks and how configuration is read."""

import warnings

from ssl_kedro.hooks.planning import PlanningHook
from ssl_kedro.hooks.progress import ProgressHook
from ssl_kedro.hooks.project import ParameterAwareConfigLoader, ProjectHook
from ssl_kedro.hooks.provenance import ProvenanceHook
from ssl_kedro.hooks.rooms import RoomHook
from ssl_kedro.hooks.tracking import TrackingHook

# `--pipeline` is what users type and keeps working; Kedro 1.7 would rather have `--pipelines`.
warnings.filterwarnings("ignore", message=r"Option '--pipeline' is deprecated")
# Data is named by role with the namespace in front, also by nodes outside the namespace.
warnings.filterwarnings("ignore", message=r"One or more dataset names contain '\.'")

_planning = PlanningHook()
# Called last to first: nothing is tracked of a run that lacks what it needs, or has no room.
HOOKS = (
    *(ProgressHook(_planning), TrackingHook(), _planning),
    *(RoomHook(), ProvenanceHook(), ProjectHook(_planning)),
)

CONFIG_LOADER_CLASS = ParameterAwareConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # An environment holds only what differs from base.
    "merge_strategy": {"parameters": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
}
