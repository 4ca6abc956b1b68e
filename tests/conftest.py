"""Fixtures that several test modules use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.nohost import Hiding, hide_host_libraries
from tests.support.toy import Toy, World, make_toy
from tests.support.venvs import Environment, fresh_venv

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the project."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def make_venv(tmp_path: Path) -> Callable[..., Environment]:
    """Make fresh environments of this test: ``make_venv(name="venv", borrow=False)``."""

    def make(name: str = "venv", *, borrow: bool = False) -> Environment:
        return fresh_venv(tmp_path / name, borrow=borrow)

    return make


@pytest.fixture(scope="session")
def no_host_libraries(tmp_path_factory: pytest.TempPathFactory) -> Hiding:
    """Start processes that cannot find OpenMP, Fortran and BLAS libraries of the host."""
    return hide_host_libraries(tmp_path_factory.mktemp("nohost"))


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Small library wheels, built by the tool."""
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def world(toy: Toy, no_host_libraries: Hiding) -> World:
    """Start processes with the host's copies of libraries in reach, and without."""
    return World(host=toy.host, hiding=no_host_libraries)
