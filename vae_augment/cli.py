"""The vae-augment command. Nothing heavy is imported until a command needs it, so that --help is fast."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vae_augment import __version__
from vae_augment.config import CHOICES, FitConfig

if TYPE_CHECKING:
    from vae_augment.bank import VAEBank
    from vae_augment.data import OpenedData

WORK_FAILED, INPUT_WRONG = 1, 2


class _OneLineErrors(click.Group):
    """A command whose errors are one line: exit code 2 for what the user can mend, 1 for work that failed."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        run: Callable[..., Any] = super().main
        if not standalone_mode:
            return run(*args, standalone_mode=False, **extra)
        try:
            code = run(*args, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(INPUT_WRONG)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "vae-augment"
            _fail(f"{error.format_message()} Try '{command} --help'.", INPUT_WRONG)
        except click.Abort:
            _fail("stopped.", WORK_FAILED)
        except Exception as error:  # the command line's edge: everything ends in a message and a code
            if logging.getLogger("vae_augment").isEnabledFor(logging.INFO):
                raise
            wrong_input = isinstance(error, (ValueError, TypeError, FileNotFoundError, FileExistsError))
            _fail(str(error) or type(error).__name__, INPUT_WRONG if wrong_input else WORK_FAILED)
        else:
            sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"vae-augment: error: {' '.join(message.split())}", err=True)
    sys.exit(code)


class _Echo(logging.Handler):
    """The log as lines on standard error, warnings in colour."""

    def emit(self, record: logging.LogRecord) -> None:
        loud = record.levelno >= logging.WARNING
        click.secho(f"vae-augment: {self.format(record)}", err=True, fg="yellow" if loud else None, bold=loud)


@click.group(
    "vae-augment",
    cls=_OneLineErrors,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="vae-augment")
@click.option("-v", "--verbose", is_flag=True, help="Say more, and show tracebacks.")
def main(verbose: bool) -> None:
    """Augment small image datasets with one VAE per class."""
    log = logging.getLogger("vae_augment")
    log.setLevel(logging.INFO if verbose else logging.WARNING)
    if not any(isinstance(handler, _Echo) for handler in log.handlers):
        log.addHandler(_Echo())


@main.command()
@click.option(
    "--data", required=True, metavar="NAME|FOLDER", help="A torchvision name such as mnist, or class folders."
)
@click.option("--root", type=click.Path(path_type=Path), help="Folder that holds the named dataset.")
@click.option("--out", type=click.Path(path_type=Path), help="The bank's file. [default: NAME.safetensors]")
@click.option("--per-class", type=click.IntRange(min=1), help="Use at most this many images of each class.")
@click.option("--preset", type=click.Choice(CHOICES["preset"]), default="default", show_default=True)
@click.option("--latent-dim", type=click.IntRange(1, 512), help="Latent dimensions of each VAE.")
@click.option("--image-size", type=click.IntRange(8, 128), help="Longer side in pixels of the bank's images.")
@click.option("--sharing", type=click.Choice(CHOICES["sharing"]), default="warm-start", show_default=True)
@click.option("--no-policy", is_flag=True, help="A bank that augments only where the wrapper is told to.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, ...")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--download-timeout", type=click.FloatRange(min=1), default=300.0, show_default=True, metavar="SECONDS")
def fit(
    data: str,
    root: Path | None,
    out: Path | None,
    per_class: int | None,
    preset: str,
    latent_dim: int | None,
    image_size: int | None,
    sharing: str,
    no_policy: bool,
    device: str,
    seed: int,
    download_timeout: float,
) -> None:
    """Fit one VAE per class and write a bank, and a contact sheet beside it."""
    started = time.perf_counter()
    config = FitConfig(
        preset=preset,
        latent_dim=latent_dim,
        image_size=image_size,
        sharing=sharing,
        policy="none" if no_policy else "auto",
    )
    from vae_augment.data import SAMPLE_SOURCE, open_data

    if out is not None:
        _check_out(out)
    opened = open_data(data, root=root, timeout=download_timeout)
    if out is None:
        out = Path(f"{opened.name}.safetensors")
    bank = _fit_and_write(opened, out, per_class, config, device, seed)
    click.echo(class_table(bank))
    if opened.source == SAMPLE_SOURCE:
        click.secho("\nFitted on the MNIST sample inside the package, not on all of MNIST.", fg="yellow", bold=True)
    seconds = time.perf_counter() - started
    click.echo(f"\n{out} and {out.with_suffix('.png')} written in {seconds:.0f} s. Next:\n")
    click.echo(
        f"    vae-augment generate {_quoted(out)} --out {_quoted(out.with_suffix(''))}-generated --per-class 500\n"
    )
    failed = [info for info in bank.class_infos if info.status == "failed"]
    for info in failed:
        click.echo(f"vae-augment: error: class {info.name!r} failed: {info.note}.", err=True)
    if failed:
        sys.exit(WORK_FAILED)


def _check_out(out: Path) -> None:
    """Raise, before any work is done, if a bank and its sheet cannot be written there."""
    _check_file("--out", out)
    if out.suffix == ".png":
        raise ValueError(
            "--out names the bank, for example mnist.safetensors; the .png beside it is the contact sheet."
        )


def _check_file(option: str, path: Path) -> None:
    """Raise if no file can be written to the path that an option names."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{option}: no folder {path.parent}.")
    if path.is_dir():
        raise ValueError(f"{option} must be a file, {path} is a folder.")


def _fit_and_write(
    opened: OpenedData, out: Path, per_class: int | None, config: FitConfig, device: str, seed: int
) -> VAEBank:
    from vae_augment.data import subsample
    from vae_augment.files import atomic_write
    from vae_augment.fit_data import load_images
    from vae_augment.fitting import fit as fit_bank
    from vae_augment.report.contact_sheet import COLUMNS, contact_sheet_png
    from vae_augment.source import Source

    dataset = opened.dataset if per_class is None else subsample(opened.dataset, per_class, seed)
    bank = fit_bank(dataset, config=config, device=device, seed=seed)
    bank = bank.with_data(name=opened.name, source=opened.source)
    bank.save(out)
    shown = load_images(Source(subsample(dataset, COLUMNS, seed)), bank.image_shape)
    sheet = contact_sheet_png(bank, shown, seed=seed)
    atomic_write(out.with_suffix(".png"), sheet)
    return bank


@main.command()
@click.argument("bank", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="An empty or new folder.")
@click.option("--per-class", type=click.IntRange(min=1), help="Images of each class. [default: 500]")
@click.option("--count", type=click.IntRange(min=1), help="Instead, images in all, split evenly.")
@click.option("--method", help="exemplar, gaussian or prior. [default: the bank's policy]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--workers", type=click.IntRange(min=0), help="Processes. [default: one a core, for many images]")
@click.option("--device", default="cpu", show_default=True, help="PNGs take longer to encode than to draw.")
def generate(
    bank: Path,
    out: Path,
    per_class: int | None,
    count: int | None,
    method: str | None,
    seed: int,
    workers: int | None,
    device: str,
) -> None:
    """Write generated images to OUT/<class>/<number>.png, with a manifest."""
    from tqdm import tqdm

    from vae_augment.bank import VAEBank
    from vae_augment.exporting import counts_per_class, export
    from vae_augment.training import choose_device

    loaded = VAEBank.load(bank, device=choose_device(device))
    total = sum(counts_per_class(len(loaded.classes), per_class=per_class, count=count))
    with tqdm(total=total, unit="image", disable=None) as bar:
        done = export(
            loaded,
            out,
            per_class=per_class,
            count=count,
            method=method,
            seed=seed,
            workers=workers,
            on_images=bar.update,
        )
    click.echo(f"{done.total} images of {len(done.counts)} classes written to {done.folder}.")


@main.command()
@click.option("--data", required=True, metavar="NAME|FOLDER", help="As in fit.")
@click.option("--root", type=click.Path(path_type=Path), help="Folder that holds the named datasets.")
@click.option("--test", metavar="NAME|FOLDER", help="Measure on its test part. [default: some of --data, held out]")
@click.option("--bank", type=click.Path(path_type=Path), help="Fitted on --data already. [default: fit one a seed]")
@click.option("--per-class", type=click.IntRange(min=1), help="Train on this many images of each class.")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="How often to repeat it.")
@click.option("--arms", default="none,classical,ours,ours+classical", show_default=True, help="What to compare.")
@click.option("--steps", type=click.IntRange(min=1), help="Of each classifier's training. [default: ten epochs]")
@click.option("--preset", type=click.Choice(CHOICES["preset"]), default="default", show_default=True)
@click.option("--sampling-strategy", help="The wrapper's, for example 'not majority'.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures here.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the differences into this PNG.")
@click.option("--device", default="auto", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def evaluate(
    data: str,
    root: Path | None,
    test: str | None,
    bank: Path | None,
    arms: str,
    preset: str,
    json_file: Path | None,
    plot: Path | None,
    **options: Any,
) -> None:
    """Train classifiers with and without augmentation, and say whether it helps on images held out."""
    for option, path in (("--json", json_file), ("--plot", plot)):
        if path is not None:
            _check_file(option, path)
    from vae_augment.data import open_data
    from vae_augment.evaluation import evaluate as run
    from vae_augment.files import atomic_write

    result = run(
        open_data(data, root=root).dataset,
        test=None if test is None else open_data(test, part="test", root=root).dataset,
        bank=bank,
        arms=[arm.strip() for arm in arms.split(",")],
        config=FitConfig(preset=preset),
        **options,
    )
    click.echo(str(result))
    if json_file is not None:
        atomic_write(json_file, result.to_json().encode())
    if plot is not None:
        from vae_augment.report.differences import differences_png

        atomic_write(plot, differences_png(result))


@main.command()
@click.argument("bank", type=click.Path(path_type=Path))
def info(bank: Path) -> None:
    """Say what a bank holds and how its fit went."""
    from vae_augment.bank import VAEBank

    loaded = VAEBank.load(bank)
    channels, height, width = loaded.image_shape
    data, policy, config = loaded.data, loaded.policy, loaded.config
    click.echo(f"bank      {bank}, {bank.stat().st_size:,} bytes, sha256 {loaded.sha256}")
    click.echo(f"data      {data.get('name')} ({data.get('source')}), {data.get('images')} images")
    click.echo(f"images    {channels} x {height} x {width}, {loaded.latent_dim} latent dimensions")
    click.echo(
        f"fit       preset {config.preset}, sharing {config.sharing}, {config.steps} steps, seed {data.get('seed')}"
    )
    click.echo(
        f"policy    p_generate {policy.p_generate:g}, p_jitter {policy.p_jitter:g}, scale {policy.scale:g}, "
        f"keep_detail {policy.keep_detail}, method {policy.method}, moves {policy.moves}: {policy.origin}\n"
    )
    click.echo(class_table(loaded))
    if "quality" in data:
        from vae_augment.quality import Quality

        click.echo(f"\n{Quality.from_dict(data['quality'])}")


def class_table(bank: VAEBank) -> str:
    """A row per class: images, steps, reconstruction, KL, active dimensions, status."""
    from tabulate import tabulate

    rows = [
        (
            i.name,
            i.images,
            i.steps,
            f"{i.rmse:.4f}",
            f"{i.kl:.1f}",
            i.active,
            i.status + (f": {i.note}" * bool(i.note)),
        )
        for i in bank.class_infos
    ]
    headers = ("class", "images", "steps", "RMSE (train)", "KL (nats)", "active dims", "status")
    return tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * 5, "left"))


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))
