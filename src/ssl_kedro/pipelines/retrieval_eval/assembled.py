"""Tables 3.2 to 3.4 over data sets: what tells their rows apart, and what is measured."""

from ssl_kedro.pipelines.assembly.tables import Assembly, Figure, SpanningTable
from ssl_kedro.pipelines.retrieval_eval.report.tables import PRECISIONS, RANKINGS
from ssl_kedro.reporting.glossary import RETRIEVAL

_KEPT = {"whitened_on": "Whitened on", "cropped": "Queries cut"}
ASSEMBLY = Assembly(
    "retrieval_eval",
    (
        SpanningTable(
            "3.2",
            {"row": "row"},
            tuple(Figure(name, RANKINGS[name]) for name in ("g", "aqe", "dba", "dba_aqe")),
            kept=_KEPT | {"dimensions": "d"},
        ),
        SpanningTable(
            "3.3",
            {"row": "row", "level": "level"},
            tuple(Figure(name, heading) for name, heading in PRECISIONS.items()),
            kept=_KEPT | {"dimensions": "d"},
        ),
        SpanningTable(
            "3.4", {"row": "row", "dimension": "dimension"}, (Figure("map", PRECISIONS["map"]),)
        ),
    ),
    environments={
        "oxford5k": "oxford_paris",
        "paris6k": "oxford_paris",
        "instre": "instre",
        "roxford5k": "oxford_paris",
        "rparis6k": "oxford_paris",
    },
    task="task",
    terms=RETRIEVAL,
)
