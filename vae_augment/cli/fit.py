"""vae-augment fit."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vae_augment.cli.changing import classes_of
from vae_augment.cli.check import report, without_problems
from vae_augment.cli.config_options import config_options
from vae_augment.cli.data_options import UNLABELLED, data_options
from vae_augment.cli.exit_codes import INPUT_WRONG, WORK_FAILED
from vae_augment.cli.info import class_table, values_of
from vae_augment.cli.paths import check_apart, check_file, check_folder, check_not_data
from vae_augment.cli.results import show
from vae_augment.config import FitConfig
from vae_augment.printable import printable, shortened

if TYPE_CHECKING:
    from vae_augment.bank import VAEBank
    from vae_augment.data import OpenedData


@click.command()
@data_options
@click.option("--unlabelled", type=click.Path(), metavar="NAME|PATH", help=UNLABELLED)
@click.option("--out", type=click.Path(path_type=Path), help="The bank's file. [default: NAME.safetensors]")
@click.option("--per-class", type=click.IntRange(min=1), help="Use at most this many images of each class.")
@config_options
@click.option("--classes", metavar="A,B,...", help="Fit these alone, by name or label.")
@click.option("--start", type=click.Path(path_type=Path), help="A bank to extend: classes join or replace its own.")
@click.option("--no-policy", is_flag=True, help="The same as --policy none.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, ...")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--tensorboard", type=click.Path(path_type=Path), help="Folder for logs of the losses.")
@click.option("--resume", is_flag=True, help="Continue the same fit where it was ended, if it was.")
@click.option("--check", is_flag=True, help="Only open every image, and say what there is and what is wrong.")
def fit(
    data: str,
    root: Path | None,
    download_timeout: float,
    on_error: str,
    max_pixels: int,
    unlabelled: str | None,
    out: Path | None,
    per_class: int | None,
    classes: str | None,
    start: Path | None,
    policy: str,
    no_policy: bool,
    device: str,
    seed: int,
    tensorboard: Path | None,
    resume: bool,
    check: bool,
    **chosen: Any,
) -> None:
    """Fit one VAE per class; write a bank and its contact sheet."""
    started = time.perf_counter()
    config = FitConfig(policy="none" if no_policy else policy, **chosen)
    from vae_augment.bank import VAEBank
    from vae_augment.bank.metadata import summaries
    from vae_augment.data import SAMPLE_SOURCE, examine, open_data
    from vae_augment.exporting import poor_images

    if tensorboard is not None:
        check_folder("--tensorboard", tensorboard)
    if out is not None:
        _check_out(out, tensorboard)
    elif not check:
        check_folder("--out", Path())  # where the default is, which is named after the data
    on_bad = "skip" if check else on_error
    reading: dict[str, Any] = {"root": root, "timeout": download_timeout, "on_error": on_bad, "max_pixels": max_pixels}
    opened = open_data(data, **reading)
    if check:
        found = examine(opened, config)
        show(report(found), found.to_dict())
        if found.shape is None or (found.problems and on_error == "fail"):
            sys.exit(INPUT_WRONG)  # as a fit would
        return
    if out is None:
        out = Path(f"{opened.name}.safetensors")
        _check_out(out, tensorboard)
    check_not_data((out, out.with_suffix(".png")), data, opened.dataset)
    more = None if unlabelled is None else open_data(unlabelled, **reading, labelled=False)
    if unlabelled is not None and more is not None:
        check_not_data((out, out.with_suffix(".png")), unlabelled, more.dataset)
    left_out = 0
    if on_error == "skip":
        opened, left_out = without_problems(opened, config)
        more = None if more is None else without_problems(more, config)[0]
    begun = None if start is None else VAEBank.load(start)
    bank = _fit_and_write(
        opened, more, left_out, out, per_class, config, device, seed, resume, tensorboard, classes, begun
    )
    sheet, seconds = out.with_suffix(".png"), time.perf_counter() - started
    then = ["vae-augment", "generate", str(out), "--out", f"{out.with_suffix('')}-generated", "--per-class", "500"]
    if poor_images(bank) or any(info.status == "blurred" for info in bank.class_infos):
        then = ["vae-augment", "augment", str(out), "--data", data, "--out", f"{out.with_suffix('')}-augmented"]
    said = [class_table(bank)]
    if opened.source == SAMPLE_SOURCE:
        told = "Fitted on the MNIST sample inside the package, not on all of MNIST."
        said.append(click.style(told, fg="yellow", bold=True))
    said += [f"{title.capitalize()}: {printable(text)}." for title, text in summaries(bank.data)]
    said.append(f"{bank.policy.sentence} Why: {printable(bank.policy.origin)}.")
    said += [f"{out} and {sheet} written in {seconds:.0f} s. Next:", f"    {shlex.join(then)}\n"]
    show("\n\n".join(said), {**values_of(out, bank), "contact_sheet": sheet, "seconds": round(seconds, 1)})
    failed = [info for info in bank.class_infos if info.status == "failed"]
    for info in failed:
        click.echo(f"vae-augment: error: class '{shortened(info.name)}' failed: {printable(info.note)}.", err=True)
    if failed:
        sys.exit(WORK_FAILED)


def _check_out(out: Path, tensorboard: Path | None) -> None:
    """Raise, before any work is done, if the bank, its sheet and the log cannot be written to paths of their own."""
    check_file("--out", out)
    if out.suffix == ".png":
        raise ValueError(
            "--out names the bank, for example mnist.safetensors; the .png beside it is the contact sheet."
        )
    sheet = out.with_suffix(".png")
    check_apart({"--out": out, "the contact sheet": sheet}, {"--tensorboard": tensorboard})
    if sheet.is_dir():
        raise ValueError(
            f"--out: the contact sheet {sheet} beside the bank must be a file, it is a folder. Name another bank."
        )


def _fit_and_write(
    opened: OpenedData,
    more: OpenedData | None,
    left_out: int,
    out: Path,
    per_class: int | None,
    config: FitConfig,
    device: str,
    seed: int,
    resume: bool,
    tensorboard: Path | None,
    classes: str | None,
    start: VAEBank | None,
) -> VAEBank:
    from vae_augment.bank.shown_images import COLUMNS
    from vae_augment.data import open_unlabelled, subsample
    from vae_augment.data.loading import load_images
    from vae_augment.data.source import Source
    from vae_augment.files.writing import atomic_write, sweep
    from vae_augment.fitting import fit as fit_bank
    from vae_augment.fitting import fit_key, wanted_labels
    from vae_augment.fitting.checkpoint import discard
    from vae_augment.report.contact_sheet import contact_sheet_png
    from vae_augment.report.reproduction import named

    dataset = opened.dataset if per_class is None else subsample(opened.dataset, per_class, seed)
    unfinished, sheet = out.with_name(f"{out.name}.unfinished"), out.with_suffix(".png")
    sweep(out.parent, [out.name, sheet.name])
    source, unlabelled = Source(dataset), None if more is None else more.dataset
    others = open_unlabelled(unlabelled, source, seed)
    labels = None
    if start is not None and source.has_names:  # numbers mean nothing in another folder
        labels = [source.classes[label] for label in source.labels.tolist()]
        source = Source(dataset, labels)
        source.number_as(start.class_to_idx)
    wanted = None if classes is None else wanted_labels(source, classes_of(classes, source.class_to_idx))
    key = fit_key(source, config, wanted, start, seed=seed, unlabelled=others)
    bank = _finished(out, key) if resume else None
    if bank is None:
        if not resume:
            discard(unfinished)
        options: dict[str, Any] = {"device": device, "checkpoint": unfinished, "tensorboard": tensorboard}
        names = None if wanted is None else [source.classes[label] for label in wanted]
        options |= {"start": start, "classes": names, "labels": labels}
        bank = fit_bank(dataset, config=config, unlabelled=unlabelled, seed=seed, **options)
        name = written(opened.name)
        known = {"skipped": left_out, "per_class": per_class, "ending": opened.ending}
        given: dict[str, Any] = {entry: value for entry, value in known.items() if value}
        if more is not None and "unlabelled" in bank.data:
            given["unlabelled"] = bank.data["unlabelled"] | {
                "name": named(written(more.name) + more.ending, more.source)
            }
        bank = bank.with_data(name=name, source=opened.source, key=key, **given)
        bank.save(out)
    shown = load_images(Source(subsample(dataset, COLUMNS, seed)), bank.image_shape)
    drawn = contact_sheet_png(bank, shown, seed=seed)
    if not sheet.is_file() or sheet.read_bytes() != drawn:  # a finished file stays untouched
        atomic_write(sheet, drawn)
    discard(unfinished)
    return bank


def written(name: str) -> str:
    """A name as a bank holds it; a file's may be no Unicode."""
    return name.encode(errors="backslashreplace").decode()


def _finished(out: Path, key: str) -> VAEBank | None:
    """The bank at a path, if it is of the fit of this key; else None."""
    from vae_augment.bank import VAEBank

    try:
        bank = VAEBank.load(out)
    except (ValueError, FileNotFoundError):
        return None
    return bank if bank.data.get("key") == key else None
