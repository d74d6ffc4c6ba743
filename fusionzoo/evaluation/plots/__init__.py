"""Figures of a run as PNG; matplotlib is imported when the first one is drawn."""

from fusionzoo.evaluation.plots.calibration import plot_calibration
from fusionzoo.evaluation.plots.confusion import plot_confusion
from fusionzoo.evaluation.plots.robustness import plot_robustness
from fusionzoo.evaluation.plots.roc import plot_roc

__all__ = ["plot_calibration", "plot_confusion", "plot_robustness", "plot_roc"]
