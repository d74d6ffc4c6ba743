import os

from fusionzoo.data.worker_pool import each


def square(x: int) -> tuple[int, int]:
    return x * x, os.getpid()


def test_results_come_in_order_from_other_processes():
    alone = list(each(square, range(5)))
    shared = list(each(square, range(5), workers=2))
    assert [value for value, _ in alone] == [value for value, _ in shared] == [0, 1, 4, 9, 16]
    assert {process for _, process in alone} == {os.getpid()}
    assert os.getpid() not in {process for _, process in shared}
