"""The selective scan of Mamba: one meaning, several backends, each checked against the recurrence.

`selective_scan` is the function; `selective_scan_backends` says what can be used on a device, and
`selected_backend` which one a call takes, for records.
"""

from fusionzoo.ops.selective_scan.backends import selected_backend as selected_backend
from fusionzoo.ops.selective_scan.backends import selective_scan_backends as selective_scan_backends
from fusionzoo.ops.selective_scan.operator import selective_scan as selective_scan

__all__ = ["selected_backend", "selective_scan", "selective_scan_backends"]
