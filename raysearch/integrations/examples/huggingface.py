"""The digits as sentences of 64 words for a small BERT. Three lines are the search's.

They are the import, `callbacks` and `resume_from_checkpoint`. Nothing is downloaded.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset, random_split
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from raysearch.integrations.huggingface import SearchCallback, resume_path


class Sentences(Dataset[dict[str, Any]]):
    """A picture's pixels in order, each a word of 17."""

    def __init__(self) -> None:
        images, labels = load_digits(return_X_y=True)
        self.words, self.labels = torch.tensor(images, dtype=torch.long), torch.tensor(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self.words[index], "labels": self.labels[index]}


def accuracy(predictions: Any) -> dict[str, float]:
    """The part of the pictures that are recognised."""
    return {"accuracy": float((predictions.predictions.argmax(1) == predictions.label_ids).mean())}


def model(config: dict[str, Any]) -> BertForSequenceClassification:
    """A BERT of one layer."""
    shape = BertConfig(
        vocab_size=17,
        pad_token_id=None,
        hidden_size=config["width"],
        intermediate_size=2 * config["width"],
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        hidden_dropout_prob=config["dropout"],
    )
    shape.num_labels = 10
    return BertForSequenceClassification(shape)


def train(config: dict[str, Any]) -> None:
    """Trains for as many epochs as the strategy allows."""
    train, validation = random_split(Sentences(), [0.8, 0.2], torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as output:
        args = TrainingArguments(
            output,
            num_train_epochs=config["max_iterations"],
            learning_rate=config["lr"],
            weight_decay=config["weight_decay"],
            per_device_train_batch_size=16,
            per_device_eval_batch_size=128,
            eval_strategy="epoch",
            use_cpu=True,
            disable_tqdm=True,
            report_to=[],
        )
        trainer = Trainer(
            model(config),
            args,
            train_dataset=train,
            eval_dataset=validation,
            compute_metrics=accuracy,
            callbacks=[SearchCallback(config)],
        )
        trainer.train(resume_from_checkpoint=resume_path())
