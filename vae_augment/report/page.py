"""The report of a bank: one HTML page with everything in it, for people who decide whether to use the bank."""

from __future__ import annotations

import shlex
from bisect import bisect_right
from dataclasses import replace
from importlib.resources import files
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.bank.metadata import summaries
from vae_augment.data import SAMPLE_SOURCE
from vae_augment.data.loading import FitData
from vae_augment.evaluation.result import Evaluation
from vae_augment.exceptions import check_extra
from vae_augment.images.colours import class_colours
from vae_augment.model.conv_vae import ConvVAE
from vae_augment.model.latent import LatentStats
from vae_augment.printable import shortened
from vae_augment.report.decoder_payload import decoder_payload, decoder_script, payload_bytes
from vae_augment.report.page_map import Map, base64_floats, page_map
from vae_augment.report.page_pictures import pictures
from vae_augment.report.page_words import evaluation_of, policy_of, quality_of
from vae_augment.report.plots import has_curves, learning_curves, page_style, svg
from vae_augment.report.reproduction import data_option, reproduction

DECODER_BYTES = 8_000_000  # of all decoders in the page
SLIDERS = 8  # shown at first
LARGE_SIDE = 40  # pixels: sheets of larger images are wider
SMALL_SIDE = 64  # pixels: images up to there are enlarged without blurring


def report_html(
    bank: VAEBank, *, data: FitData | None = None, evaluation: Evaluation | None = None, seed: int = 0
) -> str:
    """The page as text. It holds no time and no path: the same bank, data and evaluation give the same page.

    Example:
        >>> Path("report.html").write_text(report_html(bank), encoding="utf-8")

    Args:
        bank: a fitted bank, on the CPU.
        data: images of the bank's classes at its size (see `vae_augment.data.loading.load_images`), which are shown
            beside the bank's. None: generated images alone are shown, and the map is of the codes that the bank keeps.
        evaluation: the result of `evaluate`; None: the page says how to get one.
        seed: of the choice of images and of the draws.

    Raises:
        ImportError: matplotlib or scikit-learn is not installed.
    """
    check_extra("report", "a report", "matplotlib", "sklearn")
    content = bank.content
    decodable = _decodable(bank)
    codes = data is not None or bool(bank.content.stats.counts.any())
    found = page_map(bank, data, decodable, seed) if codes else None
    colours = class_colours(len(bank.classes))
    names = [shortened(name) for name in bank.classes]
    legend = [{"colour": colour, "name": name} for colour, name in zip(colours, names, strict=True)]
    environment = Environment(
        loader=PackageLoader("vae_augment.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    templates = files("vae_augment.report") / "templates"
    return environment.get_template("report.html").render(
        title=shortened(str(bank.data.get("name") or "A bank")),
        summary=_summary(bank),
        css=(templates / "report.css").read_text(encoding="utf-8"),
        js=(templates / "report.js").read_text(encoding="utf-8"),
        decoder_js=decoder_script(),
        evaluation=None if evaluation is None else evaluation_of(evaluation),
        evaluate_command=_evaluate_command(bank),
        pictures=pictures(bank, data, seed),
        with_data=data is not None,
        moved=bool(bank.policy.mover),
        small_images=max(bank.image_shape[1:]) <= SMALL_SIDE,
        large_images=max(bank.image_shape[1:]) > LARGE_SIDE,
        names=names,
        decodable=decodable,
        legend=legend,
        map=found,
        colours=colours,
        infos=[replace(info, name=name) for info, name in zip(content.class_infos, names, strict=True)],
        curves=_curves(bank) if has_curves(bank) else None,
        warm_start=content.start is not None,
        quality=quality_of(bank),
        policy=policy_of(bank.policy),
        command=reproduction(bank),
        facts=_facts(bank),
        page_data=_script(bank, decodable, found),
    )


def _summary(bank: VAEBank) -> str:
    channels, height, width = bank.image_shape
    kind = {1: "grey", 3: "colour"}.get(channels, f"{channels}-channel")
    images = sum(info.images for info in bank.class_infos)
    classes = len(bank.classes)
    sampled = bank.data.get("source") == SAMPLE_SOURCE
    sample = " They are the sample inside the package, not all of MNIST." if sampled else ""
    return (
        f"A bank of {classes} VAE{'s' * (classes > 1)}, one for each class, fitted on {images:,} {kind} images of "
        f"{height}x{width} pixels with {bank.latent_dim} latent dimensions.{sample}"
    )


def _facts(bank: VAEBank) -> list[tuple[str, str]]:
    data, config = bank.data, bank.config
    return [
        ("data", f"{data.get('name')} ({data.get('source')})"),
        ("images", f"{data.get('images')}" + (f", {data['skipped']} left out" if data.get("skipped") else "")),
        ("fingerprint of the data", str(data.get("fingerprint"))),
        ("preset", config.preset),
        ("sharing", config.sharing),
        ("steps", str(config.steps)),
        ("seed", str(data.get("seed"))),
        ("sha256 of the bank", bank.sha256),
        *summaries(data),
    ]


def _evaluate_command(bank: VAEBank) -> str:
    name = shlex.quote(data_option(bank) or "DATA")
    return (
        f"vae-augment evaluate --data {name} --json result.json\n"
        f"vae-augment report BANK --data {name} --evaluation result.json"
    )


def _curves(bank: VAEBank) -> dict[str, Any]:
    """The plots of learning curves, and a text in their place."""
    with page_style():
        plots = [svg(figure, f"curve {place}") for place, figure in enumerate(learning_curves(bank))]
    ends = bank.content.curves[:, -1].float()
    alt = (
        f"Two plots over the steps of training. At the end the reconstruction loss of the classes is "
        f"{ends[:, 0].min():.2f} to {ends[:, 0].max():.2f} nats per value, the KL divergence {ends[:, 1].min():.1f} to "
        f"{ends[:, 1].max():.1f} nats per image."
    )
    return {"plots": plots, "alt": alt}


def _decodable(bank: VAEBank) -> int:
    """The number of classes, from the first, whose decoders fit into `DECODER_BYTES`; 0 for somebody's own networks."""
    if not isinstance(bank.vae, ConvVAE):
        return 0
    counts = range(2, len(bank.classes) + 1)
    return 1 + bisect_right(counts, DECODER_BYTES, key=lambda count: payload_bytes(bank, range(count)))


def _typical(stats: LatentStats) -> Tensor:
    """The code [K, L] of a training image of each class, at the median distance from their mean."""
    codes = stats.exemplars.float()  # [K, M, L]
    away = (codes - stats.mean[:, None]).square().sum(2)
    away[torch.arange(codes.shape[1]) >= stats.counts[:, None]] = torch.inf
    middle = away.argsort(dim=1, stable=True).gather(1, (stats.counts[:, None] - 1) // 2)[:, 0]
    return codes[torch.arange(len(codes)), middle]


def _script(bank: VAEBank, decodable: int, found: Map | None) -> dict[str, Any]:
    """The data that the page's script uses."""
    stats = bank.content.stats
    variances = stats.cov[:decodable].diagonal(dim1=1, dim2=2)
    return {
        "latents": bank.latent_dim,
        "decoder": decoder_payload(bank, range(decodable)) if decodable else None,
        "live": {
            "names": [shortened(name) for name in bank.classes[:decodable]],
            "shown": SLIDERS,
            "order": variances.argsort(stable=True, dim=1, descending=True).tolist(),
            "mean": base64_floats(stats.mean[:decodable]),
            "deviation": base64_floats(variances.sqrt()),
            "factors": base64_floats(stats.scale_tril[:decodable]),
            "typical": base64_floats(_typical(stats)[:decodable]) if bool(stats.counts.all()) else None,
        },
        "map": None if found is None else found.script,
    }
