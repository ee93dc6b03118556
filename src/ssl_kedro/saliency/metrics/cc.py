"""CC: Pearson correlation of prediction and truth."""

from ssl_kedro.saliency.maps import weighted_product
from ssl_kedro.saliency.metric import Compared, Metric, centred


def cc(compared: Compared) -> float:
    """Weighted Pearson correlation; 0 where a map is constant.

    In `authors` mode it is the correlation weighted by the sine, not that of the products, as
    in the Salient360! toolbox, whose values the tests hold.
    """
    if compared.truth is None:
        return float("nan")
    first, first_spread = centred(compared.prediction, compared.shares)
    second, second_spread = centred(compared.truth, compared.shares)
    if not first_spread or not second_spread:
        return 0.0
    return weighted_product(first, second, compared.shares) / (first_spread * second_spread)


METRIC = Metric(
    "CC", "correlation with the map of where people looked", "-1 to 1", place=4, of_map=cc
)
