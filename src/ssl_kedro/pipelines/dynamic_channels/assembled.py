"""Table 5.1 over data sets: what tells its rows apart, and what is measured."""

from ssl_kedro.pipelines.assembly.tables import Assembly, Figure, SpanningTable

ASSEMBLY = Assembly(
    "dynamic_channels",
    (
        SpanningTable(
            "5.1",
            {"method": "method", "budget_percent": "budget_percent"},
            (Figure("knn_top1", "1-NN"), Figure("flop_reduction", "FLOP reduction")),
        ),
    ),
    environments={"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "ImageNet-100": "imagenet100"},
    chapter="5",
)
