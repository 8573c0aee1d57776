"""vae-augment info."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vae_augment.cli.results import show, wanted_as_json
from vae_augment.printable import printable, shortened

if TYPE_CHECKING:
    from vae_augment.bank import VAEBank


@click.command()
@click.argument("bank", type=click.Path(path_type=Path))
def info(bank: Path) -> None:
    """Say what a bank holds and how its fit went."""
    from vae_augment.bank import VAEBank
    from vae_augment.bank.metadata import summaries
    from vae_augment.report.reproduction import reproduction

    loaded = VAEBank.load(bank)
    if wanted_as_json():
        show("", values_of(bank, loaded))
        return
    channels, height, width = loaded.image_shape
    data, policy, config = loaded.data, loaded.policy, loaded.config
    click.echo(f"bank      {printable(str(bank))}, {bank.stat().st_size:,} bytes, sha256 {loaded.sha256}")
    left_out = f", {data['skipped']} left out" if data.get("skipped") else ""
    click.echo(printable(f"data      {data.get('name')} ({data.get('source')}), {data.get('images')} images{left_out}"))
    for title, text in summaries(data):
        click.echo(f"{title:10}{printable(text)}")
    linear = f", {loaded.vae.components} of them principal components" if loaded.vae.components else ""
    click.echo(f"images    {channels} x {height} x {width}, {loaded.latent_dim} latent dimensions{linear}")
    click.echo(
        f"fit       preset {config.preset}, sharing {config.sharing}, {config.steps} steps, seed {data.get('seed')}"
    )
    click.echo(f"command   {printable(reproduction(loaded))}")
    also = f"p_unlabelled {policy.p_unlabelled:g}, " if policy.p_unlabelled else ""
    click.echo(
        f"policy    {also}p_generate {policy.p_generate:g}, p_jitter {policy.p_jitter:g}, scale {policy.scale:g}, "
        f"keep_detail {policy.keep_detail}, method {policy.method}, moves {policy.moves}: {printable(policy.origin)}\n"
    )
    click.echo(class_table(loaded))
    if "quality" in data:
        click.echo(f"\n{_quality(data['quality'])}")


def values_of(path: Path, bank: VAEBank) -> dict[str, Any]:
    """Contents and figures of a bank for programs."""
    return {
        "path": path,
        "bytes": path.stat().st_size,
        "sha256": bank.sha256,
        "image_shape": list(bank.image_shape),
        "latent_dim": bank.latent_dim,
        "components": bank.vae.components,
        "config": bank.config.to_dict(),
        "policy": bank.policy.to_dict(),
        "data": bank.data,
        "classes": [asdict(info) for info in bank.class_infos],
    }


def _quality(figures: dict[str, Any]) -> str:
    from vae_augment.fitting.quality import Quality

    try:
        return str(Quality.from_dict(figures))
    except ValueError as error:  # the bank works without them
        return f"quality   not known: {printable(str(error))}"


def class_table(bank: VAEBank) -> str:
    """A table of classes: images, steps, reconstruction error, KL divergence, active dimensions, status."""
    from tabulate import tabulate

    rows = []
    for each in bank.class_infos:
        status = f"{each.status}: {printable(each.note)}" if each.note else each.status
        figures = f"{each.rmse:.4f}", f"{each.kl:.1f}", each.active
        rows.append((shortened(each.name), each.images, each.steps, *figures, status))
    headers = ("class", "images", "steps", "RMSE (train)", "KL (nats)", "active dims", "status")
    return tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * 5, "left"))
