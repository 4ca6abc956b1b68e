"""What a library wheel offers to those who build with it: flags, pkg-config, CMake, link names, programs."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nativelib.errors import NativelibError
from nativelib.plan.values import HOOK_BEGIN, HOOK_END
from nativelib.write.render import render, template_names
from tests.support.tools import require
from tests.support.venvs import clean_environment
from tests.support_templates import (
    Library,
    hook_text,
    install_library,
    output,
    package_values,
    provider,
    python,
    required,
    write,
)

BAR = Library(stem="bar", owner="bar_lib", value=3)
PROGRAM = '#include <bar_lib.h>\n#include <stdio.h>\nint main(void) { printf("%d\\n", bar_value()); return 0; }\n'


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Directories with ``foo_lib`` and ``bar_lib``, whose library needs that of the first and has no run path."""
    root = tmp_path_factory.mktemp("my wheels")
    foo = install_library(root / "one")
    programs = [{"function": "show_args", "file": "show args"}, {"function": "gone", "file": "gone"}]
    bar = install_library(
        root / "two",
        [BAR],
        import_name="bar_lib",
        options={"needed": [foo / "lib" / Library().soname]},
        requires=[required("foo_lib", [1])],
        programs=programs,
    )
    for package, cmake, stem, soname, needs in (
        (foo, "Foo", "foo", Library().soname, []),
        (bar, "bar-lib", "bar", BAR.soname, [{"name": "Foo", "import_name": "foo_lib"}]),
    ):
        values = {
            "cmake_name": cmake,
            "version": "1.2.3",
            "libraries": [{"stem": stem, "soname": soname}],
            "requires": needs,
            "compatibility": "AnyNewerVersion",
            "import_name": package.name,
        }
        separate = package.parent / f"{package.name}_cmake"
        write(separate / "__init__.py", render("library/cmake_init.py.j2", values))
        for kind in ("Config", "ConfigVersion"):
            file = f"{cmake}{kind}.cmake"
            write(package / "lib" / "cmake" / cmake / file, render(f"library/{kind}.cmake.j2", values))
            forward = render("library/cmake_forward.cmake.j2", {**values, "file": file})
            write(separate / "lib" / "cmake" / cmake / file, forward)
    return root / "one", root / "two"


def tell(wheels: tuple[Path, Path], *arguments: str) -> str:
    code = f"import runpy, sys; sys.argv[1:] = {arguments}; runpy.run_module('bar_lib', run_name='__main__')"
    return output(python(code, *wheels, flags=["-W", "error"]))


def run(*argv: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(
        list(map(str, argv)), env=clean_environment(env or {}), capture_output=True, text=True, check=False, cwd=cwd
    )
    return output(done)


def library_path(wheels: tuple[Path, Path]) -> dict[str, str]:
    return {"LD_LIBRARY_PATH": f"{wheels[0]}/foo_lib/lib:{wheels[1]}/bar_lib/lib"}


@pytest.mark.parametrize("linker", ["bfd", "gold"])
def test_flags_for_the_compiler_link_a_program_and_leave_no_path_in_it(
    wheels: tuple[Path, Path], tmp_path: Path, linker: str
) -> None:
    require(f"ld.{linker}")
    write(tmp_path / "p.c", PROGRAM)
    flags = tell(wheels, "--cflags", "--libs")
    assert "\n" not in flags
    # As a shell does with the output of eval; the directory has a space in its name.
    run("sh", "-c", f"{require('cc')} p.c {flags} -fuse-ld={linker} -o p", cwd=tmp_path)
    assert run(tmp_path / "p", env=library_path(wheels)) == "3"
    dynamic = run(require("readelf"), "-dW", tmp_path / "p")
    assert BAR.soname in dynamic
    assert "wheels" not in dynamic
    assert "RPATH" not in dynamic
    assert Library().soname not in dynamic


def test_flags_in_a_command_substitution(tmp_path: Path) -> None:
    install_library(tmp_path)
    write(tmp_path / "p.c", "#include <foo_lib.h>\nint main(void) { return foo_value(); }\n")
    env = {"PYTHONPATH": str(tmp_path)}
    script = f"{require('cc')} p.c $({sys.executable} -m foo_lib --cflags --libs) -o p"
    assert run("sh", "-c", script, env=env, cwd=tmp_path) == ""
    env = {"LD_LIBRARY_PATH": f"{tmp_path}/foo_lib/lib"}
    assert subprocess.run([tmp_path / "p"], env=env, check=False).returncode == 1


def test_other_answers_of_the_command_line(wheels: tuple[Path, Path]) -> None:
    lib = f"{wheels[1]}/bar_lib/lib"
    assert tell(wheels, "--version", "--lib-dir") == f"1.2.3 {lib}"
    assert tell(wheels, "--include-dir") == f"{wheels[1]}/bar_lib/include"
    assert tell(wheels, "--pkg-config-dir") == f"{lib}/pkgconfig:{wheels[0]}/foo_lib/lib/pkgconfig"
    assert tell(wheels, "--cmake-dir") == f"{wheels[1]}/bar_lib/lib/cmake"
    assert tell(wheels, "--loaded") == f"{BAR.soname} {lib}/{BAR.soname}"
    assert tell(wheels).startswith("usage: python -m bar_lib [-h] [--cflags]")
    done = python(
        "import runpy, sys; sys.argv[1:] = ['--wrong']; runpy.run_module('bar_lib', run_name='__main__')", *wheels
    )
    assert done.returncode == 2


def test_pkg_config(wheels: tuple[Path, Path], tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(wheels[0], moved)
    shutil.copytree(wheels[1], moved, dirs_exist_ok=True)
    tool = require("pkg-config")
    env = {"PKG_CONFIG_PATH": f"{moved}/foo_lib/lib/pkgconfig:{moved}/bar_lib/lib/pkgconfig"}
    assert run(tool, "--modversion", "bar-lib", env=env) == "1.2.3"
    flags = run(tool, "--cflags", "--libs", "bar-lib", env=env)
    assert f"-l:{BAR.soname}" in flags
    assert f"-l:{Library().soname}" in flags
    assert "rpath" not in flags
    write(tmp_path / "p.c", PROGRAM)
    run("sh", "-c", f"{require('cc')} p.c {flags} -o p", cwd=tmp_path)
    assert run(tmp_path / "p", env=library_path((moved, moved))) == "3"


def test_pkg_config_text_with_an_absolute_prefix_works_elsewhere(wheels: tuple[Path, Path], tmp_path: Path) -> None:
    code = "import foo_lib; print(foo_lib.get_pkg_config(), end='')"
    write(tmp_path / "copied.pc", output(python(code, *wheels)) + "\n")
    flags = run(require("pkg-config"), "--cflags", "--libs", "copied", env={"PKG_CONFIG_PATH": str(tmp_path)})
    write(tmp_path / "p.c", "#include <foo_lib.h>\nint main(void) { return !foo_value(); }\n")
    run("sh", "-c", f"{require('cc')} p.c {flags} -o p", cwd=tmp_path)
    assert run(tmp_path / "p", env=library_path(wheels)) == ""


@pytest.mark.parametrize("linker", ["bfd", "gold", "lld"])
@pytest.mark.parametrize("how", ["-lfoo", "by path"])
def test_link_name_is_a_script_that_linkers_take(
    wheels: tuple[Path, Path], tmp_path: Path, linker: str, how: str
) -> None:
    if linker == "lld" and shutil.which("ld.lld") is None:
        pytest.skip("lld is not installed; it is not required")
    require("gcc" if linker == "lld" else f"ld.{linker}")
    lib = wheels[0] / "foo_lib" / "lib"
    write(tmp_path / "p.c", "int foo_value(void); int main(void) { return !foo_value(); }\n")
    named = ["-L", lib, "-lfoo"] if how == "-lfoo" else [lib / "libfoo.so"]
    run(require("gcc"), "p.c", f"-fuse-ld={linker}", *named, "-o", "p", cwd=tmp_path)
    assert f"[{Library().soname}]" in run(require("readelf"), "-dW", tmp_path / "p")
    assert run(tmp_path / "p", env=library_path(wheels)) == ""


CMAKE = """
cmake_minimum_required(VERSION 3.16)
project(test C)
find_package(bar-lib 1.1 CONFIG REQUIRED)
find_package(bar-lib 1.1 CONFIG REQUIRED)
find_package(bar-lib 2 CONFIG QUIET)
message(STATUS "later: ${bar-lib_FOUND}, ${bar-lib_CONSIDERED_VERSIONS}")
find_package(bar-lib 1.2.3 EXACT CONFIG REQUIRED)
message(STATUS "libraries: ${bar-lib_LIBRARIES}; directories: ${bar-lib_INCLUDE_DIRS}")
foreach(target bar-lib::bar bar-lib::bar-lib)
  string(MAKE_C_IDENTIFIER "p_${target}" name)
  add_executable(${name} p.c)
  target_link_libraries(${name} PRIVATE ${target})
endforeach()
"""


@pytest.mark.parametrize("place", ["", "/lib/cmake", "_cmake"], ids=["package", "--cmake-dir", "entry point"])
def test_cmake(wheels: tuple[Path, Path], tmp_path: Path, place: str) -> None:
    cmake = require("cmake")
    one, two = wheels
    write(tmp_path / "p.c", PROGRAM)
    write(tmp_path / "CMakeLists.txt", CMAKE)
    prefixes = f"{one}/foo_lib{place};{two}/bar_lib{place}"
    said = run(cmake, "-S", tmp_path, "-B", tmp_path / "b", f"-DCMAKE_PREFIX_PATH={prefixes}")
    assert "later: 0, 1.2.3" in said
    assert f"libraries: bar-lib::bar; directories: {two}/bar_lib/include;{one}/foo_lib/include" in said
    run(cmake, "--build", tmp_path / "b")
    for program in ("p_bar_lib__bar", "p_bar_lib__bar_lib"):
        assert run(tmp_path / "b" / program, env=library_path(wheels)) == "3"
        dynamic = run(require("readelf"), "-dW", tmp_path / "b" / program)
        assert f"NEEDED)             Shared library: [{BAR.soname}]" in dynamic
        assert f"[{Library().soname}]" not in dynamic


def test_entry_package_for_cmake_loads_nothing(wheels: tuple[Path, Path]) -> None:
    code = "import bar_lib_cmake as m, sys; print('bar_lib' in sys.modules, 'ctypes' in sys.modules, bool(m.__doc__))"
    assert output(python(code, *wheels)) == "False False True"


def test_programs_run_with_their_arguments_and_find_libraries_elsewhere(wheels: tuple[Path, Path]) -> None:
    script = '#!/bin/sh\nprintf "%s|" "$LD_LIBRARY_PATH" "$@"\n'
    program = write(wheels[1] / "bar_lib" / "bin" / "show args", script)
    program.chmod(0o755)
    code = "import sys; sys.argv[1:] = ['a b', '$x']; from bar_lib._programs import show_args; show_args()"
    foo = f"{wheels[0]}/foo_lib/lib"
    assert output(python(code, *wheels)) == f"{foo}|a b|$x|"
    assert output(python(code, *wheels, env={"LD_LIBRARY_PATH": "/opt/x"})) == f"{foo}:/opt/x|a b|$x|"


def test_programs_need_no_search_path_when_all_lie_together(wheels: tuple[Path, Path], tmp_path: Path) -> None:
    for wheel in wheels:
        shutil.copytree(wheel, tmp_path, dirs_exist_ok=True)
    program = write(tmp_path / "bar_lib" / "bin" / "show args", '#!/bin/sh\nprintf "%s|" "${LD_LIBRARY_PATH-none}"\n')
    program.chmod(0o755)
    assert output(python("from bar_lib._programs import show_args; show_args()", tmp_path)) == "none|"


def test_program_that_is_not_there(wheels: tuple[Path, Path]) -> None:
    done = python("from bar_lib._programs import gone; gone()", *wheels)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"gone: cannot run {wheels[1]}/bar_lib/bin/gone: No such file or directory\n"


HOSTILE = [
    'x"; import os; os._exit(9); "',
    "x'; import os; os._exit(9); '",
    'x"""\nimport os; os._exit(9)\n"""',
    "x\nimport os; os._exit(9)\n#",
    "x\\",
    "{{ x }}{% raw %}",
    "${x};$(x)\n",
    "x\u2028\u202e\x00",
]


def fill(template: str, text: str) -> str:
    """Render a template with *text* wherever free text can come in."""
    library = {**Library().values(), "versions": {text: text}}
    values = package_values("foo_lib", "1", [], name=text, requirement=text, private=[text])
    values |= {
        "version": text,
        "libraries": [library],
        "requires": [{**required("bar_lib", [1]), "requirement": text, "name": text}],
    }
    values |= {"programs": [{"function": "go", "file": text}], "pkg_config_names": [text]}
    if template.endswith((".pc.j2", ".cmake.j2", ".ld.j2")):
        requires = [text] if ".pc." in template else [{"name": text, "import_name": text}]
        values |= {"description": text, "sonames": [text], "requires": requires, "soname": text}
        values |= {"cmake_name": text, "libraries": [{"stem": text, "soname": text}], "file": text}
    values |= {"cmake_name": text, "begin": HOOK_BEGIN, "end": HOOK_END, "strict": True, "hints": [[text, text]]}
    values |= {"stem": text, "hidden": "_a_nl.a", "package": True, "directory": text, "file": text}
    values |= {"modules": [text], "code": text, "method": text, "timeout": 1, "load_first": [text], "files": [text]}
    foreign = provider("foreign", files=[{"soname": text, "path": text}])
    values["providers"] = [
        {**one, "name": text, "requirement": text, "sonames": [text]}
        for one in (provider(), foreign, provider("import"))
    ]
    return render(template, values)


@pytest.mark.parametrize("template", [name for name in template_names() if name.endswith(".py.j2")])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_values_are_only_data_in_python(template: str, text: str) -> None:
    # The same tree as with a harmless value: nothing of the text became code.
    assert _shape(fill(template, text)) == _shape(fill(template, "harmless"))


def _shape(source: str) -> list[str]:
    return [type(node).__name__ for node in ast.walk(ast.parse(source, feature_version=(3, 8)))]


@pytest.mark.parametrize("template", [name for name in template_names() if not name.endswith(".py.j2")])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_values_stay_in_place_in_other_files_or_are_refused(template: str, text: str) -> None:
    harmless = fill(template, "harmless")
    try:
        rendered = fill(template, text)
    except NativelibError:
        return
    assert template.endswith(".cmake.j2")  # the others have no quoting that all readers agree on
    assert rendered.count("\n") == harmless.count("\n")
    assert len(re.findall(r'(?<!\\)(?:\\\\)*"', rendered)) == len(re.findall('"', harmless))


def test_hostile_values_arrive_unchanged_in_python() -> None:
    text = HOSTILE[2]
    tree = ast.parse(fill("library/__init__.py.j2", text))
    assert text in [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]


def test_oldest_python_compiles_everything(wheels: tuple[Path, Path], tmp_path: Path) -> None:
    generated = [*wheels[1].glob("bar_lib*/*.py"), *wheels[0].glob("foo_lib*/*.py")]
    foreign = provider("foreign", files=[{"soname": "a", "path": "b"}])
    hook = hook_text([provider(), foreign, provider("import")])
    generated.append(write(tmp_path / "hook.py", hook))
    assert len(generated) == 11
    old = Path("~/.pyenv/versions").expanduser().glob("3.8.*/bin/python")
    interpreter = next(map(str, old), sys.executable)
    code = f"import sys; [compile(open(name).read(), name, 'exec') for name in {list(map(str, generated))}]"
    assert python(code, executable=interpreter, flags=["-W", "error::SyntaxWarning"]).stderr == ""
    for path in generated:
        assert path.read_text().isascii()
        ast.parse(path.read_text(), feature_version=(3, 8))
