"""What gates save on panoramas, beside what they lose."""

from collections.abc import Sequence

from ssl_kedro.pipelines.saliency360.records import Results
from ssl_kedro.pipelines.saliency360.report.differences import DECIDING, Difference
from ssl_kedro.reporting.html import Section, Table
from ssl_kedro.reporting.number_format import MINUS, percent, three_digits
from ssl_kedro.saliency.metric import metrics

_COLUMNS = ("Model", "less", "GMAC", "of dense", "ms", "of dense", "saved")


def gating_section(results: Results, differences: Sequence[Difference]) -> Section:
    """A row a model on a gated branch; empty where none was timed."""
    found = [one for one in differences if one.about == "gating"]
    rows = []
    for first in dict.fromkeys(one.first for one in found):
        encoder = results.encoders[results.models[first].encoder]
        if (time := encoder.gating) is None:
            continue
        lost = [one for one in found if one.first == first]
        rows.append(
            [
                *(first, lost[0].second, three_digits(encoder.macs / 1e9)),
                percent(encoder.macs / time.dense_macs, 1),
                *(three_digits(time.gated_ms), three_digits(time.dense_ms)),
                percent(1 - time.gated_ms / time.dense_ms, 0).replace("-", MINUS),
                *(one.decided for one in lost),
            ]
        )
    if not rows:
        return Section("")
    times = [of.gating for of in results.encoders.values() if of.gating is not None]
    threads = f"{times[0].threads} thread{'s' * (times[0].threads > 1)}"
    text = (
        "Encoders alone. MACs are what masks leave, a mean over the tested panoramas. Times were "
        f"measured in turns on {times[0].device}, {threads}, one panorama at a time, by PyTorch "
        "with norms folded: the gated branch without the channels that none of "
        f"{times[0].panoramas} panoramas opens. A channel that only some open is computed for "
        "all, and gates take time of their own: time falls less than MACs, and may rise. Scores "
        "are less those of the dense branch, paired."
    )
    columns = [*_COLUMNS, *(metrics()[metric].heading for metric in DECIDING)]
    return Section("What gating saves, and loses", (text,), tables=[Table(columns, rows, left=2)])
