"""A search at a store, on a local Ray cluster, in a process of its own: python store_driver.py ADDRESS."""

from __future__ import annotations

import sys

import driver

if __name__ == "__main__":
    driver.main(sys.argv[1], "tune", None, local=True)
