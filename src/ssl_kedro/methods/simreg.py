"""SimReg (Navaneet et al. 2021): a student regresses onto its teacher (thesis Table 6.3)."""

from itertools import pairwise

from torch import Tensor, nn

from ssl_kedro.losses.cosine import normalised_regression
from ssl_kedro.methods.distillation import DistillationMethod


class SimReg(DistillationMethod):
    """Squared distance of L2-normalised features, the student's through an MLP.

    The head has four linear layers of widths 2m, m, 2m, d for m student and d teacher
    features, with batch norm and ReLU between, and is thrown away afterwards (Navaneet et
    al. 2021, 3.1). Student and teacher see the same view; both views of an image are used.
    """

    name = "simreg"

    def add_heads(self) -> None:
        """The student's head."""
        m = self.encoder.feature_dimensions
        layers: list[nn.Module] = []
        widths = [m, 2 * m, m, 2 * m]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
        self.head = nn.Sequential(
            *layers, nn.Linear(widths[-1], self.teacher.encoder.feature_dimensions)
        )

    def compared(self, features: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """The normalised regression; the student's features are the embedding."""
        return normalised_regression(self.head(features).float(), wanted), features
