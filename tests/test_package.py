import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vae_augment

ROOT = Path(vae_augment.__file__).parent
# The wings of docs/design.md, in their order; the ground is the modules below them. A wing imports from the ground and
# from wings above it; the package itself imports on first use, and only its version may be imported.
LAYOUT = (ROOT.parent / "docs" / "design.md").read_text().split("## Layout")[1]
WINGS = re.findall(r"^ {6}(\w+)/ ", LAYOUT, re.MULTILINE)
GROUND = ["__init__", "__main__", "config", "exceptions", "printable", "processes", "progress", "seeding"]
APART = {"images", "data"}  # people's images, which do not know our VAE, nor it them
LONGEST = 320  # lines of a file
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def wing_of(path):
    """The wing that a module belongs to, or the module itself on the ground."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree):
    """(dotted name, line) of what is imported from the package, at the top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in line {node.lineno}"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("vae_augment."):
                yield name, node.lineno


def is_module(name):
    path = ROOT.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def named(path):
    return str(path.relative_to(ROOT))


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded_of(names, after):
    """Which of the modules are loaded by running `after` in a fresh process."""
    return run(f"import sys\n{after}\nprint(*sorted(set({names!r}) & set(sys.modules)))").split()


# ---- the public names ----


def test_the_public_names_are_exactly_these():
    assert sorted(vae_augment.__all__) == [
        *("FitConfig", "VAEAugmentedDataset", "VAEAugmentedIterable", "VAEBank"),
        *("augment", "evaluate", "export", "fit"),
    ]


def test_the_public_names_resolve_and_are_what_they_say():
    for name in vae_augment.__all__:
        assert getattr(vae_augment, name).__name__ == name
        assert getattr(vae_augment, name).__module__.startswith("vae_augment.")
        assert getattr(vae_augment, name).__doc__


def test_dir_lists_the_public_names():
    assert set(dir(vae_augment)) == {*vae_augment.__all__, "__version__"}


def test_names_resolve_even_after_the_modules_of_the_same_name_are_loaded():
    code = "import vae_augment, vae_augment.exporting, vae_augment.fitting\nfrom vae_augment import export, fit\n"
    assert run(code + "print(callable(export), callable(fit), callable(vae_augment.export))") == "True True True"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'vae_augment' has no attribute 'enlarge'"):
        _ = vae_augment.enlarge


# ---- what an import loads ----


def test_importing_the_package_loads_nothing_heavy():
    heavy = ["torch", "torchvision", "numpy", "PIL", "safetensors", "tqdm", "click", "cv2"]
    assert loaded_of(heavy, "import vae_augment") == []


def test_the_command_lines_help_loads_no_torch():
    assert loaded_of(["torch", "torchvision", "numpy", "PIL"], "import vae_augment.cli") == []


def test_the_core_loads_no_more_than_it_needs():
    others = ["albumentations", "sklearn", "matplotlib", "cv2", "ray", "pandas", "scipy", "click", "tabulate"]
    core = "import vae_augment.wrapper.dataset, vae_augment.fitting"
    assert loaded_of([*others, "torch"], core) == ["torch"]


def test_importing_everything_prints_nothing_and_seeds_nothing():
    code = (
        "import torch\nbefore, threads = torch.get_rng_state(), torch.get_num_threads()\n"
        "import vae_augment.wrapper, vae_augment.fitting, vae_augment.data, vae_augment.exporting, vae_augment.cli\n"
        "assert torch.equal(before, torch.get_rng_state())\n"
        "assert threads == torch.get_num_threads()"
    )
    assert run(code) == ""


# ---- the sources ----


def test_every_module_is_in_a_wing_or_one_of_the_grounds():
    assert sorted(path.stem for path in ROOT.glob("*.py")) == GROUND
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(WINGS)
    assert [named(path) for path in ROOT.rglob("*.py") if not (path.parent / "__init__.py").is_file()] == []


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_says_in_one_sentence_what_it_is(wing):
    docstring = ast.get_docstring(ast.parse((ROOT / wing / "__init__.py").read_text()))
    first = docstring.split("\n\n")[0]
    assert first.endswith(".")
    assert len(first) <= 120


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_run_one_way(path):
    own = wing_of(path)
    allowed = {*GROUND, *WINGS[: WINGS.index(own) + 1 if own in WINGS else None], "__version__"}
    if own == "model":
        allowed -= APART
    if own in APART:
        allowed -= {"model"}
    found = list(imported(ast.parse(path.read_text())))
    assert [f"line {line}: {name}" for name, line in found if name.split(".")[1] not in allowed] == []
    if own in WINGS and path.name != "__init__.py":  # else who imports a file first decides whether it works
        package = ".".join(("vae_augment", *path.relative_to(ROOT).parts[:-1]))
        handed_on = [(name, line) for name, line in found if name.rpartition(".")[0] == package and not is_module(name)]
        assert [f"line {line}: {name}" for name, line in handed_on] == []


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_no_file_is_two_things_long(path):
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_nothing_is_pickled_evaluated_or_printed(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {getattr(node, "module", None) or "", *(alias.name for alias in node.names)}
            assert not names & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}, node.lineno
        if not isinstance(node, ast.Call):
            continue
        called, options = ast.unparse(node.func), {keyword.arg for keyword in node.keywords}
        assert called not in {"eval", "exec", "compile", "__import__"}, node.lineno
        assert called not in {"torch.load", "torch.save", "os.system"}, node.lineno
        if called == "np.load":
            assert ast.unparse(next(k.value for k in node.keywords if k.arg == "allow_pickle")) == "False", node.lineno
        assert called != "print" or "file" in options, node.lineno
        assert called != "click.echo" or wing_of(path) == "cli", node.lineno
        assert "shell" not in options, node.lineno
