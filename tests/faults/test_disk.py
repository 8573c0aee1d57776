"""Files that the system refuses to let grow, as a full disk does, and two processes that need one bank at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

resource = pytest.importorskip("resource")

SCRIPT = """if True:
    import resource, signal, sys
    from vae_augment import config
    from vae_augment.cli import main
    config.PRESETS["fast"] = {"steps": 30, "latent_dim": 4, "width": 8, "image_size": 32}
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
    main(sys.argv[2:])
"""
WRAPPING = """if True:
    from tests.conftest import Shapes
    from vae_augment import VAEAugmentedDataset, config
    config.PRESETS["default"] = {"steps": 2000, "latent_dim": 4, "width": 8, "image_size": 32}
    print(VAEAugmentedDataset(Shapes()).bank.sha256)
"""


def limited(most_bytes, *arguments):
    """The command where no file may have more bytes."""
    command = [sys.executable, "-c", SCRIPT, str(most_bytes), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def left(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and "bars/" not in str(path))


def test_a_fit_that_cannot_write_its_bank_says_why_and_leaves_no_partial(here):
    before = left(here)
    done = limited(5_000, "fit", "--data", "bars", "--preset", "fast")
    assert done.returncode == 1
    warning, error = done.stderr.splitlines()
    assert warning.startswith("vae-augment: warning: what is finished cannot be kept in bars.safetensors.unfinished: ")
    assert error == "vae-augment: error: [Errno 27] File too large"
    assert left(here) == before


def test_what_was_kept_before_the_disk_was_full_is_gone_on_from(here):
    assert limited(10_000_000, "fit", "--data", "bars", "--preset", "fast").returncode == 0
    whole = (here / "bars.safetensors").read_bytes()
    (here / "bars.safetensors").unlink()
    largest = len(whole) - 1  # each part is smaller than the bank
    done = limited(largest, "fit", "--data", "bars", "--preset", "fast")
    assert (done.returncode, "File too large" in done.stderr) == (1, True)
    assert [name for name in left(here) if name.startswith("class-")] == [f"class-{k}.part" for k in range(3)]
    assert limited(10_000_000, "fit", "--data", "bars", "--preset", "fast", "--resume").returncode == 0
    assert (here / "bars.safetensors").read_bytes() == whole


def test_an_export_that_cannot_write_an_image_says_why_and_leaves_no_partial(with_bank):
    done = limited(60, "generate", "bars.safetensors", "--out", "made", "--per-class", "3")
    assert done.returncode == 1
    assert "File too large" in done.stderr.splitlines()[-1]
    assert not [name for name in left(with_bank) if name.endswith((".tmp", ".png"))]


def test_two_processes_that_need_one_bank_fit_it_once(here):
    both = [
        subprocess.Popen(
            [sys.executable, "-c", WRAPPING],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=__file__.split("/tests/")[0],
        )
        for _ in range(2)
    ]
    ends = [process.communicate(timeout=100) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert len({out for out, _ in ends}) == 1
    said = sorted("fitting a bank on" in err for _, err in ends)
    assert said == [False, True], ends
    assert [path.suffix for path in (here / "cache" / "banks").iterdir() if path.suffix != ".lock"] == [".safetensors"]
