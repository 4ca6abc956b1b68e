"""Both results of a repair, installed and used where the original libraries are not."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.conformance.pins import pin
from tests.support.venvs import Environment, run_python

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.pins import Pin

_VERSION = (3, 11)
"""The Python that the wheels are for."""

# Each calls into the grafted libraries.
_USES = {
    "numpy": "import numpy as np; assert np.allclose(np.linalg.inv(2 * np.eye(3)), np.eye(3) / 2)",
    "scipy": (
        "import numpy as np, scipy.linalg, scipy.special, scipy.optimize\n"
        "assert np.allclose(scipy.linalg.inv(2 * np.eye(3)), np.eye(3) / 2)\n"
        "assert abs(scipy.special.gamma(5) - 24) < 1e-9"
    ),
    "opencv-python-headless": (
        "import cv2, numpy as np\n"
        "good, data = cv2.imencode('.png', np.zeros((4, 4, 3), np.uint8)); assert good\n"
        "assert 'FFMPEG' in cv2.getBuildInformation()"
    ),
    "pillow": (
        "import io\nfrom PIL import Image, ImageFont, features\n"
        "assert all(features.check(name) for name in ('webp', 'jpg', 'libtiff', 'freetype2', 'avif'))\n"
        "Image.new('RGB', (4, 4)).save(io.BytesIO(), 'WEBP')"
    ),
    "h5py": (
        "import h5py\nwith h5py.File('x', 'w', driver='core', backing_store=False) as file:\n"
        "    file['x'] = [1, 2]; assert file['x'][1] == 2"
    ),
    "psycopg2-binary": "import psycopg2; assert psycopg2.__libpq_version__ > 0",
    "shapely": "import shapely; assert shapely.Point(0, 0).buffer(1).area > 3",
}
_NEED_NUMPY = ("scipy", "opencv-python-headless", "h5py", "shapely")


def interpreter() -> str | None:
    """Return a Python for glibc on x86_64 that can import the wheels, or ``None``."""
    if platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc":
        return None
    return sys.executable if sys.version_info[:2] == _VERSION else shutil.which("python{}.{}".format(*_VERSION))


def use(wheel_pin: Pin, wheel: Path, directory: Path, python: str) -> None:
    """Install *wheel*, a repaired form of *wheel_pin*, into a new environment and use it; raise if that fails."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(directory)], check=True)
    environment = Environment(path=directory)
    needs = [pin("numpy 2.4.6 glibc x86_64").fetch()] if wheel_pin.project in _NEED_NUMPY else []
    environment.install(wheel, *needs, flags=["--no-deps"])
    run_python(environment, _USES[wheel_pin.project])
