"""What a store holds, read back with MLflow's own client."""

from pathlib import Path
from typing import Any

from mlflow import MlflowClient


class Stored:
    """What a store holds of its only parent run."""

    def __init__(self, uri: str, experiment: str = "tests") -> None:
        self.client = MlflowClient(uri)
        self.experiment = self.client.get_experiment_by_name(experiment)
        runs = self.client.search_runs([self.experiment.experiment_id])
        self.parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
        self.parent = self.parents[-1]
        self.children = {
            r.data.tags["model"]: r for r in runs if "mlflow.parentRunId" in r.data.tags
        }

    def curve(self, run: Any, key: str) -> list[tuple[int, float]]:
        history = self.client.get_metric_history(run.info.run_id, key)
        return sorted((item.step, item.value) for item in history)

    def statuses(self) -> set[str]:
        return {run.info.status for run in (self.parent, *self.children.values())}


def uri(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"
