"""What other tools noted of finished trials: Optuna studies, Ray Tune's folders, W&B exports, tables.

    past = read_past(Path("study.db"), Asked(metric="accuracy"))
    past.trials[0].config, past.trials[0].value, past.trials[0].curve

Files are read as data: nothing in them is unpickled or imported, for anybody may have written them.
"""

from raysearch.interop.history.past import Asked, Past, PastTrial
from raysearch.interop.history.reading import KINDS, read_past

__all__ = ["KINDS", "Asked", "Past", "PastTrial", "read_past"]
