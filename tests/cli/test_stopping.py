"""A signal ends a command within two seconds, whatever the command and its workers do."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import time

import pytest

SECONDS = 2  # as docs/guide.md promises
COMMAND = """if True:
    import multiprocessing, signal, time
    import click
    from vae_augment.cli import main

    def worker(ready):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ready.release()
        time.sleep(20)

    @click.command()
    @click.option("--workers", type=int, default=0)
    @click.option("--swallow", is_flag=True)
    def work(workers, swallow):
        fork = multiprocessing.get_context("fork")
        ready = fork.Semaphore(0)
        for _ in range(workers):
            fork.Process(target=worker, args=[ready], daemon=True).start()
        for _ in range(workers):
            ready.acquire()
        try:
            print("begun", flush=True)
            time.sleep(30)
        except KeyboardInterrupt:
            if not swallow:
                raise
            time.sleep(30)

    main.add_command(work)
    main()
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="workers are forked")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    "options",
    [[], ["--swallow"], ["--workers=8"], ["--workers=8", "--swallow"]],
    ids=["sleeps", "swallows the exception", "workers ignore SIGTERM", "both"],
)
def test_a_signal_ends_any_command_and_its_workers_in_time(options, number):
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "work", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    signalled = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)  # until the last worker, too, has closed what it writes to
    assert time.monotonic() - signalled < SECONDS
    assert process.returncode == 1
    assert err.strip() == f"vae-augment: error: stopped by {number.name}."
