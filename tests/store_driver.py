"""A search at a store, in a process of its own: python store_driver.py ADDRESS EXECUTOR.

With Ray it is on a cluster of its own, whose workers have the caches of this process.
"""

from __future__ import annotations

import sys

import driver

if __name__ == "__main__":
    driver.main(sys.argv[1], sys.argv[2], None, local=sys.argv[2] == "tune")
