"""Names that moved to `digitlib.training.train` and `digitlib.evaluation.metrics`."""

from digitlib.evaluation.metrics import evaluate_run as evaluate_run
from digitlib.training.train import train_run as train_run
