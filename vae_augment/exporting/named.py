"""Images of a dataset's items as PNGs in class folders, under the items' own names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from torch import Tensor

from vae_augment.bank import VAEBank
from vae_augment.exporting.folder import Export, filled
from vae_augment.exporting.item_names import png_names
from vae_augment.files.folder_names import folder_names
from vae_augment.files.writing import write_quickly
from vae_augment.images.png import check_png, encode_pngs


class NamedExport:
    """A folder that is filled with an image of each of N items, in order, inside a `with` block.

    Args:
        bank: whose classes the items are of, and whose size the images have.
        out: the folder, made if need be; it must be empty.
        labels: of the items.
        names: of the items (see `png_names`).
        method: what the images are, for the manifest.
        overwrite: remove an earlier export first, whatever it was of; files that are not an export's are left.

    Raises:
        ValueError: PNG cannot hold the bank's images.
        FileExistsError: as `filled`, when the block begins.
    """

    def __init__(
        self,
        bank: VAEBank,
        out: str | Path,
        labels: Sequence[int],
        names: Sequence[str],
        *,
        method: str,
        overwrite: bool = False,
    ) -> None:
        check_png(bank.image_shape[0])
        self._folder, self._next = Path(out), 0
        folders = folder_names(bank.classes)
        rows = [bank.row_of[label] for label in labels]
        self._files = [(folders[row], name) for row, name in zip(rows, png_names(names, labels), strict=True)]
        files: list[list[str]] = [[] for _ in bank.classes]
        for row, (_, name) in zip(rows, self._files, strict=True):
            files[row].append(name)
        manifest = {
            "format": "png",
            "bank_sha256": bank.sha256,
            "method": method,
            "images": len(rows),
            "classes": [
                {"folder": folder, "name": info.name, "label": info.label, "images": len(held), "files": held}
                for folder, info, held in zip(folders, bank.class_infos, files, strict=True)
            ],
        }
        self._filled = filled(self._folder, manifest, overwrite=overwrite)
        self.export = Export(self._folder, dict(zip(bank.classes, map(len, files), strict=True)))

    def __enter__(self) -> NamedExport:
        self._filled.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._filled.__exit__(kind, error, trace)

    def write(self, images: Tensor) -> None:
        """Write the images of the next items: uint8 [B, C, H, W]."""
        files = self._files[self._next : self._next + len(images)]
        for (folder, name), content in zip(files, encode_pngs(images), strict=True):
            write_quickly(str(self._folder / folder), name, content)
        self._next += len(images)
