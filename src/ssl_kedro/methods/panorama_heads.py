"""Global module, local module and attention of the pre-training on panoramas (thesis 4.3.2)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_kedro.encoders.bottleneck_resnet import bottlenecks
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder, scaled

# "relu" as in the thesis: embeddings have no negative value, so that all are alike at first and
# the memory bank drives them round together for many steps. "batch_norm" centres them.
HeadEnd = Literal["relu", "batch_norm"]
# Where code and text differ: the local module, and the global one after VGG.
Heads = Literal["authors", "text"]


def global_head(
    encoder: PanoramaEncoder,
    map_size: tuple[int, int],
    embedding: int,
    end: HeadEnd = "relu",
    heads: Heads = "authors",
) -> nn.Module:
    """Maps (N, C, h, w) of the source view to embeddings (N, D), before they get unit length.

    After a ResNet: two 1x1 to 1024, the fourth stage, average, two fully connected layers
    (Figure 4.5); the text has the same after VGG. The authors' code has after VGG a 3x3 of stride
    2, pooling, two fully connected layers.

    Args:
        encoder: whose maps they are.
        map_size: h and w.
        embedding: D.
        end: last layer; see :data:`HeadEnd`.
        heads: whose; see :data:`Heads`.
    """
    width, channels = encoder.config.width, encoder.map_channels
    if heads == "text" or encoder.config.architecture == "resnet50":
        wide = scaled(1024, width)
        stage, out = bottlenecks(wide, scaled(512, width), 3, 2)
        return nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.Conv2d(wide, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            stage,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            *_connected(out, embedding, end),
        )
    height, columns = ((side + 1) // 2 - 1 for side in map_size)
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride=2, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2, stride=1),
        nn.Flatten(),
        *_connected(channels * height * columns, embedding, end),
    )


def _connected(channels: int, embedding: int, end: HeadEnd) -> list[nn.Module]:
    return [
        nn.Linear(channels, embedding),
        nn.BatchNorm1d(embedding),
        nn.ReLU(inplace=True),
        nn.Linear(embedding, embedding),
        nn.ReLU(inplace=True) if end == "relu" else nn.BatchNorm1d(embedding, affine=False),
    ]


def local_head(
    encoder: PanoramaEncoder, embedding: int, end: HeadEnd = "relu", heads: Heads = "authors"
) -> nn.Module:
    """Maps (N, C, h, w) of the other view to embeddings of each cell (N, D, h, w).

    Args:
        encoder: whose maps they are.
        embedding: D.
        end: last layer of the authors' head; the text's ends with its batch norm.
        heads: "text": two of [convolution, ReLU], then a batch norm (thesis 4.3.2); "authors":
            the batch norm before the last ReLU.
    """
    first = (nn.Conv2d(encoder.map_channels, embedding, 1), nn.ReLU(inplace=True))
    if heads == "text":
        second = nn.Conv2d(embedding, embedding, 1)
        return nn.Sequential(*first, second, nn.ReLU(inplace=True), nn.BatchNorm2d(embedding))
    return nn.Sequential(
        *first,
        nn.Conv2d(embedding, embedding, 1, bias=False),
        nn.BatchNorm2d(embedding),
        nn.ReLU(inplace=True) if end == "relu" else nn.Identity(),
    )


class ViewAttention(nn.Module):
    """What of the other view matters to each cell of the source view (Zhang et al. 2019).

    Queries come from the source view, keys and values from the other, pooled 2 x 2: at 10 x 20
    cells a 200 x 50 attention, softmax without a scale. gamma starts at 0, so that nothing is
    added at first.

    Args:
        channels: C of the maps.
        width: share of the channels of its own layers.
    """

    def __init__(self, channels: int, width: float) -> None:
        super().__init__()
        inner, values = scaled(64, width), scaled(256, width)
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, values, 1)
        self.out = nn.Conv2d(values, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, source: Tensor, other: Tensor) -> Tensor:
        """Gamma times the attended values plus the other view's maps, (N, C, h, w)."""
        count, _, height, columns = other.shape
        query = self.query(source).flatten(2)
        key = functional.max_pool2d(self.key(other), 2).flatten(2)
        value = functional.max_pool2d(self.value(other), 2).flatten(2)
        attention = torch.softmax(query.transpose(1, 2) @ key, dim=2)
        attended = (value @ attention.transpose(1, 2)).view(count, -1, height, columns)
        found: Tensor = self.gamma * self.out(attended) + other
        return found
