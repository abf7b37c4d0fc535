import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from fapvideo.ops.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        [np.ones((400, 400, 3), np.float32) for _ in range(6)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
keep_freed_memory()
faults()
print(before, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc's allocator")
def test_pictures_that_come_and_go_cost_no_page_faults():
    run = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, after = map(int, run.stdout.split())
    assert before > 10_000
    assert after < 0.01 * before
