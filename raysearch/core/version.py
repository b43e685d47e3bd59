"""The version, and the name of the distribution, where everything can read them."""

__version__ = "0.1.0"
# On a package index, once it is published; `raysearch` there is somebody else's. The import is `raysearch`.
DISTRIBUTION = "raysearch-segments"


def install(extra: str = "") -> str:
    """How to install raysearch, or an extra of it, in words for a message."""
    what = f"[{extra}]" if extra else ""
    return f"pip install '.{what}' in a checkout of raysearch, or pip install 'WHEEL{what}' with its wheel"
