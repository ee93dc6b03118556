"""Parameters of pipelines that train encoders: what chapters 5 and 6 share."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.core.config import Config, ConfigError
from ssl_kedro.encoders.factory import DEFAULT, cost_at, shape_values
from ssl_kedro.encoders.frozen import InitialWeights, origin_of, place_of_weights
from ssl_kedro.evaluation.fine_tuning import FineTuningConfig
from ssl_kedro.evaluation.knn import KnnConfig
from ssl_kedro.evaluation.linear_probe import ProbeConfig
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.gating.cost import NetworkCost
from ssl_kedro.images.load import DataConfig
from ssl_kedro.losses.vicreg import VICRegConfig
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.plan import method_classes
from ssl_kedro.pipelines.gated.frontier.parameters import FrontierParameters
from ssl_kedro.pipelines.gated.inference.parameters import HubParameters, InferenceParameters
from ssl_kedro.pipelines.gated.recipes import (
    Initial,
    Recipe,
    changed_recipe,
    merged,
    validated_config,
)
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.gated.transfer_parameters import TransferParameters
from ssl_kedro.pipelines.gated.variants import Variant, gated_names, has_gates
from ssl_kedro.pipelines.parameters import (
    Budgets,
    MethodParameters,
    PipelineParameters,
    ShapeOfEncoder,
    budget_list,
    checked_budgets,
    checked_device,
    checked_graphs,
    checked_workers,
)
from ssl_kedro.training.config import TrainConfig


def _with_list_of_shares(value: Any) -> Any:
    """Fine-tuning whose shares are a list, one number, or "0.1;1"; see :func:`budget_list`."""
    if not isinstance(value, Mapping) or "shares" not in value:
        return value
    return {**value, "shares": budget_list(value["shares"])}


class EncoderPipelineParameters(PipelineParameters):
    """What every pipeline that trains gated encoders takes.

    Args:
        recipe: what a run without tags trains. "best" = one nested encoder for every budget;
            "authors" = the chapter's encoders, a training a budget, as the authors'
            code has it; "text" = these as the thesis prints it.
        recipes: parameters that a recipe replaces, by its name.
        seed: of weights, order, views, gate noise, subsets and probes.
        budgets: shares of the dense cost, as a list or "0.1;0.3": targets t_d of gated encoders,
            and what that of recipe "best" is cut to. None = 10, 30 and 50 % for gated ones, as far
            as they can be reached, those of ``frontier`` for that.
        repeats: trainings of each model, with seeds seed, seed + 1, ...; the images stay those of
            the first. Tables then give mean and std over seeds, but Table 5.1, which is that of the
            first: without tags chapter 5 trains no others, except with recipe "best".
        probe: recipe of the linear evaluation; None = there is none.
        init: trained weights that encoders of the run's own width begin with, ``encoder.init`` in
            files: a bundle's folder, ``file`` and ``kind`` (one of ``importers.KINDS``), or the
            catalog name of an encoder, also of one that the run trains. None = random ones.
        methods: what single methods do differently, by name.
        inference: how trained gated encoders are timed and exported.
        frontier: what ``--tags frontier`` compares gated encoders with.
        hub: the folder of what is to be deployed that ``--tags export`` writes for a model hub.
        few_labels: how ``--tags few_labels`` fine-tunes trained encoders.
        transfer: other data that encoders are evaluated on.
        keep_head: whether each encoder is also saved with the linear layer of its evaluation and
            the names of the classes.
        published: data set of the thesis whose figures stand beside the measured ones.
        published_data_is_ours: whether an environment's own data is that data set, so that
            differences mean something; see :attr:`on_published_data`.
    """

    # The method whose untrained encoder is the random one, and one that uses the gates.
    dense_method: ClassVar[str]
    gated_method: ClassVar[str]
    # The chapter's own models, by name in reports.
    variants: ClassVar[Mapping[str, Variant]]
    # What `--tags frontier` compares them with, by name in reports.
    peers: ClassVar[Mapping[str, Variant]]

    recipe: Recipe = "authors"
    recipes: dict[Recipe, dict[str, Any]] = Field(default_factory=dict)
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    budgets: Budgets | None = None
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    data: DataConfig = DataConfig()
    views: ViewConfig = ViewConfig()
    encoder: ShapeOfEncoder = DEFAULT.config_type()
    # Stands beside the shape in files, and is none of it: an encoder does not depend on its past.
    init: Annotated[Initial, Field(alias="encoder.init")] = None
    expander: ExpanderConfig = ExpanderConfig()
    gates: GateConfig = GateConfig()
    train: TrainConfig = TrainConfig()
    probe: ProbeConfig | None = None
    knn: KnnConfig = KnnConfig()
    methods: dict[str, MethodParameters] = Field(default_factory=dict)
    inference: InferenceParameters = InferenceParameters()
    frontier: FrontierParameters = FrontierParameters()
    hub: HubParameters = HubParameters()
    few_labels: Annotated[FineTuningConfig, BeforeValidator(_with_list_of_shares)] = (
        FineTuningConfig()
    )
    transfer: TransferParameters = TransferParameters()
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
    def shared_options(self) -> dict[str, Config]:
        """Options that stand once for all methods that have them, by name."""
        return {"vicreg": VICRegConfig()}

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
        known = method_classes()
        for name in self.methods:
            if name not in known:
                raise ConfigError("methods", name, f"names among {', '.join(sorted(known))}")
            self.train_config(name)
            self.method_config(name)
        students = {one.method for one in {**self.variants, **self.peers}.values() if one.student}
        for name, found in self.methods.items():
            if found.init and name in students:
                raise ConfigError(f"methods.{name}.init", found.init, "null: its teacher trains it")
        for name, variant in self.further_variants().items():
            where = f"frontier.variants.{name}"
            self.train_config(variant.method, variant.train, where)
            self.method_config(variant.method, variant.gates, variant.options, where)
        return self

    @model_validator(mode="before")
    @classmethod
    def _beside_the_shape(cls, value: Any) -> Any:
        """Parameters with ``encoder.init`` by that name, which files have inside ``encoder``."""
        if not isinstance(value, Mapping) or not isinstance(value.get("encoder"), Mapping):
            return value
        shape = dict(value["encoder"])
        init = shape.pop("init", value.get("encoder.init"))
        return {**value, "encoder.init": init, "encoder": shape}

    @model_serializer(mode="wrap")
    def _inside_the_shape(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Plain values as files have them."""
        values: dict[str, Any] = write(self)
        values["encoder"] = {**values["encoder"], "init": values.pop("init")}
        return values

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

    def further_variants(self) -> dict[str, Variant]:
        """Models of ``frontier.variants``, each with what it does otherwise than its namesake.

        Raises:
            ConfigError: one that is named after no model that stands on its own.
        """
        alone = {
            name: made
            for name, made in self.variants.items()
            if not (made.student or made.ablation)
        }
        known, found = alone | dict(self.peers), {}
        for name, changes in self.frontier.variants.items():
            base, _, word = name.partition("-")
            if base not in known or not re.fullmatch(r"[A-Za-z0-9_]+", word):
                expected = f'a model and a word, "thin-longer"; models: {", ".join(known)}'
                raise ConfigError("frontier.variants", name, expected)
            idle = ["train", "options"] if known[base].derived == "pruned" else []
            idle += [] if has_gates(f"{base}.budget_30") else ["gates"]
            if nothing := [field for field in idle if getattr(changes, field)]:
                key = f"frontier.variants.{name}.{nothing[0]}"
                raise ConfigError(key, getattr(changes, nothing[0]), f"nothing: {base} has none")
            found[name] = dataclasses.replace(
                known[base],
                train=changes.train,
                options=changes.options,
                gates={**known[base].gates, **changes.gates},
            )
        return found

    def method_config(
        self,
        method: str,
        gates: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        where: str = "",
    ) -> MethodConfig:
        """What a method reads: heads, gates and its own options.

        Args:
            method: its name.
            gates: gate parameters that differ from the run's.
            options: options that differ from the method's own.
            where: these stand; "" = with the method.

        Raises:
            ConfigError: the method's options cannot be used.
        """
        kind = method_classes()[method].options_type
        own = {field.name for field in dataclasses.fields(kind)}
        given: dict[str, Any] = {
            name: value for name, value in self.shared_options.items() if name in own
        }
        given |= self.methods.get(method, MethodParameters()).options | dict(options or {})
        where = where or f"methods.{method}"
        made = validated_config(kind, given, f"{where}.options")
        of_gates = dataclasses.asdict(self.gates) | dict(gates or {})
        return MethodConfig(
            self.expander, validated_config(GateConfig, of_gates, f"{where}.gates"), made
        )

    def train_config(
        self, method: str, changes: Mapping[str, Any] | None = None, where: str = ""
    ) -> TrainConfig:
        """The training recipe with the method's overrides.

        Args:
            method: its name.
            changes: fields that count above those.
            where: these stand; "" = with the method.

        Raises:
            ConfigError: an override cannot be used.
        """
        given = self.methods.get(method, MethodParameters()).train | dict(changes or {})
        return changed_recipe(self.train, given, f"{where or f'methods.{method}'}.train")

    def recipe_key(self, method: str, field: str) -> str:
        """Where a field of a method's recipe is set."""
        own = field in self.methods.get(method, MethodParameters()).train
        return f"methods.{method}.train.{field}" if own else f"train.{field}"

    def _key_of(self, training: Training, part: Literal["train", "options"], field: str) -> str:
        """Where a field of a training's recipe or options is set."""
        own = (training.method, training.train, training.options)
        for name, variant in self.further_variants().items():
            set_there = field in getattr(training, part)
            if set_there and own == (variant.method, variant.train, variant.options):
                return f"frontier.variants.{name}.{part}.{field}"
        if part == "train":
            return self.recipe_key(training.method, field)
        return f"methods.{training.method}.options.{field}"

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
        """Peers, the encoder for every budget, few labels, files, and an encoder as it is."""
        return ("frontier", "best", "few_labels", "export", "evaluate")

    def initial(self, pipeline: str, method: str) -> str:
        """Catalog name of the encoder that a method's own begin with; "" = none."""
        init = self.methods.get(method, MethodParameters()).init or self.init
        from_file = f"{pipeline}.start" if init else ""
        return init if isinstance(init, str) else from_file

    def begins_with_dense(self, method: str) -> bool:
        """Whether a method's encoders begin with the run's own dense baseline."""
        return self._of_dense(self.init_of(method))

    def init_of(self, method: str) -> InitialWeights | str | None:
        """Where the weights lie that a method's encoders begin with; not those of its own."""
        init = self.methods.get(method, MethodParameters()).init or self.init
        itself = method == self.dense_method and self._of_dense(init)
        return None if itself else init

    def _of_dense(self, init: InitialWeights | str | None) -> bool:
        return isinstance(init, str) and init.split(".")[1:2] == [self.dense_method]

    def check_missing(self, name: str) -> None:
        """Refuse weights to begin with that are not there."""
        if isinstance(self.init, InitialWeights) and name.endswith(".start"):
            expected = f"a file that exists, from {origin_of(self.init.kind)}"
            raise ConfigError("encoder.init.file", self.init.file, expected)
        keys = {"encoder.init": self.init}
        keys |= {f"methods.{of}.init": found.init for of, found in self.methods.items()}
        for key in (key for key, init in keys.items() if init == name):
            path = "a path with a slash, or " * (key == "encoder.init")
            expected = (
                f"{path}the catalog name of an encoder that this run trains or an earlier one has "
                'left, such as "dual_gating.vicreg.encoder"'
            )
            raise ConfigError(key, name, expected)

    def check_seen(self, node: str, constants: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        """Refuse batches and votes of more images than there are, and batches of the wrong size."""
        if node == "pretrain":
            self._check_batches(constants["training"], seen.get("images"))
        count = seen.get("train_images", self.knn.k)
        if _judges(node) and count < self.knn.k:
            raise ConfigError(
                "knn.k", self.knn.k, f"at most {count}, the number of training images"
            )

    def _check_batches(self, training: Training, count: int | None) -> None:
        """Refuse batches of a training that its method cannot take, or of more images than seen."""
        train = self.train_config(training.method, training.train)
        config = self.method_config(training.method, training.gates, training.options)
        if count is not None and train.batch_size > count:
            expected = f"at most {count}, the number of training images"
            raise ConfigError(
                self._key_of(training, "train", "batch_size"), train.batch_size, expected
            )
        try:
            kind = method_classes()[training.method]
            kind.check_batch(config, train.batch_size, train.processes)
        except ConfigError as error:
            key = self._key_of(training, "options", error.field)
            raise ConfigError(key, error.value, error.expected) from error

    @property
    def _backbone(self) -> str:
        """The architecture, and its blocks a stage where they are not its own."""
        stages = shape_values(self.encoder).get("stages")
        return f"{self.encoder.architecture}{'' if stages is None else f' of {stages} blocks'}"

    @property
    def view_size(self) -> int:
        """Side in px of the views that the encoder is trained on."""
        return self.views.size or self.data.size


_PUBLISHED_TRAIN = ("epochs", "batch_size", "optimiser", "lr")
_PUBLISHED_GATES = ("sparsity", "bound", "warmup", "steering")


def _judges(node: str) -> bool:
    """Whether a node names images by their neighbours."""
    return node in ("evaluate", "measure_baselines", "evaluate_given", "measure_given_baselines")
