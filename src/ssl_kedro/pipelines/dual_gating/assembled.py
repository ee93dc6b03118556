"""Tables 6.1 to 6.6 over data sets: what tells their rows apart, and what is measured."""

from ssl_kedro.pipelines.assembly.tables import Assembly, Figure, SpanningTable
from ssl_kedro.pipelines.dual_gating.plan import KEY
from ssl_kedro.pipelines.dual_gating.row import PUBLISHED_NAMES

_BUDGET = {"budget_percent": "budget_percent"}
_LINEAR = Figure("linear_top1", "Linear", std="linear_std")
_REDUCTION = Figure("flop_reduction", "FLOP reduction")
_BRANCHES = (
    Figure("dense_knn_top1", "Dense 1-NN"),
    Figure("gated_knn_top1", "Gated 1-NN"),
    _REDUCTION,
)
ASSEMBLY = Assembly(
    KEY,
    (
        SpanningTable(
            "6.1",
            {"method": "method", "branch": "branch"} | _BUDGET,
            (_LINEAR, _REDUCTION),
            tagged=True,
        ),
        SpanningTable(
            "6.2",
            {"target": "target", "method": "model", "branch": "branch"} | _BUDGET,
            (_LINEAR,),
            dataset="source",
            tagged=True,
        ),
        SpanningTable(
            "6.3",
            {"method": "model"} | _BUDGET,
            (Figure("knn_top1", "1-NN", "knn_normalised_top1"),),
            dataset="target",
            tagged=True,
            # The thesis' teachers of SEED saw other images than a run's.
            comparable=lambda printed: printed["pretrained_on"] == printed["target"],
        ),
        *(
            SpanningTable(f"6.{number}", {"method": "model"} | _BUDGET, _BRANCHES, tagged=True)
            for number in (4, 5, 6)
        ),
    ),
    environments={
        "CIFAR-10": "cifar10",
        "CIFAR-100": "cifar100",
        "STL-10": "stl10",
        "ImageNet-100": "imagenet100",
    },
    chapter="6",
    names=PUBLISHED_NAMES,
)
