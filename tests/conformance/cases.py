"""Which wheels are taken apart and repaired again: all projects with libraries, all machines, both C libraries."""

from __future__ import annotations

REGRAFTED = (
    "scipy 1.17.1 glibc x86_64",
    "opencv_python_headless 5.0.0.93 glibc x86_64",
    "numpy 2.4.6 glibc x86_64",
    "h5py 3.16.0 glibc x86_64",
    "h5py 3.16.0 musl x86_64",
    "pillow 13.0.0 glibc x86_64",
    "pillow 13.0.0 glibc aarch64",
    "psycopg2_binary 2.9.13 glibc x86_64",
    "psycopg2_binary 2.9.13 glibc aarch64",
    "psycopg2_binary 2.9.13 musl x86_64",
    "shapely 2.2.0 glibc x86_64",
    "shapely 2.2.0 musl aarch64",
)
