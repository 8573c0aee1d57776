"""Images of a dataset's items as PNGs in class folders, under the items' own names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.exporting.folder import Export, filled
from vae_augment.exporting.item_names import png_names
from vae_augment.files.folder_names import folder_names
from vae_augment.files.writing import write_quickly
from vae_augment.images.encoding import check_png, encode_pngs


@contextmanager
def named_export(
    bank: VAEBank, out: str | Path, labels: Sequence[int], names: Sequence[str], *, method: str, overwrite: bool = False
) -> Iterator[tuple[Callable[[Tensor], None], Export]]:
    """A function that writes the images of the next items, uint8 [B, C, H, W], into a folder; and what it will hold.

    Args:
        bank: the bank of the items' classes, and of the images' size.
        out: the folder, made if need be; it must be empty.
        labels: of N items, in order.
        names: of the items (see `png_names`).
        method: how the images were made, for the manifest.
        overwrite: remove an earlier export first, whatever it was of; files that are not an export's are left.

    Raises:
        ValueError: PNG cannot hold the bank's images.
        FileExistsError: as `filled`.
    """
    check_png(bank.image_shape[0])
    folder, folders = Path(out), folder_names(bank.classes)
    rows, files = [bank.row_of[label] for label in labels], png_names(names, labels)
    held: list[list[str]] = [[] for _ in bank.classes]
    for row, file in zip(rows, files, strict=True):
        held[row].append(file)
    manifest = {
        "format": "png",
        "bank_sha256": bank.sha256,
        "method": method,
        "images": len(rows),
        "classes": [
            {"folder": inner, "name": info.name, "label": info.label, "images": len(some), "files": some}
            for inner, info, some in zip(folders, bank.class_infos, held, strict=True)
        ],
    }
    left = zip([str(folder / folders[row]) for row in rows], files, strict=True)

    def write(images: Tensor) -> None:
        for content, (inner, file) in zip(encode_pngs(images), left, strict=False):
            write_quickly(inner, file, content)

    with filled(folder, manifest, overwrite=overwrite):
        yield write, Export(folder, dict(zip(bank.classes, map(len, held), strict=True)))
