"""Parameters of trainings: the encoder, its methods, and what each does differently."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.core.config import Config, ConfigError
from ssl_kedro.encoders.factory import DEFAULT
from ssl_kedro.encoders.frozen import InitialWeights, origin_of
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.images.load import DataConfig
from ssl_kedro.losses.vicreg import VICRegConfig
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.plan import method_classes
from ssl_kedro.pipelines.changes import validated_config
from ssl_kedro.pipelines.gated.frontier.parameters import FrontierParameters
from ssl_kedro.pipelines.gated.recipes import Initial, changed_recipe
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.gated.variants import Variant, has_gates
from ssl_kedro.pipelines.parameters import (
    MethodParameters,
    PipelineParameters,
    ShapeOfEncoder,
)
from ssl_kedro.training.config import TrainConfig


class MethodsOfRun(PipelineParameters):
    """What a run trains, by method.

    Args:
        seed: of weights, order, views, gate noise, subsets and probes.
        init: trained weights that encoders of the run's own width begin with, ``encoder.init`` in
            files: a bundle's folder, ``file`` and ``kind`` (one of ``importers.KINDS``), or the
            catalog name of an encoder, also of one that the run trains. None = random ones.
        methods: what single methods do differently, by name.
        frontier: what ``--tags frontier`` compares gated encoders with.
    """

    # The method whose untrained encoder is the random one, and one that uses the gates.
    dense_method: ClassVar[str]
    gated_method: ClassVar[str]
    # The chapter's own models, by name in reports.
    variants: ClassVar[Mapping[str, Variant]]
    # What `--tags frontier` compares them with, by name in reports.
    peers: ClassVar[Mapping[str, Variant]]

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: DataConfig = DataConfig()
    views: ViewConfig = ViewConfig()
    encoder: ShapeOfEncoder = DEFAULT.config_type()
    # Stands beside the shape in files, and is none of it: an encoder does not depend on its past.
    init: Annotated[Initial, Field(alias="encoder.init")] = None
    expander: ExpanderConfig = ExpanderConfig()
    gates: GateConfig = GateConfig()
    train: TrainConfig = TrainConfig()
    methods: dict[str, MethodParameters] = Field(default_factory=dict)
    frontier: FrontierParameters = FrontierParameters()

    @property
    def view_size(self) -> int:
        """Side in px of the views that the encoder is trained on."""
        return self.views.size or self.data.size

    @property
    def training_views(self) -> ViewConfig:
        """The recipe of the views, with their size: whole pictures do not tell it."""
        return dataclasses.replace(self.views, size=self.view_size)

    @property
    def shared_options(self) -> dict[str, Config]:
        """Options that stand once for all methods that have them, by name."""
        return {"vicreg": VICRegConfig()}

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

    def check_methods(self) -> None:
        """Refuse methods that there are none of, and what single ones cannot do."""
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
            bundle = self.init.kind == "bundle"  # a path alone names one
            what, key = ("folder", "") if bundle else ("file", ".file")
            expected = f"a {what} that exists, from {origin_of(self.init.kind)}"
            raise ConfigError(f"encoder.init{key}", self.init.file, expected)
        keys = {"encoder.init": self.init}
        keys |= {f"methods.{of}.init": found.init for of, found in self.methods.items()}
        for key in (key for key, init in keys.items() if init == name):
            path = "a path with a slash, or " * (key == "encoder.init")
            expected = (
                f"{path}the catalog name of an encoder that this run trains or an earlier one has "
                'left, such as "dual_gating.vicreg.encoder"'
            )
            raise ConfigError(key, name, expected)

    def check_batches(self, training: Training, count: int | None) -> None:
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
