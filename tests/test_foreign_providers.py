"""Libraries in wheels that others published: extensions are built against them, repaired, installed and run."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cc import extension, program, shared_library, simple_module
from tests.support.downloads import pypi_wheel, pypi_wheels
from tests.support.matrix import record
from tests.support.projects import nativelib
from tests.support.toy import STRICT, World, consumer, installed, package
from tests.support.venvs import Environment, clean_environment, fresh_venv, run_python
from tests.support.wheels import members

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.nohost import Hiding

pytestmark = [
    pytest.mark.long,
    pytest.mark.network,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="not all of these wheels exist for this machine"),
]

VERSIONS = {
    "scipy-openblas32": "0.3.34.481.3",
    "scipy-openblas64": "0.3.34.481.3",
    "pyarrow": "26.0.1",
    "nvidia-cuda-runtime-cu12": "12.9.79",
    "nvidia-nvtx-cu12": "12.1.105",
    "rapids-logger": "0.3.0",
    "librmm-cu12": "26.10.0",
    "intel-openmp": "2023.2.0",
}
OLDER_TAG = "NL402"
"""Extensions this small deserve tags that are older than their providers'; real ones say what they want by --plat."""
SECTION = "Foreign providers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """Published wheels, and an environment that has them all, to build against."""

    root: Path
    wheels: Mapping[str, Path]
    links: Path
    """Directory of the same wheels, for installers."""
    base: Environment
    world: World

    def file(self, path: str) -> Path:
        """Return a file of site-packages."""
        return self.base.site / path

    def ask(self, code: str) -> str:
        """Return what the environment's Python prints for *code*: how a build asks a package where its files are."""
        return run_python(self.base, code).stdout.strip()

    def repaired(self, wheel: Path, *providers: str, arguments: Sequence[str] = (), allow: Sequence[str] = ()) -> Path:
        """Repair *wheel* by the providers' wheels and by the installed distributions; both must give the same bytes.

        Findings worse than notes must be among *allow*.
        """
        outputs = []
        for name, asked in (
            ("by-file", [str(self.wheels[provider]) for provider in providers]),
            ("installed", [*providers]),
        ):
            words = [word for text in asked for word in ("--provided-by", text)]
            python = ["--python", str(self.base.python)] if name == "installed" else []
            answer = nativelib("repair", wheel, *words, *python, *arguments, "-w", wheel.parent / name)
            assert answer.code == 0, answer.stdout + answer.stderr
            bad = [f for f in answer.findings if f["severity"] != "note" and f["code"] not in {*allow, OLDER_TAG}]
            assert not bad, bad
            [found] = answer.document["wheels"]
            assert not found["grafted"]
            outputs.append(Path(found["output"]))
        assert outputs[0].read_bytes() == outputs[1].read_bytes()
        return outputs[0]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, no_host_libraries: Hiding) -> Shop:
    root = tmp_path_factory.mktemp("shop")
    wheels = {name: pypi_wheel(name, version) for name, version in VERSIONS.items()}
    links = root / "links"
    links.mkdir()
    for wheel in wheels.values():
        (links / wheel.name).symlink_to(wheel)
    base = fresh_venv(root / "base")
    base.install(*wheels.values(), flags=["--no-deps"])
    nothing = root / "nothing"
    nothing.mkdir()
    return Shop(root=root, wheels=wheels, links=links, base=base, world=World(host=nothing, hiding=no_host_libraries))


def directories(target: Path, *wheels: Path) -> dict[str, str]:
    """Install each of *wheels* into a directory of its own, and return the variables that make Python see them."""
    environment = fresh_venv(target / "installer")
    paths = [target / f"site{number}" for number in range(len(wheels))]
    for path, wheel in zip(paths, wheels, strict=True):
        environment.install(wheel, flags=["--no-deps", "--target", str(path)])
    return {"PYTHONPATH": ":".join(map(str, paths))}


def local(symbol: str, *modules: str) -> str:
    """Return code that fails if *symbol* can be seen by everybody, or if one of *modules* was imported."""
    return f"""
import ctypes, sys
assert not hasattr(ctypes.CDLL(None), {symbol!r}), "everybody sees its symbols"
assert not {{*{modules!r}}} & {{*sys.modules}}, "the package was imported"
"""


# --- OpenBLAS -----------------------------------------------------------------------------------------------------

# Eigenvalues of the matrix (-1, 2, -1) are 2 - 2 cos(k pi / (n + 1)). The routine behind it calls several of those
# names that the two libraries have in common; with the other library's integers it fails or crashes.
# What it takes of libm, OpenBLAS brings along.
EIGEN = """
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cblas.h"
void DGEEV(const char *, const char *, blasint *, double *, blasint *, double *, double *, double *, blasint *,
           double *, blasint *, double *, blasint *, blasint *);
static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static long eigen(void) {
    blasint n = 120, work = 40 * 120, info = -99, one = 1;
    double *a = calloc(n * n, sizeof *a), *r = calloc(n, sizeof *r), *i = calloc(n, sizeof *i);
    double *v = calloc(n * n, sizeof *v), *w = calloc(work, sizeof *w), worst = 0;
    for (int k = 0; k < n; k++) {
        a[k * n + k] = 2;
        if (k) a[k * n + k - 1] = a[(k - 1) * n + k] = -1;
    }
    DGEEV("N", "V", &n, a, &n, r, i, v, &one, v, &n, w, &work, &info);
    qsort(r, n, sizeof *r, ascending);
    for (int k = 0; k < n; k++) {
        double off = fabs(r[k] - (2 - 2 * cos((k + 1) * acos(-1) / (n + 1))));
        worst = off > worst ? off : worst;
    }
    double x[] = {1, 2, 3}, dot = DDOT(3, x, 1, x, 1);
    return info ? -1000 + (long)info : worst > 1e-9 ? -1 : (long)dot;
}
"""
NAMES = {"32": ("scipy_dgeev_", "scipy_cblas_ddot"), "64": ("scipy_dgeev_64_", "scipy_cblas_ddot64_")}


def openblas(shop: Shop, directory: Path, width: str, name: str, module: str = "_ext") -> Path:
    """Build an extension the way that the wheel's accessors tell."""
    geev, dot = NAMES[width]
    said = shop.ask(
        f"import scipy_openblas{width} as o; print(o.get_include_dir(), o.get_lib_dir(), o.get_library(fullname=True))"
    )
    include, lib, file = said.split()
    flags = [f"-I{include}", f"-DDGEEV={geev}", f"-DDDOT={dot}"]
    flags += ["-DOPENBLAS_USE64BITINT"] if width == "64" else []
    source = simple_module(module, "eigen()", EIGEN)
    return extension(directory, module, source, needed=[Path(lib, file)], flags=flags)


def test_openblas_of_both_widths_in_one_process(shop: Shop, tmp_path: Path) -> None:
    wheels = []
    for width, name in (("32", "narrow"), ("64", "wide")):
        built = openblas(shop, tmp_path / name, width, name)
        wheel = shop.repaired(consumer(tmp_path / name, name, package(name, built)), f"scipy-openblas{width}")
        text = members(wheel)[f"{name}-1.0.dist-info/METADATA"].decode()
        version = VERSIONS[f"scipy-openblas{width}"]
        assert f'Requires-Dist: scipy-openblas{width}=={version}; sys_platform == "linux"' in text
        wheels.append(wheel)
    environment = installed(tmp_path / "venv", *wheels, links=[shop.links])
    apart = directories(tmp_path / "apart", *wheels, shop.wheels["scipy-openblas32"], shop.wheels["scipy-openblas64"])
    bare = fresh_venv(tmp_path / "bare")
    files = ("scipy_openblas32/lib/libscipy_openblas.so", "scipy_openblas64/lib/libscipy_openblas64_.so")
    hidden = "".join(
        local(symbol, "scipy_openblas32", "scipy_openblas64") for symbol in ("scipy_dgeev_", "scipy_dgeev_64_")
    )
    for order in ("narrow, wide", "wide, narrow"):
        code = f"import {order}\nout = [narrow.value(), wide.value(), narrow.value()]\n{hidden}"
        beside = [environment.site / file for file in files]
        assert shop.world.see(environment, code, *beside) == [14, 14, 14]
        away = [tmp_path / "apart" / site / file for site, file in zip(("site2", "site3"), files, strict=True)]
        assert shop.world.see(bare, code, *away, env=apart, flags=STRICT) == [14, 14, 14]
    record(
        SECTION,
        "scipy-openblas32 and scipy-openblas64 together",
        "eigenvalues by LAPACK in extensions of both widths, both import orders, installed together and apart",
        "works",
    )


def test_openblas_of_both_widths_in_one_wheel(shop: Shop, tmp_path: Path) -> None:
    files = package(
        "both", openblas(shop, tmp_path / "build", "32", "both", "_narrow"), "from . import _narrow, _wide\n"
    )
    files |= package(
        "both", openblas(shop, tmp_path / "build", "64", "both", "_wide"), "from . import _narrow, _wide\n"
    )
    # What they have in common is said, because a process that opens one for everybody breaks the other.
    wheel = shop.repaired(consumer(tmp_path, "both", files), "scipy-openblas32", "scipy-openblas64", allow=["NL305"])
    environment = installed(tmp_path / "venv", wheel, links=[shop.links])
    code = "import both; out = [both._narrow.value(), both._wide.value()]"
    assert shop.world.see(environment, code) == [14, 14]
    record(
        SECTION, "scipy-openblas32 and scipy-openblas64 in one wheel", "the same in one package", "works, with NL305"
    )


def test_openblas_of_the_other_width_is_refused(shop: Shop, tmp_path: Path) -> None:
    wheel = consumer(tmp_path, "wide", package("wide", openblas(shop, tmp_path / "build", "64", "wide")))
    wrong = shop.wheels["scipy-openblas32"]
    answer = nativelib("repair", wheel, "--provided-by", f"libscipy_openblas64_.so={wrong}", "-w", tmp_path / "out")
    assert answer.code == 1
    [problem] = [finding for finding in answer.findings if finding["severity"] == "error"]
    assert problem["code"] == "NL301"
    assert problem["symbols"] == ["scipy_cblas_ddot64_", "scipy_dgeev_64_"]
    assert not list((tmp_path / "out").glob("*"))
    record(SECTION, "scipy-openblas32 for 64-bit integers", "repair by the other width's wheel", "refused: NL301")


# --- Arrow --------------------------------------------------------------------------------------------------------

ARROW = """
#include <Python.h>
#include <arrow/array/array_primitive.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/python/pyarrow.h>

// An array of pyarrow comes in, another one goes out: both sides must use the same libarrow.
static PyObject *doubled(PyObject *, PyObject *given) {
    if (arrow::py::import_pyarrow()) return nullptr;
    auto array = arrow::py::unwrap_array(given);
    if (!array.ok()) return PyErr_Format(PyExc_TypeError, "%s", array.status().ToString().c_str());
    auto &numbers = static_cast<const arrow::Int64Array &>(**array);
    arrow::Int64Builder builder;
    for (int64_t k = 0; k < numbers.length(); k++)
        if (!builder.Append(2 * numbers.Value(k)).ok()) return PyErr_NoMemory();
    return arrow::py::wrap_array(builder.Finish().ValueOrDie());
}
static PyMethodDef methods[] = {{"doubled", doubled, METH_O, nullptr}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_ext", nullptr, -1, methods};
PyMODINIT_FUNC PyInit__ext() { return PyModule_Create(&definition); }
"""


def test_pyarrow(shop: Shop, tmp_path: Path) -> None:
    said = shop.ask("import pyarrow as p; print(p.get_include(), p.get_library_dirs()[0], *p.get_libraries())")
    include, lib, *names = said.split()
    assert names == ["arrow_python", "arrow"]
    # There is no libarrow.so to link with, and what makes one writes into site-packages.
    needed = [next(Path(lib).glob(f"lib{name}.so.[0-9]*[0-9]")) for name in names]
    assert all(path.name.count(".") == 2 for path in needed)
    built = extension(tmp_path / "build", "_ext", ARROW, needed=needed, cc="g++", flags=["-std=c++20", f"-I{include}"])
    wheel = shop.repaired(
        consumer(tmp_path, "doubler", package("doubler", built, "from ._ext import doubled\n")), "pyarrow"
    )
    environment = installed(tmp_path / "venv", wheel, links=[shop.links])
    apart = directories(tmp_path / "apart", wheel, shop.wheels["pyarrow"])
    bare = fresh_venv(tmp_path / "bare")
    files = [f"pyarrow/{path.name}" for path in needed]
    for order in ("doubler, pyarrow", "pyarrow, doubler"):
        code = f"import {order}\nout = doubler.doubled(pyarrow.array([1, 2, 20])).to_pylist()"
        code += local("_ZN5arrow12GetBuildInfoEv")
        assert shop.world.see(environment, code, *(environment.site / file for file in files)) == [2, 4, 40]
        away = [tmp_path / "apart" / "site1" / file for file in files]
        assert shop.world.see(bare, code, *away, env=apart, flags=STRICT) == [2, 4, 40]
    code = f"import doubler, sys; out = 'pyarrow' in sys.modules\n{local('_ZN5arrow12GetBuildInfoEv')}"
    assert shop.world.see(environment, code, *(environment.site / file for file in files)) is False
    record(
        SECTION,
        "pyarrow",
        "an extension against libarrow and libarrow_python takes and returns arrays of pyarrow; both import orders",
        "works",
    )


def test_another_release_of_arrow_is_refused(shop: Shop, tmp_path: Path) -> None:
    old = shared_library(
        tmp_path / "old", "libarrow.so.1500", "int arrow(void) { return 1; }", soname="libarrow.so.1500"
    )
    built = extension(tmp_path / "build", "_ext", simple_module("_ext", "arrow()", "int arrow(void);"), needed=[old])
    wheel = consumer(tmp_path, "behind", package("behind", built))
    answer = nativelib("repair", wheel, "--provided-by", shop.wheels["pyarrow"], "-w", tmp_path / "out")
    assert answer.code == 1
    text = " ".join(answer.errors().values())
    assert "NL202" in text
    assert "libarrow.so.2600" in text
    assert "libarrow.so.1500" in text
    record(SECTION, "pyarrow of another release", "repair of what was linked with libarrow.so.1500", "refused: NL202")


# --- NVIDIA -------------------------------------------------------------------------------------------------------

# The wheel's own headers include some of a compiler that is a wheel of 40 MB, so the functions are declared here.
CUDA = """
int cudaGetDeviceCount(int *count), cudaRuntimeGetVersion(int *version);
static long version(void) {
    int found = -1, devices = -1, answer = cudaGetDeviceCount(&devices);
    // cudaErrorInsufficientDriver without a driver, cudaErrorNoDevice without a device; else there are some.
    if (answer != 35 && answer != 100 && devices < 1) return -answer;
    return cudaRuntimeGetVersion(&found) == 0 ? found : -1;
}
"""
DRIVER = "Install the NVIDIA driver, release 525 or newer."


def cuda(shop: Shop, directory: Path, *more: Path, expression: str = "version()", declarations: str = "") -> Path:
    needed = [shop.file("nvidia/cuda_runtime/lib/libcudart.so.12"), *more]
    source = simple_module("_ext", expression, CUDA + declarations)
    return extension(directory, "_ext", source, needed=needed)


def test_cuda_runtime_without_a_device(shop: Shop, tmp_path: Path) -> None:
    wheel = consumer(tmp_path, "gpu", package("gpu", cuda(shop, tmp_path / "build")))
    wheel = shop.repaired(wheel, "nvidia-cuda-runtime-cu12")
    environment = installed(tmp_path / "venv", wheel, links=[shop.links])
    apart = directories(tmp_path / "apart", wheel, shop.wheels["nvidia-cuda-runtime-cu12"])
    file = "nvidia/cuda_runtime/lib/libcudart.so.12"
    code = f"import gpu; out = gpu.value(){local('cudaRuntimeGetVersion', 'nvidia')}"
    assert shop.world.see(environment, code, environment.site / file) == 12090
    away = tmp_path / "apart" / "site1" / file
    assert shop.world.see(fresh_venv(tmp_path / "bare"), code, away, env=apart, flags=STRICT) == 12090
    record(
        SECTION,
        "nvidia-cuda-runtime-cu12",
        "cudaRuntimeGetVersion and cudaGetDeviceCount, without a device; installed together and apart",
        "works",
    )


def test_a_package_that_is_a_namespace_for_some_only(shop: Shop, tmp_path: Path) -> None:
    marks = shop.file("nvidia/nvtx/lib/libnvToolsExt.so.1")
    assert shop.file("nvidia/__init__.py").is_file()
    assert "nvidia/__init__.py" not in members(shop.wheels["nvidia-cuda-runtime-cu12"])
    built = cuda(
        shop,
        tmp_path / "build",
        marks,
        expression='nvtxRangePushA("work") < 0 ? version() : -2',
        declarations="int nvtxRangePushA(const char *text);",
    )
    wheel = consumer(tmp_path, "marker", package("marker", built))
    providers = ("nvidia-cuda-runtime-cu12", "nvidia-nvtx-cu12")
    wheel = shop.repaired(wheel, *providers)
    environment = installed(tmp_path / "venv", wheel, links=[shop.links])
    files = ("nvidia/cuda_runtime/lib/libcudart.so.12", "nvidia/nvtx/lib/libnvToolsExt.so.1")
    code = "import marker; out = marker.value()"
    assert shop.world.see(environment, code, *(environment.site / file for file in files)) == 12090
    bare = fresh_venv(tmp_path / "bare")
    for turn, order in enumerate((providers, providers[::-1])):
        sites = directories(tmp_path / f"apart{turn}", wheel, *(shop.wheels[name] for name in order))
        away = [tmp_path / f"apart{turn}" / f"site{1 + order.index(name)}" for name in providers]
        found = [site / file for site, file in zip(away, files, strict=True)]
        assert shop.world.see(bare, code, *found, env=sites, flags=STRICT) == 12090
    record(
        SECTION,
        "nvidia-nvtx-cu12 beside nvidia-cuda-runtime-cu12",
        "a package nvidia with __init__.py in one distribution and without in the other, in directories of their own",
        "works",
    )


def stub(directory: Path, soname: str, function: str) -> Path:
    """Make what vendors ship to link with where the driver is not installed."""
    return shared_library(directory, soname, f"int {function}(void) {{ return 5; }}", soname=soname)


def test_drivers_are_left_to_the_system(shop: Shop, tmp_path: Path) -> None:
    stubs = [stub(tmp_path / "stubs", name, f"f{number}") for number, name in enumerate(DRIVERS)]
    calls = "".join(f"int f{number}(void); " for number in range(len(stubs)))
    total = " + ".join(f"f{number}()" for number in range(len(stubs)))
    built = cuda(shop, tmp_path / "build", *stubs, expression=f"version() + {total}", declarations=calls)
    files = package("gpu", built, "try:\n    from ._ext import value\nexcept ImportError:\n    value = None\n")
    wheel = consumer(tmp_path, "gpu", files)
    # Not excluded, and not on this machine's search path: an error that says how to exclude it.
    runtime = shop.wheels["nvidia-cuda-runtime-cu12"]
    nowhere = ["--ldpaths", str(tmp_path / "nowhere")]
    answer = nativelib("repair", wheel, "--provided-by", runtime, *nowhere, "-w", tmp_path / "out")
    assert answer.code == 1
    # The manylinux policies allow libGL.so.1 from the system, so it needs no --exclude.
    missing = [finding for finding in answer.findings if finding["code"] == "NL201"]
    assert ["--exclude libcuda.so.1" in missing[0]["remedy"], "--exclude libvulkan.so.1" in missing[1]["remedy"]] == [
        True
    ] * 2

    options = [word for name in DRIVERS for word in ("--exclude", name, "--system-hint", f"{name}={DRIVERS[name]}")]
    wheel = shop.repaired(wheel, "nvidia-cuda-runtime-cu12", arguments=options, allow=["NL302"])
    environment = installed(tmp_path / "venv", wheel, links=[shop.links])
    code = "import gpu; out = gpu.value()"
    places = {"LD_LIBRARY_PATH": str(tmp_path / "stubs")}
    assert shop.world.look(environment, code, hosted=True, env=places).out == 12090 + 5 * len(DRIVERS)
    # The hook speaks before a package can swallow the loader's error.
    for name, hint in DRIVERS.items():
        some = tmp_path / f"without-{name}"
        shutil.copytree(tmp_path / "stubs", some)
        (some / name).unlink()
        if run_python(environment, f"import ctypes; ctypes.CDLL({name!r})", check=False).returncode == 0:
            continue  # this machine has it
        said = shop.world.refused(environment, code, hosted=True, env={"LD_LIBRARY_PATH": str(some)})
        assert said.startswith(f"gpu needs {name} of this system (")
        assert said.endswith(hint)
    record(
        SECTION,
        "libcuda.so.1, libGL.so.1, libvulkan.so.1",
        "--exclude and --system-hint; with the libraries, and without each of them",
        "works; the hint is what the user reads",
    )


DRIVERS = {
    "libcuda.so.1": DRIVER,
    "libGL.so.1": "Install libgl1 (Debian, Ubuntu) or mesa-libGL (Fedora).",
    "libvulkan.so.1": "Install libvulkan1 (Debian, Ubuntu) or vulkan-loader (Fedora).",
}


# --- RAPIDS -------------------------------------------------------------------------------------------------------


def rapids(shop: Shop, directory: Path, name: str, source: str, *files: str) -> Path:
    """Return a consumer in C++ that is linked with *files* of site-packages."""
    flags = [f"-I{shop.file(path)}" for path in RMM_HEADERS]
    flags += ["-std=c++20", f"-Wl,-rpath-link,{shop.file('rapids_logger/lib64')}"]
    needed = [shop.file(file) for file in files]
    built = extension(directory / "build", "_ext", source, needed=needed, cc="g++", flags=flags)
    return consumer(directory, name, package(name, built))


RMM_HEADERS = ("librmm/include", "librmm/include/rapids", "rapids_logger/include")
RMM, LOGGER = "librmm/lib64/librmm.so", "rapids_logger/lib64/librapids_logger.so"
ALIGNMENT = simple_module("_ext", "rmm::is_supported_alignment(256)", "#include <rmm/aligned.hpp>")
LOGGING = simple_module(
    "_ext",
    "(rmm::default_logger().set_level(rapids_logger::level_enum::warn), rmm::default_logger().level())",
    "#include <rmm/logger.hpp>",
)


def test_a_library_that_needs_one_of_another_distribution(shop: Shop, tmp_path: Path) -> None:
    both = ("librmm-cu12", "rapids-logger")
    bare = fresh_venv(tmp_path / "bare")
    for name, source, linked, value in (("direct", LOGGING, [RMM, LOGGER], 3), ("indirect", ALIGNMENT, [RMM], 1)):
        wheel = shop.repaired(rapids(shop, tmp_path / name, name, source, *linked), *both)
        required = members(wheel)[f"{name}-1.0.dist-info/METADATA"].decode()
        assert "Requires-Dist: librmm-cu12==26.10.0;" in required
        # What only the provider needs, its own metadata require.
        assert ("rapids-logger" in required) == (name == "direct")
        environment = installed(tmp_path / name / "venv", wheel, links=[shop.links])
        code = f"import {name}; out = {name}.value(){local('_ZN3rmm11_RMM_26_1014default_loggerEv', 'librmm')}"
        assert shop.world.see(environment, code, environment.site / RMM, environment.site / LOGGER) == value
        sites = directories(tmp_path / name / "apart", wheel, *(shop.wheels[provider] for provider in both))
        away = tmp_path / name / "apart"
        assert (
            shop.world.see(bare, code, away / "site1" / RMM, away / "site2" / LOGGER, env=sites, flags=STRICT) == value
        )
    record(
        SECTION,
        "librmm-cu12 with rapids-logger",
        "C++ extensions that call both libraries, and the first alone; three directories",
        "works",
    )


def test_a_chain_that_is_not_complete_is_refused(shop: Shop, tmp_path: Path) -> None:
    wheel = rapids(shop, tmp_path, "half", ALIGNMENT, RMM)
    answer = nativelib("repair", wheel, "--provided-by", shop.wheels["librmm-cu12"], "-w", tmp_path / "out")
    assert answer.code == 1
    [text] = answer.errors().values()
    assert text.startswith("NL201 librmm/lib64/librmm.so of librmm-cu12 26.10.0 needs librapids_logger.so, ")
    assert not list((tmp_path / "out").glob("*"))
    words = ["--provided-by", str(shop.wheels["librmm-cu12"]), "--exclude", "librapids_logger.so"]
    answer = nativelib("repair", wheel, *words, "-w", tmp_path / "out")
    assert answer.code == 0
    assert not [finding for finding in answer.findings if finding["code"] == "NL203"]
    record(SECTION, "librmm-cu12 without rapids-logger", "repair by half of the chain", "refused: NL201")


# --- Intel --------------------------------------------------------------------------------------------------------

INTEL = """
#include <omp.h>
#include <stddef.h>
size_t kmp_get_stacksize_s(void);
long total(void) {
    long sum = 0;
    omp_set_num_threads(3);
    #pragma omp parallel for reduction(+ : sum)
    for (int k = 1; k <= 100; k++) sum += k;
    return kmp_get_stacksize_s() ? sum : -1;
}
"""


@pytest.fixture(scope="module")
def threaded(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repaired consumer of Intel's OpenMP runtime, built by gcc."""
    return shop.repaired(intel(shop, tmp_path_factory.mktemp("intel")), "intel-openmp")


def intel(shop: Shop, directory: Path, layout: str = "threaded") -> Path:
    # A gcc that links with -fopenmp names its own runtime, so it only compiles with it.
    compiled = program(directory, "total.o", INTEL, flags=["-c", "-fPIC", "-fopenmp"])
    source = simple_module("_ext", "total()", "long total(void);")
    built = extension(directory, "_ext", source, needed=[compiled, shop.base.path / RUNTIME])
    files = package(layout, built)
    if layout != "threaded":
        files.pop(f"{layout}/__init__.py")
    return consumer(directory, "threaded", files)


RUNTIME = "lib/libiomp5.so"
THREADED = f"import threaded; out = threaded.value(){local('omp_get_max_threads')}"


@pytest.mark.parametrize("pip", [True, False], ids=["pip", "uv"])
def test_libraries_in_the_prefix_of_an_environment(shop: Shop, threaded: Path, tmp_path: Path, pip: bool) -> None:
    environment = installed(tmp_path / "venv", threaded, links=[shop.links], pip=pip)
    assert shop.world.see(environment, THREADED, environment.path / RUNTIME) == 5050
    # Installed by either, it can also be what others are repaired by.
    words = ["--provided-by", "intel-openmp", "--python", str(environment.python)]
    answer = nativelib("repair", intel(shop, tmp_path / "again"), *words, "-w", tmp_path / "out")
    assert answer.code == 0, answer.stdout
    assert answer.document["wheels"][0]["provided"] == [
        {"soname": "libiomp5.so", "provider": "intel-openmp", "as": "libiomp5.so"}
    ]
    # The consumer elsewhere: on the path of this environment's Python.
    apart = directories(tmp_path / "apart", threaded)
    assert shop.world.see(environment, THREADED, environment.path / RUNTIME, env=apart, flags=STRICT) == 5050
    # The environment elsewhere: its site-packages on the path of another Python.
    foreign = {"PYTHONPATH": f"{apart['PYTHONPATH']}:{environment.site}"}
    bare = fresh_venv(tmp_path / "bare")
    assert shop.world.see(bare, THREADED, environment.path / RUNTIME, env=foreign, flags=STRICT) == 5050
    record(
        SECTION,
        f"intel-openmp, in an environment by {'pip' if pip else 'uv'}",
        "gcc -fopenmp against libiomp5.so, which is in the prefix and in no package",
        "works",
    )


def test_libraries_in_the_prefix_of_the_user(shop: Shop, threaded: Path, tmp_path: Path) -> None:
    path = tmp_path / "venv"
    venv.EnvBuilder(symlinks=True, system_site_packages=True).create(path)
    environment = Environment(path=path)
    home = {"PYTHONUSERBASE": str(tmp_path / "user")}
    argv = [sys.executable, "-m", "pip", "--python", environment.python, "install", "--user", "-q", "--no-index"]
    argv += ["--find-links", shop.links, "--ignore-installed", threaded]
    done = subprocess.run(
        list(map(str, argv)), env=clean_environment(home), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert shop.world.see(environment, THREADED, tmp_path / "user" / RUNTIME, env=home, flags=STRICT) == 5050
    record(SECTION, "intel-openmp, for the user", "pip install --user", "works")


def test_libraries_in_the_prefix_and_target_directories(shop: Shop, threaded: Path, tmp_path: Path) -> None:
    bare = fresh_venv(tmp_path / "bare")
    by_uv = directories(tmp_path / "uv", threaded, shop.wheels["intel-openmp"])
    library = tmp_path / "uv" / "site1" / RUNTIME
    assert shop.world.see(bare, THREADED, library, env=by_uv, flags=STRICT) == 5050
    record(SECTION, "intel-openmp, by uv pip install --target", "the prefix is then the directory itself", "works")

    # pip leaves out what would land in lib/ beside the packages, without a word.
    target = tmp_path / "pip"
    bare.pip_install(threaded, links=shop.links, flags=["--target", str(target)])
    assert not (target / RUNTIME).exists()
    said = shop.world.refused(bare, THREADED, hosted=False, env={"PYTHONPATH": str(target)}, flags=STRICT)
    assert said.startswith("threaded needs libiomp5.so of intel-openmp, ")
    assert "--target" in said
    record(
        SECTION,
        "intel-openmp, by pip install --target",
        "pip does not install libraries of the data scheme there",
        "refused when imported, with the reason",
    )


def test_libraries_in_the_prefix_and_no_hook(shop: Shop, tmp_path: Path) -> None:
    # No run path leads out of site-packages in every installation, so somebody has to load the library first.
    wheel = intel(shop, tmp_path / "bare", "space")
    answer = nativelib("repair", wheel, "--provided-by", shop.wheels["intel-openmp"], "-w", tmp_path / "out")
    assert answer.code == 1
    [text] = answer.errors().values()
    assert text.startswith("NL502 ")
    assert "--loader-modules" in text
    wheel = shop.repaired(wheel, "intel-openmp", arguments=["--loader-modules"])
    environment = installed(tmp_path / "venv", wheel, links=[shop.links])
    code = f"from space import _ext; out = _ext.value(){local('omp_get_max_threads')}"
    assert shop.world.see(environment, code, environment.path / RUNTIME) == 5050
    record(
        SECTION,
        "intel-openmp and a namespace package",
        "without a regular package to put the hook in",
        "refused: NL502; with --loader-modules it works",
    )


# --- PyTorch ------------------------------------------------------------------------------------------------------

TORCH = "2.13.0+cpu"
TENSORS = """
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sum.h>
"""


@pytest.fixture(scope="module")
def torch(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Environment]:
    """A wheel of PyTorch for processors alone, and an environment that has it."""
    # The package index has builds of several gigabytes for GPUs under this version; they are never taken.
    argv = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--no-deps", "--only-binary=:all:", "--target"]
    target = tmp_path_factory.mktemp("torch")
    found = subprocess.run([*argv, str(target / "x"), f"torch=={TORCH}"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"no index or directory that pip is told of (PIP_FIND_LINKS) has torch {TORCH}")
    links = pypi_wheels(f"torch=={TORCH}")
    [wheel] = links.glob("torch-*.whl")
    return wheel, installed(target / "venv", f"torch=={TORCH}", links=[links])


def test_torch_is_imported(shop: Shop, torch: tuple[Path, Environment], tmp_path: Path) -> None:
    provider, environment = torch
    said = run_python(
        environment,
        "import torch.utils.cpp_extension as c; print(*c.include_paths()); print(*c.library_paths())",
        flags=("-I", "-W", "ignore"),
    ).stdout.splitlines()
    libraries = [Path(said[1], name) for name in ("libtorch_cpu.so", "libc10.so")]
    source = simple_module("_ext", "100 * at::ones({3, 4}).sum().item<double>() + at::get_num_threads()", TENSORS)
    flags = ["-std=c++20", *(f"-I{path}" for path in said[0].split())]
    built = extension(tmp_path / "build", "_ext", source, needed=libraries, cc="g++", flags=flags)
    wheel = consumer(tmp_path, "tensors", package("tensors", built))
    by_file = ["--provided-by", str(provider)]
    installed_one = ["--provided-by", "torch", "--python", str(environment.python)]
    imported = ["--import-provider", "torch"]
    outputs = []
    for number, words in enumerate(([*by_file, *imported], [*installed_one, *imported], by_file)):
        answer = nativelib("repair", wheel, *words, "-w", tmp_path / f"out{number}")
        assert answer.code == 0, answer.stdout
        assert {f["code"] for f in answer.findings if f["severity"] != "note"} <= {OLDER_TAG}
        assert answer.document["wheels"][0]["requires"] == ['torch==2.13.0; sys_platform == "linux"']
        outputs.append(Path(answer.document["wheels"][0]["output"]))
    assert outputs[0].read_bytes() == outputs[1].read_bytes()

    def see(order: str, env: Mapping[str, str], flags: Sequence[str] = ("-I",)) -> None:
        # The number of threads is what Python has set, so there is one copy; libgomp is PyTorch's own.
        code = f"import {order}\ntorch.set_num_threads(3); out = tensors.value()\n{local('_ZN2at15get_num_threadsEv')}"
        seen = shop.world.look(environment, code, hosted=False, env=env, flags=[*flags, "-B", "-W", "ignore"])
        assert seen.out == 1203
        for library in (*libraries, libraries[0].parent / "libgomp.so.1"):
            assert seen.copies(library.name.partition(".")[0]) == [str(library)]

    apart = directories(tmp_path / "apart", outputs[0])
    for order in ("tensors, torch", "torch, tensors"):
        see(order, apart, flags=())
    environment.install(outputs[0], flags=["--no-deps"])
    see("tensors, torch", {})
    record(
        SECTION,
        "torch, for processors",
        "--import-provider torch; an extension against libtorch_cpu and libc10, both import orders, together and apart",
        "works",
    )
    see("tensors, torch", directories(tmp_path / "by-path", outputs[2]), flags=())
    record(SECTION, "torch, without --import-provider", "the same, its libraries opened by path first", "works")


# --- others -------------------------------------------------------------------------------------------------------


def test_what_provides_nothing_is_refused(shop: Shop, tmp_path: Path) -> None:
    wheel = rapids(shop, tmp_path, "half", ALIGNMENT, RMM)
    arm = pypi_wheel("rapids-logger", VERSIONS["rapids-logger"], platform="manylinux_2_28_aarch64", python="311")
    plain = simple_module("_ext", "1")
    logging = rapids(shop, tmp_path / "logging", "logging_only", plain, LOGGER)
    answer = nativelib("repair", logging, "--provided-by", arm, "-w", tmp_path / "out")
    assert answer.code == 1
    assert "NL205" in " ".join(answer.errors().values())
    record(SECTION, "a wheel for another processor", "rapids-logger for aarch64", "refused: NL205")

    pure = pypi_wheel("packaging", "25.0")
    answer = nativelib("repair", wheel, "--provided-by", pure, "-w", tmp_path / "out")
    assert answer.code == 1
    assert "NL107" in " ".join(answer.errors().values())
    record(SECTION, "a wheel without libraries", "packaging", "refused: NL107")
