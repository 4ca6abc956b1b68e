"""Print the seconds that it takes to deflate, on all cores, what a repaired wheel has and its input has not."""

from __future__ import annotations

import os
import sys
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

PIECE = 1 << 20


def main(before: str, after: str) -> None:
    with zipfile.ZipFile(before) as old, zipfile.ZipFile(after) as new:
        known = {(entry.filename, entry.CRC) for entry in old.infolist()}
        fresh = [new.read(entry) for entry in new.infolist() if (entry.filename, entry.CRC) not in known]
    pieces = [content[at : at + PIECE] for content in fresh for at in range(0, len(content), PIECE)]
    started = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda piece: zlib.compress(piece, 6), pieces):
            pass
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main(*sys.argv[1:])
