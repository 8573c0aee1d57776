"""fit: a labelled image dataset in, a bank out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vae_augment.bank import VAEBank
from vae_augment.bank.content import without_figures
from vae_augment.bank.matching import check_bank
from vae_augment.config import FitConfig
from vae_augment.data import open_unlabelled
from vae_augment.data.loading import common_shape, load_images, outliers_said
from vae_augment.data.source import Source
from vae_augment.data.unlabelled import Unlabelled, others_than
from vae_augment.exceptions import DataWarning, FitWarning, check_type, check_whole, warn
from vae_augment.files.class_names import check_names
from vae_augment.fitting.checkpoint import Checkpoint, check_folder
from vae_augment.fitting.components import number_of_components
from vae_augment.fitting.membership import attack, hold_out
from vae_augment.fitting.stages import Fitter
from vae_augment.fitting.training_log import TrainingLog
from vae_augment.images.conversion import common_range
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.model.devices import choose_device
from vae_augment.model.network_vae import Networks, NetworkVAE
from vae_augment.model.vae import VAE
from vae_augment.processes import own_defaults
from vae_augment.progress import progress_bar
from vae_augment.seeding import check_seed, derive, generator

logger = logging.getLogger(__name__)

RECIPE = 23  # raised when the same data, options and seed come to give another bank


@torch.inference_mode(False)  # so that there are gradients, wherever it is called
@own_defaults()
def fit(
    dataset: Dataset[Any],
    *,
    config: FitConfig = FitConfig(),
    labels: Sequence[int | str] | Tensor | None = None,
    classes: Sequence[str | int] | None = None,
    start: VAEBank | None = None,
    unlabelled: Dataset[Any] | str | Path | None = None,
    networks: Networks | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
    tensorboard: str | Path | None = None,
) -> VAEBank:
    """Fit one VAE per class of a dataset.

    The VAEs see raw images: transforms of a torchvision-style dataset are set aside. The same dataset, options and seed
    give the same bank, byte for byte, on one machine with one version of torch and number of threads.

    Example:
        >>> bank = fit(torchvision.datasets.MNIST("data"), config=FitConfig(preset="fast"))

    Args:
        dataset: map-style, of (image, label) items; images are PIL images, arrays or tensors of 8x8 pixels or more.
        config: options of the fit. With `start` its model's shape is kept, and `FitConfig()` means the start's options.
        labels: integers or names [N], in place of the dataset's own. A dataset's own labels may also be booleans, or
            floats that hold whole numbers.
        classes: fit these only, by name or label; the others are used for the warm start alone.
        start: a bank to extend: `classes` (None: all of the dataset's) are fitted from its warm start and replace or
            join its classes, of which the others keep every byte. Classes are the same if their labels are, integers
            or names.
        unlabelled: further images, of the same classes or others: a dataset whose items are images alone or hold labels
            that are ignored, or a name or path as `open_data` takes it. The warm start learns from all of them (from
            50,000, drawn at random, of more; of fewer if they are large), the VAE of a class from those that
            classifiers trained on `dataset` surely take for it (pseudo-labels, Lee 2013). The bank keeps their places,
            and none of the images.
        networks: your own encoder and decoder in place of ours: a function of (image_shape, latent_dim) that gives two
            torch modules, as `vae_augment.model.network_vae.NetworkVAE` says; `width` has no meaning then.
            `VAEBank.load` needs it again.
        device: any torch device; "auto" takes a CUDA device if there is one.
        seed: of everything random here.
        progress: show a progress bar on standard error, or a line every 15 seconds where it is no terminal.
        checkpoint: a folder for finished parts: the warm start, classes, and every few seconds the state of a training.
            The same fit resumes from it after an interruption and gives the same bank, byte for byte.
            `vae_augment.fitting.checkpoint.discard` removes it once the bank is saved. None: nothing is kept.
        tensorboard: a folder for a TensorBoard log (extra `tensorboard`): the losses by step, and a contact sheet of
            each class once it is fitted. None: nothing is logged.

    Returns:
        A bank on the CPU.

    Raises:
        TypeError: the dataset is iterable, its items are not (image, label), or an option is of another type.
        FileExistsError: `checkpoint` is a file.
        ValueError: an empty dataset, a class that it lacks, labels that are missing or neither whole numbers nor names,
            class names that no bank can have, images below 8x8, with more than 16 channels or with values that are not
            finite, arrays or networks of other shapes, or a start that was fitted without a warm start or
            for other images.
        ImportError: `tensorboard` is given and the package is not installed.
    """
    check_seed(seed)
    check_type("config", config, FitConfig, "a FitConfig, such as FitConfig(preset='fast')")
    if start is not None:
        check_bank("start", start)
        if config.share:
            raise ValueError("a bank to share is fitted from nothing: leave start out, or share.")
    check_folder(checkpoint)
    log = None if tensorboard is None else TrainingLog(tensorboard)
    source = Source(dataset, labels)
    if start is not None:
        source.number_as(start.class_to_idx)
    if start is not None:
        source.value_range = common_range(source.value_range, start.value_range)
    others = open_unlabelled(unlabelled, source, seed)
    wanted = wanted_labels(source, classes)
    if start is None:
        shape = common_shape(source, config)
        if networks is not None and config.components:
            raise ValueError("components are of this library's networks: leave components out, or networks.")
        if config.components:  # too many are refused before images are read
            ConvVAE(shape, config.resolve(0).latent_dim or 0, components=config.components)
        data = load_images(source, shape)
        count = len(source) + (0 if others is None else len(others))
        components = 0 if networks is not None else number_of_components(config, data.images)
        resolved = config.resolve(count, components)
        vae = new_vae(shape, resolved, components, networks)
    else:
        resolved, vae = _config_with(config, start, len(source)), start.vae
        _check_start(start, source, config, wanted)
        if networks is not None and NetworkVAE(vae.image_shape, vae.latent_dim, networks) != vae:
            raise ValueError(f"networks must be those of the start bank, {vae}. They may be left out.")
        data = load_images(source, vae.image_shape)
    left_out = None
    if config.share:
        data, left_out = hold_out(data, seed)
    if said := outliers_said(data, source.value_range):
        warn(said, DataWarning)
    torch_device = choose_device(device)
    count, of, images = len(wanted), len(source.classes), len(source)
    size = "x".join(map(str, vae.image_shape))
    logger.info("fitting %d of %d classes, %d images as %s, on %s", count, of, images, size, torch_device)
    key = fit_key(source, config, wanted, start, seed, others, vae if isinstance(vae, NetworkVAE) else None)
    kept = Checkpoint(None if checkpoint is None else Path(checkpoint), key)
    with progress_bar("step", shown=progress) as bar:
        known = data.images if left_out is None else data.joined(left_out).images
        more, places = (None, None) if others is None else _sample(others, vae.image_shape, known)
        fitter = Fitter(vae, resolved, data, torch_device, seed, bar, kept, log, more)
        content, quality = fitter.fit(wanted, None if start is None else start.content.start)
    if log is not None:
        log.close()
    described = {
        "name": type(dataset).__name__,
        "source": "dataset object",
        "fingerprint": source.fingerprint(),
        "images": len(source),
        "seed": seed,
    }
    if quality is not None:
        described["quality"] = quality.to_dict()
    if fitter.adopted is not None and others is not None and places is not None:
        described["unlabelled"] = asdict(replace(fitter.adopted.summary, content=others.content))
        content = replace(content, unlabelled=places[fitter.adopted.places])
    if left_out is not None:
        found = attack(VAEBank(content), data, left_out, seed)
        if found is None:
            warn("no class has an image to leave out: how well the bank hides its images is not known", FitWarning)
        else:
            described["membership"] = asdict(found)
        if found is not None and found.tells:
            warn(f"others can tell which images this bank was fitted on: {found}", FitWarning)
    content = replace(content, data=described, value_range=source.value_range)
    for info in content.class_infos:
        if info.status in ("failed", "collapsed"):
            warn(f"class {info.name!r} {info.status}: {info.note}", FitWarning)
    return VAEBank(content) if start is None else _joined(start, VAEBank(content))


def new_vae(shape: tuple[int, int, int], config: FitConfig, components: int, networks: Networks | None) -> VAE:
    """The VAE of a class, ours or of somebody's own networks, by options without `None`."""
    if networks is not None:
        return NetworkVAE(shape, config.latent_dim or 0, networks)
    return ConvVAE(shape, config.latent_dim or 0, config.width or 0, components)


def _sample(
    unlabelled: Unlabelled, shape: tuple[int, int, int], known: Tensor
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Unlabelled images that are not among known ones, uint8 [M, C, H, W], and their places; None if there are none."""
    images, places = unlabelled.sample(shape)
    new = others_than(known, images)
    if not len(new):
        warn("unlabelled holds no image that the dataset does not hold too; fitting without it", DataWarning)
        return None, None
    return images[new], places[new]


def fit_key(
    source: Source,
    config: FitConfig,
    wanted: list[int] | None = None,
    start: VAEBank | None = None,
    seed: int = 0,
    unlabelled: Unlabelled | None = None,
    networks: NetworkVAE | None = None,
) -> str:
    """Hash of everything that a fit depends on: equal keys, equal banks.

    `wanted` are labels; None: all. `networks` is the VAE of somebody's own networks.
    """
    begun = "" if start is None else start.sha256
    options = repr(sorted(config.to_dict().items()))
    names = repr(sorted(source.classes.items()))
    labels = repr(wanted or wanted_labels(source, None))
    others: tuple[str, ...] = () if unlabelled is None else (unlabelled.fingerprint,)
    if networks is not None and start is None:
        begin = networks.init(generator(seed, "init")).values()  # weights may have been trained before
        others += (repr(networks.modules), hashlib.sha256(b"".join(t.numpy().tobytes() for t in begin)).hexdigest())
    return f"{derive(seed, RECIPE, source.fingerprint(), names, labels, options, begun, *others):016x}"


def wanted_labels(source: Source, classes: Sequence[str | int] | None) -> list[int]:
    """The labels to fit, in order."""
    if classes is None:
        return sorted(source.classes)
    by_name = {name: label for label, name in source.classes.items()}
    labels = []
    if isinstance(classes, str):
        raise TypeError(f"classes must be a list of names or labels, got {classes!r}.")
    for wanted in classes:
        label = by_name.get(wanted) if isinstance(wanted, str) else check_whole("a class", wanted, -(2**63))
        if label not in source.classes:
            known = ", ".join(repr(name) for name in list(by_name)[:20])
            raise ValueError(f"class {wanted!r} has no images in the dataset; it has {known}.")
        labels.append(label)
    if not labels:
        raise ValueError("classes must name at least one class, got none.")
    return sorted(set(labels))


def _config_with(config: FitConfig, start: VAEBank, images: int) -> FitConfig:
    """The options of a fit that extends `start`. Raises ValueError if they ask for a model of another shape."""
    if config == FitConfig():
        return replace(start.config, share=False)
    vae = start.vae
    width = vae.width if isinstance(vae, ConvVAE) else start.config.width
    shape = {
        "latent_dim": start.latent_dim,
        "width": width,
        "components": start.vae.components,
        "image_size": max(start.image_shape[1:]),
        "sharing": "warm-start",
    }
    for name, value in shape.items():
        if getattr(config, name) not in (None, value):
            raise ValueError(f"{name} must be that of the start bank, {value!r}, got {getattr(config, name)!r}.")
    return replace(config.resolve(images), latent_dim=vae.latent_dim, width=width)


def _check_start(start: VAEBank, source: Source, config: FitConfig, wanted: list[int]) -> None:
    """Raise ValueError unless the wanted classes of a dataset can be fitted from a bank and join it."""
    channels = common_shape(source, config)[0]
    if channels != start.image_shape[0]:
        raise ValueError(f"images must have as many channels as the start's, {start.image_shape[0]}, got {channels}.")
    if start.content.start is None:
        raise ValueError("start must be a bank fitted with sharing='warm-start', got one without shared weights.")
    names = {info.label: info.name for info in start.class_infos} | {k: source.classes[k] for k in wanted}
    check_names(names.values())


def _joined(start: VAEBank, fitted: VAEBank) -> VAEBank:
    """The start bank with the fitted classes, which replace those of the same labels."""
    kept = [i.label for i in start.class_infos if i.label not in {f.label for f in fitted.class_infos}]
    joined = VAEBank.merge(start.subset(kept), fitted) if kept else fitted
    data = without_figures(start.data)
    if "unlabelled" in fitted.data:
        data["unlabelled"] = fitted.data["unlabelled"]
    theirs: dict[str, Any] = {
        "config": replace(start.config, share=False),
        "policy": replace(start.policy, p_unlabelled=fitted.policy.p_unlabelled),
        "data": data,
        "unlabelled": fitted.content.unlabelled,
    }
    return VAEBank(replace(joined.content, **theirs))
