"""Parameters of the dual_gating pipeline."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from ssl_kedro.core.config import Config, ConfigError
from ssl_kedro.encoders.frozen import InitialWeights, origin_of, place_of_weights
from ssl_kedro.evaluation.embedding import EmbeddingConfig
from ssl_kedro.evaluation.linear_probe import ProbeConfig
from ssl_kedro.losses.vicreg import VICRegConfig
from ssl_kedro.pipelines.dual_gating.part import parts
from ssl_kedro.pipelines.dual_gating.row import OWN_TEACHER
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.transfer_parameters import TransferParameters
from ssl_kedro.pipelines.gated.variants import DUAL_GATING, DUAL_GATING_PEERS, Variant
from ssl_kedro.pipelines.parameters import PipelineParameters, distinct, name_list

# What the catalog calls teachers from files.
TEACHERS = "teachers"

PublishedData = Literal["CIFAR-10", "CIFAR-100", "STL-10", "ImageNet-100"]


def part_list(value: Any) -> Any:
    """Parts from a list, "all" of the chapter, or a string such as "table_6_1;table_6_4"."""
    if value == "all":
        return tuple(name for name, part in parts().items() if part.kind != "method")
    return name_list(value)


def known_part(name: str) -> str:
    """The name of a part that there is."""
    if name not in parts():
        raise ValueError(f"input should be one of {', '.join(map(repr, parts()))}")
    return name


class ChapterTransferParameters(TransferParameters):
    """Table 6.2; further fields are those of every transfer.

    Args:
        published: the thesis' name of a data set named here, where it has one.
    """

    published: dict[str, PublishedData] = Field(default_factory=dict)


def _name_of_file(name: str) -> str:
    """A name for a teacher's file, which is also one in the catalog."""
    if not re.fullmatch(r"\w+", name) or name == OWN_TEACHER:
        raise ValueError(f"expected letters, digits and underscores, and not {OWN_TEACHER!r}")
    return name


class DistillationParameters(PipelineParameters):
    """Table 6.3.

    Args:
        teacher: of students: "vicreg" = the run's own dense baseline of the same seed, a name of
            ``files``, or the catalog name of an encoder, such as "dual_gating.budget_30.encoder".
        teachers: of single students, where it is another.
        files: trained encoders by name: a bundle's folder, or ``file`` and ``kind`` (one of
            ``importers.KINDS``).
    """

    teacher: str = OWN_TEACHER
    teachers: dict[Literal["simreg", "seed"], str] = Field(default_factory=dict)
    files: dict[
        Annotated[str, AfterValidator(_name_of_file)],
        Annotated[InitialWeights, BeforeValidator(place_of_weights)],
    ] = Field(default_factory=dict)

    def of(self, student: str) -> str:
        """The teacher of a student, by the student's name in reports."""
        return next((by for who, by in self.teachers.items() if who == student), self.teacher)

    @property
    def shown(self) -> dict[str, str]:
        """The teacher of each student for tables: a file by its kind."""
        kinds = {name: weights.kind for name, weights in self.files.items()}
        teachers = {student: self.of(student) for student in ("simreg", "seed")}
        return {student: kinds.get(name, name) for student, name in teachers.items()}


class AblationParameters(PipelineParameters):
    """What the open questions switch on against plain dual gating.

    Args:
        diversity: weight of the channel-diversity term in question 2.
    """

    diversity: Annotated[float, Field(gt=0, le=1e6)] = 1.0


class DualGatingParameters(EncoderPipelineParameters):
    """Everything of chapter 6 that a user may want to change.

    Args:
        parts: tables, figures and questions of the chapter that a run without tags makes; None =
            those of its recipe.
    """

    dense_method = "vicreg"
    gated_method = "dual_gating"
    variants = DUAL_GATING
    peers = DUAL_GATING_PEERS

    parts: (
        Annotated[
            tuple[Annotated[str, AfterValidator(known_part)], ...],
            BeforeValidator(part_list),
            AfterValidator(distinct),
            Field(min_length=1),
        ]
        | None
    ) = None
    vicreg: VICRegConfig = VICRegConfig()
    probe: ProbeConfig = ProbeConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    transfer: ChapterTransferParameters = ChapterTransferParameters()
    distillation: DistillationParameters = DistillationParameters()
    ablation: AblationParameters = AblationParameters()
    published: PublishedData = "CIFAR-10"

    @property
    def made_parts(self) -> tuple[str, ...]:
        """What a run without tags makes."""
        if self.parts is not None:
            return self.parts
        return ("best",) if self.recipe == "best" else ("table_6_1", "figure_6_1", "figure_6_2")

    @property
    def shared_options(self) -> dict[str, Config]:
        """Options that stand once for all methods that have them: the weights of VICReg."""
        return {"vicreg": self.vicreg}

    @property
    def further_tags(self) -> Sequence[str]:
        """Parts of the chapter, and what any pipeline of gated encoders has."""
        return (*parts(), *super().further_tags)

    def check_missing(self, name: str) -> None:
        """As for all, and refuse a teacher that nobody knows."""
        super().check_missing(name)
        of = self.distillation
        for file, weights in of.files.items():
            if name.endswith(f".{TEACHERS}.{file}"):
                expected = f"a file that exists, from {origin_of(weights.kind)}"
                raise ConfigError(f"distillation.files.{file}.file", weights.file, expected)
        keys = {"teacher": of.teacher, **{f"teachers.{who}": by for who, by in of.teachers.items()}}
        for key in (key for key, teacher in keys.items() if teacher == name):
            raise ConfigError(
                f"distillation.{key}",
                name,
                '"vicreg", or the name of an encoder that the catalog defines and an earlier run '
                'has left, such as "dual_gating.budget_30.encoder", or one of distillation.files',
            )

    def check_seen(self, node: str, constants: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        """As for all, and refuse an embedding of next to nothing."""
        super().check_seen(node, constants, seen)
        if node == "embed_features" and (count := seen.get("eval_images", 4)) < 4:
            expected = f"parts without figure_6_2, which needs 4 evaluation images and has {count}"
            raise ConfigError("parts", list(self.made_parts), expected)

    def gates_of(self, variant: Variant) -> dict[str, float | str]:
        """Gate parameters of a variant that differ from the run's own."""
        return {
            **variant.gates,
            **{name: getattr(self.ablation, name) for name in variant.ablation},
        }
