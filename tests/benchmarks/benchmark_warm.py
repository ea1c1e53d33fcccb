"""How long a kernel takes until it answers with Keras imported: a warm one, and a normal one.

    .venv/bin/python tests/benchmarks/benchmark_warm.py

The first warm kernel waits for the import that the later ones are spared, and is not counted. On a
system without warm kernels both are normal ones.
"""

import os
from statistics import median
from time import perf_counter, sleep

from jupyter_client.manager import KernelManager
from jupyter_client.provisioning import KernelProvisionerFactory

KERNELS = {"warm": "course-warm", "normal": "local-provisioner"}
REPETITIONS = 5


def seconds_until_ready():
    start = perf_counter()
    manager = KernelManager()
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=300)
        client.execute_interactive("import keras", output_hook=lambda message: None, timeout=300)
        return perf_counter() - start
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        sleep(1)  # the next kernel is made ready meanwhile


def main():
    os.environ["COURSE_WARM_SECONDS"] = "60"
    for name, provisioner in KERNELS.items():
        os.environ["JUPYTER_DEFAULT_PROVISIONER_NAME"] = provisioner
        KernelProvisionerFactory.clear_instance()  # it has read the name only once
        first, *seconds = (seconds_until_ready() for _ in range(1 + REPETITIONS))
        print(
            f"{name:6} kernels: {median(seconds):.2f} s (median of {REPETITIONS}, up to"
            f" {max(seconds):.2f}), the first {first:.1f} s"
        )


if __name__ == "__main__":
    main()
