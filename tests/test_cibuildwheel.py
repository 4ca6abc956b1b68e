"""The command that docs/auditwheel.md gives for cibuildwheel, in the directories that cibuildwheel makes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.counting import ARCHITECTURE, consumer_wheel, count_library, counting_extension, plain_extension
from tests.support.tools import require
from tests.support.venvs import clean_environment, fresh_venv

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAGE = Path(__file__).resolve().parent.parent / "docs" / "auditwheel.md"
_AUDITWHEEL = "auditwheel repair -w {dest_dir} {wheel}"
"""What cibuildwheel runs unless told otherwise."""


def documented() -> str:
    [block] = re.findall(r"^```toml\n(.*?)^```", _PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    linux = tomllib.loads(block)["tool"]["cibuildwheel"]["linux"]
    assert linux["before-all"][-1].endswith(" /usr/local/bin/nativelib")
    return str(linux["repair-wheel-command"])


class Container:
    """The directories of one build, and what cibuildwheel does in them after the build."""

    def __init__(self, root: Path, wheel: Path) -> None:
        self.wheel = root / "cibuildwheel" / "built_wheel" / wheel.name
        self.dest = root / "cibuildwheel" / "repaired_wheel"
        self.wheel.parent.mkdir(parents=True)
        self.dest.mkdir()
        shutil.copy(wheel, self.wheel)

    def repair(self, command: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run *command* as cibuildwheel does: placeholders filled in, by ``sh``."""
        line = command.replace("{wheel}", str(self.wheel)).replace("{dest_dir}", str(self.dest))
        path = f"{Path(require(command.split(maxsplit=1)[0])).parent}:{os.environ['PATH']}"
        own = {"PATH": path, "CIBUILDWHEEL": "1", **env}
        return subprocess.run(
            ["sh", "-c", line],
            cwd=self.wheel.parent,
            env=clean_environment(own),
            capture_output=True,
            text=True,
            check=False,
        )

    def result(self) -> Path:
        """Return the repaired wheel; cibuildwheel refuses none, and more than one."""
        [wheel] = self.dest.iterdir()
        return wheel


@pytest.mark.parametrize("plat", [None, "manylinux_2_39"])
def test_the_wheel_installs_and_works_without_the_library(plat: str | None, tmp_path: Path) -> None:
    library = count_library(tmp_path / "usr")
    wheel = consumer_wheel(tmp_path / "in", counting_extension(tmp_path / "obj", library))
    container = Container(tmp_path, wheel)
    before = wheel.read_bytes()
    # The images set AUDITWHEEL_PLAT.
    env = {"LD_LIBRARY_PATH": str(library.parent)} | ({"AUDITWHEEL_PLAT": f"{plat}_{ARCHITECTURE}"} if plat else {})
    done = container.repair(documented(), env)
    assert done.returncode == 0, done.stderr
    assert container.wheel.read_bytes() == before
    assert plat is None or plat in container.result().name
    shutil.rmtree(library.parent)
    environment = fresh_venv(tmp_path / "env")
    environment.pip_install(container.result())
    code = "import counter; print(counter.value())"
    argv = [str(environment.python), "-c", code]
    shown = subprocess.run(argv, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False)
    assert shown.stdout == "3\n", shown.stderr


@pytest.mark.parametrize("plat", ["auto", f"manylinux_2_28_{ARCHITECTURE}"])
def test_the_result_is_named_as_auditwheel_names_it(plat: str, tmp_path: Path) -> None:
    require("auditwheel")
    library = count_library(tmp_path / "usr")
    ext = plain_extension(tmp_path / "obj", library, more='int puts(const char *); int say(void) { return puts(""); }')
    wheel = consumer_wheel(tmp_path / "in", ext)
    names = []
    for place, command in (("theirs", _AUDITWHEEL), ("ours", documented())):
        container = Container(tmp_path / place, wheel)
        done = container.repair(command, {"LD_LIBRARY_PATH": str(library.parent), "AUDITWHEEL_PLAT": plat})
        assert done.returncode == 0, done.stderr
        names.append(container.result().name)
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("cc", "platform", "tag"),
    [
        ("musl-gcc", f"linux_{ARCHITECTURE}", f"musllinux_1_2_{ARCHITECTURE}"),
        ("aarch64-linux-gnu-gcc", "linux_aarch64", "manylinux_2_17_aarch64"),
    ],
)
def test_wheels_of_other_images_work_too(cc: str, platform: str, tag: str, tmp_path: Path) -> None:
    library = count_library(tmp_path / "usr", cc=cc)
    more = 'int puts(const char *); int say(void) { return puts(""); }'
    wheel = consumer_wheel(
        tmp_path / "in", plain_extension(tmp_path / "obj", library, cc=cc, more=more), platform=platform
    )
    container = Container(tmp_path, wheel)
    done = container.repair(documented(), {"LD_LIBRARY_PATH": str(library.parent)})
    assert done.returncode == 0, done.stderr
    assert tag in container.result().name.removesuffix(".whl").rpartition("-")[2].split(".")


def test_a_repair_that_fails_leaves_nothing_for_cibuildwheel(tmp_path: Path) -> None:
    library = count_library(tmp_path / "usr")
    wheel = consumer_wheel(tmp_path / "in", counting_extension(tmp_path / "obj", library))
    container = Container(tmp_path, wheel)
    library.unlink()
    done = container.repair(documented(), {})
    assert done.returncode == 1
    assert "NL201" in done.stderr
    assert not list(container.dest.iterdir())
    assert [path.name for path in container.wheel.parent.iterdir()] == [wheel.name]
