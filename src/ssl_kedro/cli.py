"""Kedro's ``run``, and a word on runners that there are none of; Kedro finds this by its name."""

import copy
import functools
from typing import Any

import click
from kedro.framework.cli.utils import LazyGroup

cli = LazyGroup("ssl_kedro", lazy_subcommands={"run": "ssl_kedro.cli.run"})


def __getattr__(name: str) -> click.Command:
    """The command, made when it is asked for: others should not wait for its imports."""
    if name != "run":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kedro.framework.cli.project import run  # noqa: PLC0415

    made = copy.copy(run)
    made.callback = functools.partial(_run, run.callback)
    made.params = [_parsed_or_told(option) for option in run.params]
    return made


def _parsed_or_told(option: click.Parameter) -> click.Parameter:
    """An option whose value, where Kedro cannot parse it, is named in place of a traceback."""
    parse = option.callback
    if option.name != "params" or parse is None:
        return option

    def told(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        from omegaconf.errors import OmegaConfBaseException  # noqa: PLC0415
        from yaml import YAMLError  # noqa: PLC0415

        try:
            return parse(context, parameter, value)
        except (YAMLError, OmegaConfBaseException) as error:
            what = getattr(error, "problem", None) or str(error)
            raise click.BadParameter(
                f"{value}: expected key=value,key=value with values as in YAML, found {what}"
            ) from None

    made = copy.copy(option)
    made.callback = told
    return made


def _run(kedro_run: Any, **options: Any) -> Any:
    """Refuse a runner that cannot be made before Kedro tries to.

    Raises:
        click.ClickException: naming the runner and those that there are.
    """
    from kedro import runner  # noqa: PLC0415
    from kedro.utils import load_obj  # noqa: PLC0415

    from ssl_kedro.core.errors import first_line, nearest  # noqa: PLC0415

    known = ["SequentialRunner", "ThreadRunner"]
    given = options.get("runner") or known[0]
    try:
        kind = load_obj(given, "kedro.runner")
        usable = issubclass(kind, runner.AbstractRunner)
    except (AttributeError, ImportError, TypeError, ValueError):
        usable = False
    if not usable:
        raise click.ClickException(f"--runner {given}: there is none; {nearest(given, known)}")
    try:
        kind(**options.get("runner_params") or {})
    except (TypeError, ValueError) as error:
        raise click.ClickException(f"--runner-params: {given} says: {first_line(error)}") from None
    return kedro_run(**options)
