"""``nativelib shim``: the lenient hook for source trees, and what ``repair`` makes of it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nativelib.plan.values import HOOK_BEGIN, HOOK_END
from nativelib.write.render import render
from tests.support.cc import extension, shared_library, simple_module
from tests.support.projects import nativelib
from tests.support.shapes import again
from tests.support.toy import EXT_SUFFIX, STRICT, Toy, World, consumer, installed, package
from tests.support.venvs import clean_environment, fresh_venv, run_python
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from tests.support.projects import Answer

TOY = "toy_lib/lib/libtoy-toy_lib.so.1"
INIT = "from . import _distributor_init\nfrom ._ext import value\n"


def shim(*arguments: Path | str) -> str:
    answer = nativelib("shim", *arguments)
    assert answer.code == 0, answer.stderr
    return str(answer.document["text"])


def refused(answer: Answer) -> list[tuple[str, str]]:
    assert answer.code == 1
    return [(finding["code"], finding["where"]) for finding in answer.findings if finding["severity"] == "error"]


def strange(directory: Path) -> tuple[Path, Path]:
    """Return a wheel that nativelib did not build, and its library."""
    library = shared_library(directory, "libstrange.so.4", "int strange(void) { return 6; }", soname="libstrange.so.4")
    files: dict[str, Any] = {"strange/__init__.py": "loaded = 1\n", "strange/lib/libstrange.so.4": library}
    return make_wheel(directory, "strange-4.5-py3-none-manylinux_2_34_x86_64.whl", files), library


# --- what is printed ----------------------------------------------------------------------------------------------


def test_printed_text_is_the_file(toy: Toy, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "nativelib", "shim", "--provided-by", str(toy.toy)]
    done = subprocess.run(argv, env=clean_environment(), capture_output=True, text=True, check=True)
    assert done.stdout == shim("--provided-by", toy.toy)
    target = tmp_path / "_distributor_init.py"
    answer = nativelib("shim", "--provided-by", toy.toy, "-o", target)
    assert answer.document == {"schema": 1, "output": str(target), "text": done.stdout, "findings": []}
    assert target.read_text() == done.stdout
    assert target.stat().st_mode & 0o777 == 0o644
    done = subprocess.run(
        [*argv, "-o", str(target)], env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{target}\n"


def test_library_wheels_write_the_same_text(toy: Toy, tmp_path: Path) -> None:
    for wheel, name in ((toy.toy, "toy_lib"), (toy.upper, "upper_lib"), (toy.kept, "kept_lib")):
        environment = installed(tmp_path / name, wheel, links=[toy.wheels])
        directory = tmp_path / f"{name}-source"
        directory.mkdir()
        run_python(environment, f"import {name}; {name}.write_distributor_init({str(directory)!r})")
        assert (directory / "_distributor_init.py").read_text() == shim("--provided-by", wheel)
        # By its name, from that environment, it is the same again.
        named = shim("--provided-by", name.replace("_", "-"), "--python", environment.python)
        assert named == shim("--provided-by", wheel)


def test_what_a_wheel_needs_and_no_more(toy: Toy, tmp_path: Path) -> None:
    """Of a foreign provider, only those libraries are opened that the consumer needs."""
    foreign, library = strange(tmp_path)
    other = shared_library(tmp_path, "libother.so.2", "int other;", soname="libother.so.2")
    files: dict[str, Any] = {**members(foreign), "strange/lib/libother.so.2": other}
    del files["strange-4.5.dist-info/RECORD"]
    both = make_wheel(tmp_path / "both", foreign.name, files)
    source = simple_module("_ext", "strange()", "int strange(void);")
    wheel = consumer(tmp_path, "guest", package("guest", extension(tmp_path / "ext", "_ext", source, needed=[library])))
    everything = shim("--provided-by", both)
    needed = shim("--provided-by", both, "--for", wheel)
    assert "libother" in everything
    assert "libother" not in needed
    assert needed == shim("--provided-by", foreign)
    assert refused(nativelib("shim", "--provided-by", toy.toy, "--for", wheel)) == [("NL202", str(toy.toy))]


def test_options(toy: Toy, tmp_path: Path) -> None:
    foreign, _ = strange(tmp_path)
    assert "find_spec" in shim("--provided-by", foreign)
    imported = shim("--provided-by", foreign, "--import-provider", "Strange")
    assert "find_spec" not in imported
    assert "    import strange as module\n" in imported
    assert '"toy-lib==1.2.0"' in shim("--provided-by", toy.toy, "--pin", "exact")
    two = shim("--provided-by", toy.upper, "--provided-by", foreign, "--provided-by", toy.toy)
    order = [two.index(text) for text in ("import toy_lib", "import upper_lib", '"strange"')]
    assert order == sorted(order)


def test_wrong_usage(toy: Toy, tmp_path: Path) -> None:
    assert nativelib("shim").code == 2
    assert refused(nativelib("shim", "--provided-by", "no-such-thing")) == [("NL101", "no-such-thing")]
    absent = tmp_path / "absent.whl"
    assert refused(nativelib("shim", "--provided-by", toy.toy, "--for", absent)) == [("NL101", str(absent))]
    nowhere = tmp_path / "nowhere" / "x.py"
    assert refused(nativelib("shim", "--provided-by", toy.toy, "-o", nowhere)) == [("NL108", str(nowhere))]
    assert refused(nativelib("shim", "--provided-by", toy.toy, "-o", tmp_path)) == [("NL101", str(tmp_path))]
    assert list(tmp_path.iterdir()) == []


# --- a file that is there already ---------------------------------------------------------------------------------


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_block_in_a_file_of_the_author_is_replaced(toy: Toy, tmp_path: Path, newline: str) -> None:
    old = shim("--provided-by", toy.old)
    block = old[old.index(HOOK_BEGIN) :]
    before, after = '# coding: latin-1\n"""Mine: \xe9."""\nimport sys\n', "sys.after = 1\n"
    target = tmp_path / "_distributor_init.py"
    target.write_bytes(f"{before}{block}{after}".replace("\n", newline).encode("latin-1"))
    target.chmod(0o600)
    answer = nativelib("shim", "--provided-by", toy.toy, "-o", target)
    assert answer.code == 0, answer.stderr
    new = str(answer.document["text"])
    expected = f"{before}{new[new.index(HOOK_BEGIN) :]}{after}"
    assert target.read_bytes() == expected.replace("\n", newline).encode("latin-1")
    assert target.stat().st_mode & 0o777 == 0o600
    assert old != new


def test_file_without_a_block_is_left_alone(toy: Toy, tmp_path: Path) -> None:
    target = tmp_path / "_distributor_init.py"
    for text in ("import os\n", "", f"{HOOK_END}\n{HOOK_BEGIN}\n"):
        target.write_text(text)
        assert refused(nativelib("shim", "--provided-by", toy.toy, "-o", target)) == [("NL501", str(target))]
        assert target.read_text() == text


# --- in a source tree, and repaired -------------------------------------------------------------------------------


def test_lenient_hook(toy: Toy, world: World, tmp_path: Path) -> None:
    """It loads the library where it is installed, does nothing where it is not, and complains of an older one."""
    tree = tmp_path / "tree" / "grown"
    tree.mkdir(parents=True)
    (tree / "__init__.py").write_text("from . import _distributor_init\n")
    (tree / "_distributor_init.py").write_text(shim("--provided-by", toy.toy))
    env = {"PYTHONPATH": str(tree.parent)}
    code = "import grown, sys; out = 'toy_lib' in sys.modules"
    empty = fresh_venv(tmp_path / "empty")
    assert world.see(empty, code, env=env, flags=STRICT) is False
    (tmp_path / "stray" / "toy_lib").mkdir(parents=True)
    both = {"PYTHONPATH": f"{tree.parent}:{tmp_path / 'stray'}"}
    assert world.see(empty, code, env=both, flags=STRICT) is True  # a directory of that name is nobody's package
    environment = installed(tmp_path / "venv", toy.toy)
    assert world.see(environment, code, environment.site / TOY, env=env, flags=STRICT) is True
    older = installed(tmp_path / "older", toy.old)
    text = world.refused(older, code, hosted=False, env=env, flags=STRICT)
    assert text.startswith("grown needs toy-lib<2,>=1.2.0, but 1.0.0 is installed")


def test_lenient_hook_of_a_foreign_provider(toy: Toy, world: World, tmp_path: Path) -> None:
    foreign, library = strange(tmp_path)
    source = simple_module("_ext", "strange()", "int strange(void);")
    built = extension(tmp_path / "ext", "_ext", source, needed=[library])
    files = {**package("guest", built, INIT), "guest/_distributor_init.py": shim("--provided-by", foreign)}
    wheel = consumer(tmp_path, "guest", files)
    environment = installed(tmp_path / "venv", wheel, foreign)
    code = "import guest, sys; out = [guest.value(), 'strange' in sys.modules]"
    assert world.see(environment, code, environment.site / "strange/lib/libstrange.so.4") == [6, False]
    alone = installed(tmp_path / "alone", wheel)
    env = {"LD_LIBRARY_PATH": str(library.parent)}
    assert world.look(alone, code, hosted=True, env=env, flags=STRICT).out == [6, False]


def test_repair_replaces_it_by_the_strict_form(toy: Toy, world: World, tmp_path: Path) -> None:
    mine = '"""Mine."""\n' + shim("--provided-by", toy.toy).partition('"""\n\n')[2] + "import sys\nsys.mine = 1\n"
    files = {**package("grown", toy.plain, INIT), "grown/_distributor_init.py": mine}
    wheel = toy.repaired(consumer(tmp_path, "grown", files))
    again(toy, wheel)
    text = members(wheel)["grown/_distributor_init.py"].decode()
    assert text.count(HOOK_BEGIN) == text.count(HOOK_END) == 1
    assert text.startswith('"""Mine."""\n')
    assert text.endswith("import sys\nsys.mine = 1\n")
    assert members(wheel)["grown/__init__.py"].decode() == INIT
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    code = "import grown, sys; out = [grown.value(), sys.mine]"
    assert world.see(environment, code, environment.site / TOY) == [42, 1]
    alone = installed(tmp_path / "alone", "--no-deps", wheel)
    assert "toy-lib, which is not installed" in world.refused(alone, "import grown", hosted=True)


def test_repair_drops_what_the_lenient_form_named_in_vain(toy: Toy, tmp_path: Path) -> None:
    """The strict form is about the wheel that it is in."""
    text = shim("--provided-by", toy.toy, "--provided-by", toy.kept)
    files = {**package("grown", toy.plain, INIT), "grown/_distributor_init.py": text}
    wheel = toy.repaired(consumer(tmp_path, "grown", files))
    assert b"kept" in text.encode()
    assert b"kept" not in members(wheel)["grown/_distributor_init.py"]


# --- docs/generated.md --------------------------------------------------------------------------------------------

PAGE = Path(__file__).resolve().parent.parent / "docs" / "generated.md"
OWN: dict[str, Any] = {
    "kind": "own",
    "name": "openblas-lib",
    "import_name": "openblas_lib",
    "requirement": "openblas-lib<0.4,>=0.3.21",
    "minimum": [0, 3, 21],
    "sonames": ["libopenblas-openblas_lib.so.0"],
    "files": [],
}
FOREIGN: dict[str, Any] = {
    "kind": "foreign",
    "name": "nvidia-cuda-runtime-cu12",
    "import_name": "nvidia.cuda_runtime",
    "requirement": "nvidia-cuda-runtime-cu12==12.9.79",
    "minimum": [],
    "sonames": ["libcudart.so.12"],
    "files": [{"soname": "libcudart.so.12", "path": "nvidia/cuda_runtime/lib/libcudart.so.12"}],
}
LIBRARY: dict[str, Any] = {
    "name": "openblas-lib",
    "version": "0.3.21",
    "version_info": [0, 3, 21],
    "import_name": "openblas_lib",
    "requirement": "openblas-lib<0.4,>=0.3.21",
    "libraries": [
        {
            "soname": "libopenblas-openblas_lib.so.0",
            "original_soname": "libopenblas.so.0",
            "link_name": "libopenblas.so",
            "unique": True,
            "versions": {},
        }
    ],
    "private": ["libgfortran-0cf96a72.so.5"],
    "singleton": False,
    "requires": [
        {"import_name": "openmp_lib", "name": "openmp-lib", "requirement": "openmp-lib>=12.2.0", "minimum": [12, 2, 0]}
    ],
    "pkg_config_names": ["openblas-lib"],
}
HOOK: dict[str, Any] = {
    "begin": HOOK_BEGIN,
    "end": HOOK_END,
    "strict": True,
    "providers": [OWN, FOREIGN],
    "hints": [["libcuda.so.1", "Install NVIDIA's driver: https://www.nvidia.com/drivers"]],
    "anchors": [{"path": "../numpy_like.libs/nativelib_anchor.so", "sonames": ["libfftw3.so.3"]}],
}
PLAIN = {**{name: HOOK[name] for name in ("begin", "end", "strict")}, "providers": [OWN], "hints": []}
LENIENT = {**PLAIN, "strict": False}
LOADER = {**PLAIN, "stem": "_fast_nl", "hidden": "space._fast_nl", "package": False}
SCRIPT = {"name": "tools", "directory": "tools.scripts", "file": "solve", "providers": [OWN]}
SHOWN = {
    "## The library wheel's `__init__.py`": ("library/__init__.py.j2", LIBRARY),
    "## The strict hook": ("consumer/distributor_init.py.j2", HOOK),
    "## The lenient hook": ("consumer/distributor_init.py.j2", LENIENT),
    "## The loader module": ("consumer/loader.py.j2", LOADER),
    "## The script in front of a program": ("consumer/script.py.j2", SCRIPT),
}


@pytest.mark.parametrize("heading", SHOWN)
def test_page_shows_the_generated_files_whole(heading: str) -> None:
    """The blocks of a section, one after the other, are the file; ``...`` stands for the block between the marks."""
    page = PAGE.read_text(encoding="utf-8")
    assert page.count(f"\n{heading}\n") == 1
    section = re.split(r"^## ", page.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    shown = "".join(re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE))
    rendered = render(*SHOWN[heading])
    if f"{HOOK_BEGIN}\n...\n" in shown:
        start, stop = rendered.index(HOOK_BEGIN) + len(HOOK_BEGIN) + 1, rendered.index(HOOK_END)
        rendered = f"{rendered[:start]}...\n{rendered[stop:]}"
    assert without_blank_lines(shown) == without_blank_lines(rendered)


def without_blank_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def test_page_explains_every_block() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert len(re.findall(r"^```python\n", page, re.MULTILINE)) >= 25
    assert not re.search(r"^```\n\n*```python", page, re.MULTILINE), "two blocks without a word between them"


def test_examples_of_the_page_are_what_the_tool_renders(toy: Toy, tmp_path: Path) -> None:
    """The values that the page is rendered with have the form of those that plans have."""
    found = nativelib("repair", consumer(tmp_path, "x", package("x", toy.plain)), "--provided-by", toy.toy, "--dry-run")
    [action] = [a for a in found.document["wheels"][0]["plan"]["actions"] if a["member"] == "x/_distributor_init.py"]
    assert set(action["values"]) == set(HOOK)
    assert [set(provider) for provider in action["values"]["providers"]] == [set(OWN)]
    named = consumer(tmp_path / "y", "y", {f"y{EXT_SUFFIX}": toy.extension("toy_value()", module="y")})
    found = nativelib("repair", named, "--provided-by", toy.toy, "--dry-run", "--loader-modules")
    [action] = [a for a in found.document["wheels"][0]["plan"]["actions"] if a["member"] == "y.py"]
    assert set(action["values"]) == set(LOADER)
    ast.parse(render("consumer/loader.py.j2", action["values"]))
