"""Weights & Biases' client as a trial of raysearch knows it: `config` and `log`, and nothing is sent.

A script that is searched imports this in place of the real client. `wandb.config` holds the trial's values,
`wandb.log` hands metrics to the search, and returns when the training may go on. Runs, charts and media are
taken and dropped. What goes to W&B is the search's matter: `wandb:` in its spec.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import raysearch_line  # type: ignore[import-not-found]  # beside this package, in a script's process

from . import _submodules

__version__ = "0.31.0"
MEDIA = (
    *("Image", "Video", "Audio", "Table", "Histogram", "Html", "Object3D", "Molecule", "Plotly", "Graph"),
    *("Artifact", "Settings", "AlertLevel", "JoinedTable", "Classes", "Bokeh"),
)
PACKAGES = ("apis", "data_types", "errors", "integration", "sdk", "util")
SWEEPS = "wandb.{name}: this script is a trial of a search already; leave it to `raysearch launch`"


class Config(Mapping[str, Any]):
    """`wandb.config`: the trial's values, which a script cannot change, and the script's own."""

    def __init__(self) -> None:
        file = os.environ.get("RAYSEARCH_CONFIG")
        given: dict[str, Any] = {}
        if file:
            with open(file, encoding="utf-8") as opened:
                given = json.load(opened)
        self.__dict__["_given"], self.__dict__["_items"] = given, dict(given)

    def update(self, values: Any, allow_val_change: Any = None) -> None:
        """Takes in values of the script's own; those of the trial stay."""
        found = values if isinstance(values, Mapping) else vars(values)  # argparse's Namespace
        self._items.update({str(k): v for k, v in found.items() if k not in self._given})

    def setdefaults(self, values: Any) -> None:
        """As `update`, for names that have no value yet."""
        self.update({name: value for name, value in dict(values).items() if name not in self._items})

    def as_dict(self) -> dict[str, Any]:
        """A copy as a dict."""
        return dict(self._items)

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self._items:
            raise AttributeError(f"wandb.config has no {name!r}; it has {', '.join(self._items)}")
        return self._items[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of that name, or `default`."""
        return self._items.get(name, default)


class Nothing:
    """Takes whatever is done with it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is kept."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


class Summary(dict[str, Any]):
    """`run.summary`: what the script sets counts where the metric was never logged; else last values."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["logged"] = {}

    def __missing__(self, name: str) -> Any:
        return self.logged[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.logged

    def get(self, name: str, default: Any = None) -> Any:
        """The value set, or logged last, or `default`."""
        return super().get(name, self.logged.get(name, default))

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


class Run:
    """The one run of this process."""

    id = name = "trial"
    project = entity = group = job_type = notes = sweep_id = url = None
    tags: tuple[str, ...] = ()
    resumed = disabled = offline = False

    def __init__(self) -> None:
        self.config, self.summary = config, Summary()
        self.dir = os.environ.get("RAYSEARCH_TRIAL_DIR", ".")
        self.step = 0
        self._held: dict[str, Any] = {}

    def log(
        self,
        data: Mapping[str, Any],
        step: int | None = None,
        commit: bool | None = None,
        sync: bool | None = None,
    ) -> None:
        """Hands the numbers to the search; with `commit=False`, together with the next ones."""
        self._held.update(flat(data))
        if commit is False:
            return
        metrics, self._held = self._held, {}
        self.summary.logged.update(metrics)
        self.step = self.step + 1 if step is None else step
        send({"metrics": metrics})

    def finish(self, *args: Any, **kwargs: Any) -> None:
        """Hands over what was held back, and the summary."""
        global run
        if self._held:
            self.log({})
        if len(self.summary):
            send({"metrics": flat(self.summary), "summary": True})
            self.summary.clear()
        if run is self:
            run = None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: Any) -> None:
        self.finish()

    def __getattr__(self, name: str) -> Any:
        if name not in IGNORED and (name.startswith("__") or not name.startswith("_")):
            raise AttributeError(f"wandb.Run.{name} is not known to raysearch's stand-in for wandb")
        return Nothing()


IGNORED = (
    *("watch", "unwatch", "save", "define_metric", "alert", "log_artifact", "log_code", "log_model"),
    *(
        "mark_preempting",
        "use_artifact",
        "use_model",
        "link_artifact",
        "get_url",
        "status",
        "display",
        "upsert",
    ),
)
config = Config()
run: Run | None = None


def send(message: dict[str, Any]) -> None:
    """To the search, where this process is a trial."""
    if raysearch_line.is_open():
        raysearch_line.LINE.send(message)


def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested metrics as `outer.inner`, as W&B names them."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        found.update(
            flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
        )
    return found


def init(*args: Any, config: Any = None, **kwargs: Any) -> Run:
    """The run of this process; the trial's values go before those of `config`."""
    global run
    if config is not None and not isinstance(config, str):
        globals()["config"].update(config)
    if run is None:
        run = Run()
        atexit.register(run.finish)
    return run


def log(data: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
    """As `Run.log`. Raises RuntimeError before `init`, as W&B's own does."""
    if run is None:
        raise RuntimeError("You must call wandb.init() before wandb.log()")
    run.log(data, *args, **kwargs)


def finish(*args: Any, **kwargs: Any) -> None:
    """As `Run.finish`."""
    if run is not None:
        run.finish()


def login(*args: Any, **kwargs: Any) -> bool:
    """True; nobody is asked for a key."""
    return True


def _refused(name: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(SWEEPS.format(name=name))

    return refuse


Api, controller = _refused("Api"), _refused("controller")


def sweep(*args: Any, **kwargs: Any) -> str:
    """An id for `agent`: the search that this trial belongs to is the sweep."""
    return "trial"


def agent(sweep_id: Any = None, function: Callable[[], Any] | None = None, *args: Any, **kwargs: Any) -> None:
    """Calls the function once, with the trial's values.

    Raises:
        RuntimeError: there is none: the agent would start programs of its own.
    """
    if function is None:
        raise RuntimeError(SWEEPS.format(name="agent"))
    function()


_submodules.install()


def __getattr__(name: str) -> Any:
    """Media classes and functions that take anything; `summary` is the run's."""
    if name == "summary":
        return init().summary
    if name in PACKAGES:
        return importlib.import_module(f"wandb.{name}")
    if name in MEDIA or name == "plot" or name in IGNORED or name in ("setup", "teardown", "termlog"):
        return Nothing if name in MEDIA else Nothing()
    raise AttributeError(f"wandb.{name} is not known to raysearch's stand-in for wandb")
