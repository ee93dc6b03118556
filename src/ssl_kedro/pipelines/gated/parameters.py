"""Parameters of pipelines that train encoders: what chapters 5 and 6 share."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails

from ssl_kedro.core.config import ConfigError, merged
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.factory import cost_at, shape_values
from ssl_kedro.encoders.frozen import place_of_weights
from ssl_kedro.evaluation.fine_tuning import FineTuningConfig
from ssl_kedro.evaluation.knn import KnnConfig
from ssl_kedro.evaluation.linear_probe import ProbeConfig
from ssl_kedro.evaluation.overview import OverviewConfig
from ssl_kedro.gating.cost import NetworkCost
from ssl_kedro.pipelines.gated.embed_parameters import (
    EMBED,
    FIND,
    EmbedParameters,
    FindParameters,
)
from ssl_kedro.pipelines.gated.inference.parameters import HubParameters, InferenceParameters
from ssl_kedro.pipelines.gated.methods_of_run import MethodsOfRun
from ssl_kedro.pipelines.gated.own.parameters import OwnParameters
from ssl_kedro.pipelines.gated.recipes import (
    Recipe,
)
from ssl_kedro.pipelines.gated.transfer_parameters import TransferParameters
from ssl_kedro.pipelines.gated.variants import gated_names
from ssl_kedro.pipelines.parameters import (
    Budgets,
    budget_list,
    checked_budgets,
    checked_device,
    checked_graphs,
    checked_workers,
)


def _with_list_of_shares(value: Any) -> Any:
    """Fine-tuning whose shares are a list, one number, or "0.1;1"; see :func:`budget_list`."""
    if not isinstance(value, Mapping) or "shares" not in value:
        return value
    return {**value, "shares": budget_list(value["shares"])}


class EncoderPipelineParameters(MethodsOfRun):
    """What every pipeline that trains gated encoders takes.

    Args:
        recipe: what a run without tags trains. "best" = one nested encoder for every budget;
            "authors" = the chapter's encoders, a training a budget, as the authors'
            code has it; "text" = these as the thesis prints it.
        recipes: parameters that a recipe replaces, by its name.
        budgets: shares of the dense cost, as a list or "0.1;0.3": targets t_d of gated encoders,
            and what that of recipe "best" is cut to. None = 10, 30 and 50 % for gated ones, as far
            as they can be reached, those of ``frontier`` for that.
        repeats: trainings of each model, with seeds seed, seed + 1, ...; the images stay those of
            the first. Tables then give mean and std over seeds, but Table 5.1, which is that of the
            first: without tags chapter 5 trains no others, except with recipe "best".
        probe: recipe of the linear evaluation; None = there is none.
        inference: how trained gated encoders are timed and exported.
        hub: the folder of what is to be deployed that ``--tags export`` writes for a model hub.
        overview: how images are looked at: near-duplicates, and without labels neighbours, groups.
        few_labels: how ``--tags few_labels`` fine-tunes trained encoders.
        embed: what ``--tags embed`` makes vectors of.
        find: what ``--tags find`` looks for among them.
        transfer: other data that encoders are evaluated on.
        own: how a run on somebody's own images is planned.
        keep_head: whether each encoder is also saved with the linear layer of its evaluation and
            the names of the classes.
        published: data set of the thesis whose figures stand beside the measured ones.
        published_data_is_ours: whether an environment's own data is that data set, so that
            differences mean something; see :attr:`on_published_data`.
    """

    recipe: Recipe = "authors"
    recipes: dict[Recipe, dict[str, Any]] = Field(default_factory=dict)
    budgets: Budgets | None = None
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    probe: ProbeConfig | None = None
    knn: KnnConfig = KnnConfig()
    inference: InferenceParameters = InferenceParameters()
    hub: HubParameters = HubParameters()
    overview: OverviewConfig = OverviewConfig()
    few_labels: Annotated[FineTuningConfig, BeforeValidator(_with_list_of_shares)] = (
        FineTuningConfig()
    )
    embed: EmbedParameters = EmbedParameters()
    find: FindParameters = FindParameters()
    transfer: TransferParameters = TransferParameters()
    own: OwnParameters = OwnParameters()
    keep_head: bool = False
    published: str = "CIFAR-10"
    published_data_is_ours: bool = False

    @property
    def on_published_data(self) -> bool:
        """Whether the measured data is the published data set: not where its source was changed.

        Environments say so of their own source; a run may name a folder in its place.
        """
        source = self.published.lower().replace("-", "")
        return self.published_data_is_ours and self.data.source == source

    @property
    def stem(self) -> str:
        """The encoder's first layers, which costs depend on, in words: "“cifar” stem"."""
        patch, stem = (getattr(self.encoder, name, None) for name in ("patch", "stem"))
        return f"patches of {patch} px" if patch else f"“{stem or 'own'}” stem"

    @property
    def gated_budgets(self) -> tuple[float, ...]:
        """Targets of encoders that are trained for a budget each."""
        reachable = (budget for budget in (0.1, 0.3, 0.5) if budget > self._cost.smallest_ratio)
        return self.budgets or tuple(reachable) or (0.5,)

    @property
    def _cost(self) -> NetworkCost:
        """Of the encoder with gates, at the size of whole images."""
        return cost_at(
            self.encoder,
            self.data.size,
            self.gates.reduction,
            gate_input_dependent=self.gates.input_dependent,
        )

    @property
    def for_every_budget(self) -> str:
        """The variant that ``recipe: best`` trains once for all budgets."""
        return next(name for name, made in self.peers.items() if made.derived == "budgeted")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for key, side in (("data.size", self.data.size), ("views.size", self.view_size)):
            self.encoder.check_side(key, side)
        cost = self._cost
        if self.budgets is not None or self.recipe != "best":
            checked_budgets(self.gated_budgets, cost)
        # How little a network that is cut can cost is asked only of runs that cut one.
        checked_budgets(self.frontier.budgets, None, "frontier.budgets")
        checked_device(self.train.device)
        checked_graphs(self.train)
        checked_workers(self.train)
        self.inference.check(gated_names(self.variants), cost, self.encoder)
        self.check_methods()
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _of_recipe(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """The parameters with what their recipe replaces; a fault in any recipe is refused.

        Defined last, so that the checks above see what each recipe makes of the parameters.
        """
        found = {"": handler(value)}
        for name, changes in found[""].recipes.items():
            # The catalog reads the run's own, whatever the recipe.
            shape = changes.get("encoder")
            place = place_of_weights(shape.get("init")) if isinstance(shape, Mapping) else None
            if isinstance(place, Mapping):
                expected = "a catalog name; files are named in encoder.init"
                raise ConfigError(f"recipes.{name}.encoder.init", dict(place), expected)
            try:
                found[name] = handler(merged(value, changes))
            except ValidationError as error:
                faults = [
                    InitErrorDetails({**fault, "loc": ("recipes", name, *fault["loc"])})  # type: ignore[typeddict-unknown-key]
                    for fault in error.errors()
                ]
                raise ValidationError.from_exception_data(cls.__name__, faults) from None
        return found.get(found[""].recipe, found[""])

    def as_published(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the run by the keys of ``reporting/published/recipe_*.json``."""
        return {
            "data.source": self.data.source,
            **{f"encoder.{key}": value for key, value in shape_values(self.encoder).items()},
            "encoder.architecture": self._backbone,
            "image_size": self.data.size,
            "view_size": self.view_size,
            **{f"train.{name}": getattr(self.train, name) for name in _PUBLISHED_TRAIN},
            "expander.output": self.expander.output,
            **{f"gates.{name}": getattr(self.gates, name) for name in _PUBLISHED_GATES},
            **{f"images.{name}": n for name, n in manifest["data"]["images"].items()},
        }

    @property
    def further_tags(self) -> Sequence[str]:
        """Peers, the encoder for every budget, few labels, files; an encoder as it is, or used."""
        return ("frontier", "best", "few_labels", "export", "evaluate", EMBED, FIND)

    def check_alone(self, tags: Sequence[str], asked: Sequence[str]) -> None:
        """Refuse other tags of the pipeline beside some that train nothing.

        Args:
            tags: that do not go with others.
            asked: tags of the run.

        Raises:
            ConfigError: naming all that were asked for.
        """
        if others := sorted({*asked} & {*self.further_tags} - {*tags}):
            expected = f"{' and '.join(tags)} without other tags"
            raise ConfigError("--tags", ",".join([*tags, *others]), expected)

    def check_missing(self, name: str) -> None:
        """As for all, and say what ``--tags embed`` and ``--tags find`` need of earlier runs.

        Raises:
            InputError: it is not there.
        """
        super().check_missing(name)
        pipeline, _, what = name.partition(".")
        again = "with the same --env and --params run=NAME, if you give any"
        if what in ("embeddings", "embedding_index"):
            remedy = f"run --tags {EMBED} first, {again}"
            raise InputError(f"--tags {FIND}", "no index here", "that of an earlier run", remedy)
        if what == "encoder_to_use" or name == self.embed.encoder:
            key, given = f"{pipeline}.{EMBED}.encoder", self.embed.encoder
            raise InputError(
                key,
                f"{getattr(given, 'file', given)!r}, which is not there",
                "a trained encoder, by its folder or its catalog name, or one of this room",
                f"train one first: kedro run --pipeline {pipeline}, {again}",
            )

    def check_seen(self, node: str, constants: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        """Refuse batches and votes of more images than there are, and batches of the wrong size."""
        if node == "pretrain":
            self.check_batches(constants["training"], seen.get("images"))
        count = seen.get("train_images", self.knn.k)
        if _judges(node) and count < self.knn.k:
            raise ConfigError(
                "knn.k", self.knn.k, f"at most {count}, the number of training images"
            )

    @property
    def _backbone(self) -> str:
        """The architecture, and its blocks a stage where they are not its own."""
        stages = shape_values(self.encoder).get("stages")
        return f"{self.encoder.architecture}{'' if stages is None else f' of {stages} blocks'}"


_PUBLISHED_TRAIN = ("epochs", "batch_size", "optimiser", "lr")
_PUBLISHED_GATES = ("sparsity", "bound", "warmup", "steering")


def _judges(node: str) -> bool:
    """Whether a node names images by their neighbours."""
    return node in ("evaluate", "measure_baselines", "evaluate_given", "measure_given_baselines")
