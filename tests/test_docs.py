"""The code in README, guide and tutorial runs, in order, as a reader would run it; models are tiny here."""

import re
from pathlib import Path

import pytest
from PIL import Image

from vae_augment import config
from vae_augment.mnist_sample import MNISTSample

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    monkeypatch.setitem(config.PRESETS, "default", {"latent_dim": 16, "image_size": 64, "width": 8, "steps": 40})
    few = [i for k in range(10) for i in (MNISTSample().targets == k).nonzero()[:20, 0].tolist()]
    whole = MNISTSample.__init__

    def small(self, *args, **kwargs):
        whole(self, *args, **kwargs)
        self.data, self.targets = self.data[few], self.targets[few]

    monkeypatch.setattr(MNISTSample, "__init__", small)
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(6):
            Image.effect_noise((9, 9), 40).save(tmp_path / "photos" / name / f"{k}.png")


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/guide.md", "docs/tutorial.md"])
def test_code_blocks_run(page, tiny, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    names: dict = {"__name__": "docs"}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
