"""From the index and the distribution's packages to two environments: published wheels, and the same, sharing."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debian import fetch, unpack
from steps import DemoError, Runner, say

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
PACKAGES = ("libopenblas0-openmp", "libopenblas64-0-openmp", "libgfortran5", "libquadmath0", "libgomp1")
WANTED = re.compile(
    r"\./usr/(lib/.*/lib(openblas|gfortran|quadmath|gomp|omp)[^/]*\.so[^/]*|share/doc/[^/]+(/copyright)?)"
)
RUNTIMES = {"llvm": "openmp-lib", "gcc": "openmp-gcc-lib"}
OPENBLAS = {"openblas-lp64-lib": "libopenblas", "openblas-ilp64-lib": "libopenblas64"}
PUBLISHED = {
    "numpy": "2.4.6",
    "scipy": "1.17.1",
    "scikit-learn": "1.9.1",
    "xgboost": "3.2.0",
    "lightgbm": "4.7.0",
    "torch": "2.13.0",
}
QUICK = ("numpy", "scipy", "scikit-learn")
"""What takes part in a quick run; scikit-learn cannot do without SciPy."""
HELPERS = ("joblib", "threadpoolctl", "narwhals", "pytest>=8", "hypothesis")
"""What they need besides, and what their tests need."""
TORCH_NEEDS = ("filelock", "fsspec", "jinja2", "networkx", "sympy", "typing-extensions", "setuptools<82")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One of the environments that are compared."""

    name: str
    python: str
    installed: int
    """Bytes of all files below site-packages."""


def library_wheels(runner: Runner, cache: Path, runtime: str) -> list[Path]:
    """Build the OpenMP runtime and both builds of OpenBLAS from the distribution's packages; return their wheels."""
    files = fetch(runner, cache, PACKAGES, newest="libomp5-")
    tree = runner.directory / "tree"
    unpack(files, tree, WANTED)
    prefix = tree / "usr"
    _compile(runner, prefix)
    target = runner.directory / "libraries"
    shutil.rmtree(target, ignore_errors=True)
    search = ":".join(sorted({str(path.parent) for path in prefix.glob("lib/*-linux-*/lib*.so.*")}))
    openmp = _build(runner, RUNTIMES[runtime], _version(files, "libomp5-" if runtime == "llvm" else "libgomp1"), prefix)
    version = _version(files, "libopenblas0-openmp")
    more = ["--provided-by", str(openmp), "--ldpaths", search]
    return [openmp, *(_build(runner, name, version, prefix, *more) for name in OPENBLAS)]


def _version(files: Sequence[Path], package: str) -> str:
    """Return the upstream version of a package, from the name of its file."""
    name = next(file.name for file in files if file.name.startswith(package))
    found = re.match(r"[^_]+_(?:\d+%3a)?(\d+(?:\.\d+)*)", name)
    if found is None:
        raise DemoError(f"{name} does not say its version")
    return found[1]


def _compile(runner: Runner, prefix: Path) -> None:
    """Compile the two small libraries of native/ into the prefix.

    Their names do not begin with those of OpenBLAS and libgomp: threadpoolctl would take them for these.
    """
    target = prefix / "lib" / "showcase"
    target.mkdir(exist_ok=True)
    [gomp] = prefix.glob("lib/*-linux-*/libgomp.so.1")
    sources = {"libfork_gomp": ("fork_gomp.c", [gomp])}
    for stem in OPENBLAS.values():
        [openblas] = prefix.glob(f"lib/*/*/{stem}.so.0")
        sources[f"libstart_{stem[3:]}"] = ("start_openblas.c", [openblas, gomp])
    for name, (source, libraries) in sources.items():
        soname = f"{name}.so.0"
        command = ["gcc", "-shared", "-fPIC", "-O2", f"-Wl,-soname,{soname}", "-Wl,--no-as-needed"]
        # What the libraries themselves need is not there, and is no matter of this one.
        command += ["-Wl,--allow-shlib-undefined", "-o", str(target / soname), str(HERE / "native" / source)]
        runner.run([*command, *map(str, libraries)], show=f"gcc -shared {source} -o {soname}")


def _build(runner: Runner, name: str, version: str, prefix: Path, *options: str) -> Path:
    text = (HERE / name / "pyproject.toml").read_text(encoding="utf-8")
    directory = runner.directory / "specs" / name
    directory.mkdir(parents=True, exist_ok=True)
    text = re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', text, count=1)
    (directory / "pyproject.toml").write_text(text, encoding="utf-8")
    answer = runner.nativelib("build", str(directory), "--prefix", str(prefix), *options, "-w", "libraries")
    return Path(answer["wheel"])


def published(runner: Runner, cache: Path, names: Sequence[str], torch: Path | None) -> tuple[list[Path], list[str]]:
    """Return the published wheels, from `cache` or the index, and a line for each that is left out.

    The wheel of PyTorch is the file `torch`, if given. What all of them need is downloaded to the same directory.
    """
    wheels, left_out = [], []
    house = cache / "pypi"
    for name in names:
        if name == "torch" and torch is not None:
            wheels.append(torch)
            continue
        found = _cached(house, name)
        if not found and name == "torch" and (reason := _why_no_torch(runner)):
            left_out.append(reason)
            continue
        if not found:
            _download(runner, house, f"{name}=={PUBLISHED[name]}", "--no-deps")
            found = _cached(house, name)
        wheels += found
    helpers = [*HELPERS, *(TORCH_NEEDS if any(wheel.name.startswith("torch-") for wheel in wheels) else ())]
    mark = house / f".{'torch' if len(helpers) > len(HELPERS) else 'helpers'}"
    if not mark.exists():
        _download(runner, house, *helpers)
        mark.touch()
    return wheels, left_out


def _cached(house: Path, name: str) -> list[Path]:
    stem = f"{name.replace('-', '_')}-{PUBLISHED[name]}"
    return [path for path in sorted(house.glob(f"{stem}*.whl")) if path.name[len(stem)] in "-+"][:1]


def _download(runner: Runner, house: Path, *words: str) -> None:
    command = [runner.python, "-m", "pip", "-q", "download", "--only-binary=:all:", "-d", str(house), *words]
    runner.run(command, show=f"pip download {' '.join(words)}")


def _why_no_torch(runner: Runner) -> str:
    """Return why PyTorch is left out, or nothing if the index has a wheel of it for the processor alone."""
    wanted = f"torch=={PUBLISHED['torch']}"
    command = [runner.python, "-m", "pip", "-q", "install", "--dry-run", "--ignore-installed", "--no-deps"]
    command += ["--only-binary=:all:", "--report", "-", wanted]
    done = runner.run(command, show=f"pip install --dry-run {wanted}", may_fail=True)
    if done.returncode:
        return f"torch: left out, because pip finds no wheel of {wanted}; name a file with --torch"
    [item] = json.loads(done.stdout)["install"]
    requires = " ".join(item["metadata"].get("requires_dist", ()))
    if re.search(r"nvidia|cuda|triton", requires):
        return "torch: left out, because the index has the wheel with CUDA (gigabytes); name one without by --torch"
    return ""


def repair(runner: Runner, wheels: Sequence[Path], libraries: Sequence[Path]) -> list[dict[str, Any]]:
    """Let the published wheels share the libraries, all in one call; return what was done to each."""
    house = runner.directory / "shared"
    shutil.rmtree(house, ignore_errors=True)
    words = [str(wheel) for wheel in wheels]
    words += [word for library in libraries for word in ("--provided-by", str(library))]
    # The copies in the wheels have threads of their own. That these ones share OpenMP's is the purpose.
    words += ["--require-abi", "threading=openmp"]
    if any(wheel.name.startswith("torch-") for wheel in wheels):
        # It lies in torch/lib under its own soname, as if it were PyTorch's own.
        words += ["--replace", "libgomp.so.1"]
    answer = runner.nativelib("repair", *words, "-w", str(house))
    return list(answer["wheels"])


def verify(runner: Runner, wheels: Sequence[Path], libraries: Sequence[Path], house: Path) -> str:
    """Prove by running them that the repaired wheels use the libraries; return what was proven, in a line.

    XGBoost is left out, because pip would ask for NVIDIA's libraries. Raise `DemoError` with the findings.
    """
    chosen = [str(wheel) for wheel in wheels if not wheel.name.startswith("xgboost-")]
    words = [word for library in libraries for word in ("--provided-by", str(library))]
    links = [word for place in (house, libraries[0].parent) for word in ("--find-links", str(place))]
    answer = runner.nativelib("verify", "--no-index", *links, *words, "--timeout", "600", *chosen)
    checks = [check for part in (answer, *answer.get("wheels", ())) for check in part.get("checks", ())]
    names = ", ".join(Path(wheel).name.split("-")[0] for wheel in chosen)
    return f"nativelib verify: {len(checks)} checks of {names}"


def install(runner: Runner, name: str, wheels: Sequence[Path], houses: Sequence[Path], fresh: bool) -> Stack:
    """Make the environment `name` and install `wheels` into it, with what they need from the directories `houses`."""
    environment = runner.directory / f"env-{name}"
    python = environment / "bin" / "python"
    mark = environment / ".wheels"
    content = "\n".join(wheel.name for wheel in wheels)
    if fresh or not mark.exists() or mark.read_text(encoding="utf-8") != content:
        shutil.rmtree(environment, ignore_errors=True)
        command = [runner.python, "-m", "venv", "--without-pip", str(environment)]
        runner.run(command, show=f"python -m venv {environment.name}")
        links = [word for house in houses for word in ("--find-links", str(house))]
        pip = [runner.python, "-m", "pip", "--python", str(python), "-q", "install", "--no-index"]
        # XGBoost requires NVIDIA's libraries for several machines, of 300 MB, which no processor needs; PyTorch's
        # requirements are in the directory only if it takes part.
        alone = [str(wheel) for wheel in wheels if wheel.name.startswith("xgboost-")]
        others = [str(wheel) for wheel in wheels if str(wheel) not in alone]
        short = " ".join(Path(wheel).name.split("-")[0] for wheel in others)
        runner.run([*pip, *links, *others, *HELPERS], show=f"pip install {short} ({name})")
        if alone:
            runner.run([*pip, "--no-deps", *alone], show=f"pip install --no-deps xgboost ({name})")
        mark.write_text(content, encoding="utf-8")
    else:
        say(f"  {environment.name}: kept")
    site = next((environment / "lib").glob("python*/site-packages"))
    installed = sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return Stack(name=name, python=str(python), installed=installed)
