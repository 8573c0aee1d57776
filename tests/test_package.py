import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vae_augment

ROOT = Path(vae_augment.__file__).parent
# The order of docs/design.md. A module may import only from above it; the package itself imports on first use, and only
# its version may be imported.
LAYOUT = (ROOT.parent / "docs" / "design.md").read_text().split("## Layout")[1]
ORDER = [name for name in re.findall(r"^ {6}(\w+)(?:\.py|/) ", LAYOUT, re.MULTILINE) if name != "__init__"]
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def unit(path):
    """The file, or the subpackage, that a module belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree):
    """(name, line) of what is imported from the package, at the top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in line {node.lineno}"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("vae_augment"):
                yield name.split(".")[1], node.lineno


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
    assert sorted(vae_augment.__all__) == ["FitConfig", "VAEAugmentedDataset", "VAEBank", "evaluate", "export", "fit"]


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
    with pytest.raises(AttributeError, match="module 'vae_augment' has no attribute 'augment'"):
        _ = vae_augment.augment


# ---- what an import loads ----


def test_importing_the_package_loads_nothing_heavy():
    heavy = ["torch", "torchvision", "numpy", "PIL", "safetensors", "tqdm", "click", "platformdirs", "cv2"]
    assert loaded_of(heavy, "import vae_augment") == []


def test_the_command_lines_help_loads_no_torch():
    assert loaded_of(["torch", "torchvision", "numpy", "PIL"], "import vae_augment.cli") == []


def test_the_core_loads_no_more_than_it_needs():
    others = ["albumentations", "sklearn", "matplotlib", "cv2", "ray", "pandas", "scipy", "click", "tabulate"]
    core = "import vae_augment.dataset, vae_augment.fitting"
    assert loaded_of([*others, "torch"], core) == ["torch"]


def test_importing_everything_prints_nothing_and_seeds_nothing():
    code = (
        "import torch\nbefore, threads = torch.get_rng_state(), torch.get_num_threads()\n"
        "import vae_augment.dataset, vae_augment.fitting, vae_augment.data, vae_augment.exporting, vae_augment.cli\n"
        "assert torch.equal(before, torch.get_rng_state())\n"
        "assert threads == torch.get_num_threads()"
    )
    assert run(code) == ""


# ---- the sources ----


def test_every_module_has_its_place_in_the_order():
    assert {unit(path) for path in MODULES} == set(ORDER)


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_run_one_way(path):
    allowed = {*ORDER[: ORDER.index(unit(path)) + 1], "__version__"}
    found = imported(ast.parse(path.read_text()))
    assert [f"line {line}: {name}" for name, line in found if name not in allowed] == []


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
        assert called != "click.echo" or unit(path) == "cli", node.lineno
        assert "shell" not in options, node.lineno
