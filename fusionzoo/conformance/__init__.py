"""The conformance kit: whether a component keeps what the interface promises about it.

`check` is what a plugin's test calls and what `fusionzoo check` prints.
"""

from fusionzoo.conformance.kit import check
from fusionzoo.conformance.report import Report, Result
from fusionzoo.conformance.subject import Subject, find_subjects

__all__ = ["Report", "Result", "Subject", "check", "find_subjects"]
