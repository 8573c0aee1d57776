"""Hugging Face's Trainer on 300 MNIST digits: a collator gives its model the names it wants.

    pip install vae-augment "transformers[torch]"
    python examples/with_transformers.py

Nothing is downloaded: the digits come with the package. The first run fits a bank, later ones find it in the cache.
"""

import argparse
import tempfile

import torch
from torch.utils.data import random_split
from torchvision.transforms import ToTensor
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments, set_seed

from vae_augment import VAEAugmentedDataset
from vae_augment.mnist_sample import MNISTSample


def collate(items):
    images, labels = zip(*items, strict=True)
    return {"pixel_values": torch.stack(images), "labels": torch.tensor(labels)}


def accuracy(predicted):
    return {"accuracy": (predicted.predictions.argmax(1) == predicted.label_ids).mean()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="training steps")
    steps = parser.parse_args().steps

    set_seed(0)
    train_ds, _ = random_split(MNISTSample(transform=ToTensor()), [300, 4700])
    test_ds = MNISTSample(train=False, transform=ToTensor())

    train_ds = VAEAugmentedDataset(train_ds)  # the line to add

    small = {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"}
    model = ResNetForImageClassification(ResNetConfig(num_channels=1, num_labels=10, **small))
    options = {"learning_rate": 3e-3, "per_device_train_batch_size": 50, "dataloader_num_workers": 2}
    quiet = {"remove_unused_columns": False, "save_strategy": "no", "report_to": "none"}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(folder, max_steps=steps, **options, **quiet)
        datasets = {"train_dataset": train_ds, "eval_dataset": test_ds}
        trainer = Trainer(model, arguments, data_collator=collate, compute_metrics=accuracy, **datasets)
        loss = trainer.train().training_loss
        hits = trainer.evaluate()["eval_accuracy"]
    print(f"after {steps} steps: mean loss {loss:.3f}, test accuracy {100 * hits:.1f} %")


if __name__ == "__main__":
    main()
