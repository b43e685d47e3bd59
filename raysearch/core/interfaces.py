"""The network interface that has an address: what gloo and NCCL are told to use.

Left to themselves they ask what the machine's own name stands for, which may be another network, or none.
"""

from __future__ import annotations

import os

import psutil

VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def use_interface(address: str) -> None:
    """Has gloo and NCCL use the network interface of this address, unless the user said which."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == address for each in addresses):
            for variable in VARIABLES:
                os.environ.setdefault(variable, name)
            return
