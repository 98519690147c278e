"""`degrade`, which says in MARK that an evaluation has begun. Workers are spawned: they read this file too."""

import os
from pathlib import Path

from degrade.cli import main
from degrade.train.fit import Fit

evaluate = Fit._evaluate


def marked(fit, images):
    Path(os.environ["MARK"]).touch()
    return evaluate(fit, images)


Fit._evaluate = marked

if __name__ == "__main__":
    main()
