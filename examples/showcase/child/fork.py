"""Compute in the parent, fork, compute in the child: ``python fork.py METHOD PART``.

It ends with 0 if the child has answered. METHOD is ``os``, ``multiprocessing`` or ``futures``. When the child hangs,
the whole process group is killed, so the caller gives it one of its own.
"""

import concurrent.futures
import multiprocessing
import os
import signal
import sys

from parts import PARTS

LIMIT = 10
"""Seconds for a child to compute what takes it milliseconds. Imports and models are done before."""
CALL = None
"""What parent and child compute; a global, because a forked child inherits it and nothing can be pickled."""


def compute(_number=0):
    """Compute twice, and once more in the pools' next task."""
    CALL()
    CALL()
    return True


def by_os():
    """Fork by hand."""
    pid = os.fork()
    if pid == 0:
        compute()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def by_multiprocessing():
    """Use a pool of two forked processes."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return all(pool.map(compute, range(4)))


def by_futures():
    """Use an executor of two forked processes."""
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        return all(executor.map(compute, range(4)))


METHODS = {"os": by_os, "multiprocessing": by_multiprocessing, "futures": by_futures}


def main():
    """Compute in this process first, then in the children, then here again."""
    global CALL  # noqa: PLW0603
    CALL = PARTS[sys.argv[2]]()
    compute()
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.alarm(LIMIT)
    good = METHODS[sys.argv[1]]()
    compute()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
