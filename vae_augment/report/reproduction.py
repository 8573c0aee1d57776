"""The command or the call that reproduces a bank."""

from __future__ import annotations

import math
import shlex
from dataclasses import fields
from typing import Any

from vae_augment.bank import VAEBank
from vae_augment.config import COMPONENTS, FitConfig
from vae_augment.data import SAMPLE_SOURCE
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.model.network_vae import NetworkVAE

BY_NAME = ("torchvision", SAMPLE_SOURCE)  # data with a name; other data has a path, which a bank does not keep
FROM_PYTHON = "dataset object"


def reproduction(bank: VAEBank) -> str:
    """The shell command that reproduces a bank, or the Python call if it was fitted by one.

    A bank does not keep the path of its data: PATH/TO/ stands before its name. For a bank whose classes were changed
    since, it is the fit that its options and policy come from.
    """
    changed, data = _changed(bank), data_option(bank)
    if data is None or isinstance(bank.vae, NetworkVAE):
        options = ", ".join(f"{name}={value!r}" for name, value in changed.items())
        others = ", unlabelled=others" if "unlabelled" in bank.data else ""
        others += ", networks=networks" if isinstance(bank.vae, NetworkVAE) else ""
        return f"fit(dataset{others}, config=FitConfig({options}), seed={bank.data.get('seed', 0)})"
    words = ["vae-augment", "fit", "--data", data]
    if unlabelled := bank.data.get("unlabelled", {}).get("name"):
        words += ["--unlabelled", unlabelled]
    if bank.data.get("per_class") is not None:
        words += ["--per-class", str(bank.data["per_class"])]
    for option, value in changed.items():
        follows = option == "exemplars" and bank.config.share
        if not (isinstance(value, bool) or value == "custom" or follows):
            words += [f"--{option.replace('_', '-')}", str(value)]
    if bank.config.share:
        words.append("--share")
    words += ["--seed", str(bank.data.get("seed", 0))]
    if bank.data.get("skipped"):
        words += ["--on-error", "skip"]
    return shlex.join(words)


def data_option(bank: VAEBank) -> str | None:
    """The --data of a bank's data; None if the bank was fitted in Python."""
    source = bank.data.get("source")
    if source in (None, FROM_PYTHON):
        return None
    return named(f"{bank.data.get('name')}{bank.data.get('ending') or ''}", source)


def named(name: str, source: str) -> str:
    """The name of data as an option of a command: that of a path stands for the path, which a bank does not keep."""
    return name if source in BY_NAME else f"PATH/TO/{name}"


def _changed(bank: VAEBank) -> dict[str, Any]:
    """The options that differ from their defaults for this preset, and number of images and of components."""
    components = bank.vae.components
    if (
        isinstance(bank.vae, ConvVAE) and components and bank.config.components is None
    ):  # fewer latent dimensions that were asked for have fewer
        components = min(COMPONENTS, bank.image_shape[0] * math.prod(bank.vae.reduced))
    usual = FitConfig(preset=bank.config.preset).resolve(bank.data.get("images") or 0, components)
    options = {field.name: getattr(bank.config, field.name) for field in fields(FitConfig)}
    return {
        name: value
        for name, value in options.items()
        if value != getattr(FitConfig() if name == "preset" else usual, name)
    }
