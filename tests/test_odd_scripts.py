"""Scripts as people write them: what they print and log, and where they live, is theirs."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

import raysearch
from raysearch.results import Results


def searched(folder: Path, storage: Path, text: str, **more: Any) -> Results:
    """A search of the script: one trial of at most 6 iterations."""
    file = folder / "train.py"
    file.write_text(textwrap.dedent(text))
    return raysearch.search(
        {"program": str(file), "folder": str(folder), "args": []},
        space={"lr": {"uniform": [0.1, 0.2]}},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(samples=1, max_iterations=6, min_iterations=6, finish=None),
        storage=str(storage),
        executor="inline",
        say=lambda line: None,
        **more,
    )


LOOP = "for e in range(1, 4):"
SCRIPTS = {
    "its steps are not 1, 2, 3": f"""
        import wandb
        wandb.init()
        {LOOP}
            wandb.log({{"loss": 1 / e}}, step=100 * e)
        """,
    "it logs each number by itself": f"""
        import wandb
        wandb.init()
        {LOOP}
            wandb.log({{"acc": e}}, step=e)
            wandb.log({{"loss": 1 / e}}, step=e)
        """,
    "it logs batches too": f"""
        import wandb
        wandb.init()
        {LOOP}
            for batch in range(9):
                wandb.log({{"batch": batch}})
            wandb.log({{"loss": 1 / e}}, commit=False)
            wandb.log({{"acc": e}})
        """,
    "it prints what it logs": f"""
        import json, wandb
        wandb.init()
        {LOOP}
            print(json.dumps({{"loss": 1 / e}}))
            wandb.log({{"loss": 1 / e}})
        """,
    "it prints what it has logged": f"""
        import wandb
        wandb.init()
        {LOOP}
            wandb.log({{"loss": 1 / e}})
            print({{"loss": 1 / e}})
        """,
    "it reads its own numbers back": f"""
        import wandb
        run = wandb.init(config={{"net": {{"depth": 2}}}})
        assert wandb.run is run and wandb.config.net["depth"] == 2
        {LOOP}
            wandb.log({{"loss": 1 / e}})
            assert wandb.run.summary["loss"] == wandb.summary.get("loss") == 1 / e
        wandb.finish()
        assert wandb.run is None
        """,
    "it is its own agent": f"""
        import wandb
        def train():
            with wandb.init() as run:
                {LOOP}
                    run.log({{"loss": 1 / e}})
        wandb.agent(wandb.sweep({{"parameters": {{}}}}, project="p"), function=train, count=9)
        """,
    "it imports parts of wandb": f"""
        import wandb.sdk.lib
        from wandb.wandb_run import Run
        from wandb.sdk.lib.config_util import ConfigError
        assert isinstance(wandb.init(), Run) and issubclass(ConfigError, Exception)
        assert issubclass(wandb.errors.CommError, Exception)
        {LOOP}
            wandb.log({{"loss": 1 / e, "image": wandb.Image([[1]])}})
        """,
    "it changes its folder": f"""
        import json, os
        assert open("train.py").read()
        os.mkdir("inner")
        os.chdir("inner")
        {LOOP}
            print(json.dumps({{"loss": 1 / e}}))
        """,
    "it writes megabytes": f"""
        import sys
        {LOOP}
            for _ in range(2000):
                sys.stderr.write("x" * 1000 + chr(10))
            print({{"loss": 1 / e}})
        """,
    "it asks": f"""
        try:
            input("go on? ")
        except EOFError:
            pass
        {LOOP}
            print({{"loss": 1 / e}})
        """,
    "it does not listen to SIGTERM": f"""
        import json, signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        {LOOP}
            print(json.dumps({{"loss": 1 / e}}))
        """,
    "its log has prefixes": f"""
        import logging
        logging.basicConfig(level="INFO")
        {LOOP}
            logging.info("%s", {{"loss": 1 / e}})
        """,
}


@pytest.mark.parametrize("what", SCRIPTS)
def test_a_script_is_searched_as_it_is_though(what: str, tmp_path: Path, storage: Path) -> None:
    results = searched(tmp_path, storage, SCRIPTS[what])
    assert not results.trials().error.any()
    assert results.curves().loss.tolist() == pytest.approx([1.0, 1 / 2, 1 / 3])


def test_an_agent_without_a_function_is_refused_in_words(tmp_path: Path, storage: Path) -> None:
    text = """
        import wandb
        wandb.agent(wandb.sweep({}))
        """
    (error,) = searched(tmp_path, storage, text, retries=0).trials().error
    assert "wandb.agent: this script is a trial of a search already" in error


TRAINERS = {
    "lightning": (
        "val_loss",
        """
        import frameworks, sys, torch, lightning.pytorch as pl
        from lightning.pytorch.loggers import WandbLogger
        class Net(pl.LightningModule):
            def __init__(self):
                super().__init__()
                self.net = frameworks.layers()
            def training_step(self, batch, index):
                return ((self.net(batch[0]) - batch[1]) ** 2).mean()
            def validation_step(self, batch, index):
                self.log("val_loss", self.training_step(batch, index))
            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.1)
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(frameworks.X, frameworks.Y), 8)
        trainer = pl.Trainer(max_epochs=3, logger=WandbLogger(project="p"), enable_progress_bar=False,
                             accelerator="cpu", enable_checkpointing=False)
        trainer.fit(Net(), data, data)
        """,
    ),
    "huggingface": (
        "eval/loss",
        """
        import frameworks
        trainer = frameworks.huggingface_trainer({"root": ".", "lr": 0.1, "max_iterations": 3}, [])
        from transformers.integrations import WandbCallback
        trainer.add_callback(WandbCallback())
        trainer.args.eval_strategy, trainer.args.save_strategy = "epoch", "no"
        trainer.train()
        """,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("framework", TRAINERS)
def test_a_script_whose_framework_logs_to_wandb_is_searched_as_it_is(
    framework: str, tmp_path: Path, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric, text = TRAINERS[framework]
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{Path(__file__).parents[1]}")
    file = tmp_path / "train.py"
    file.write_text(textwrap.dedent(text))
    results = raysearch.search(
        {"program": str(file), "folder": str(tmp_path), "args": []},
        space={"lr": {"uniform": [0.1, 0.2]}},
        metric=metric,
        mode="min",
        strategy=raysearch.Caviar(samples=1, max_iterations=3, min_iterations=3, finish=None),
        storage=str(storage),
        executor="inline",
        say=lambda line: None,
    )
    assert results.trials().iterations.tolist() == [3]
    assert results.curves()[metric].nunique() == 3
