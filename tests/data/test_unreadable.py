from pathlib import Path

import pytest

from fusionzoo.data.unreadable import UnreadableImage, decoding
from fusionzoo.errors import FusionZooError, MissingExtra

PATH = Path("scans/a.npy")


def test_whatever_a_decoder_raises_is_e05():
    with pytest.raises(FusionZooError) as caught, decoding(PATH):
        raise KeyError("a   header\nof scans/a.npy")
    assert str(caught.value) == (
        "E05 scans/a.npy: the file can't be decoded, it is damaged or cut off "
        "(KeyError: 'a header\\nof a.npy'). Copy or export it again."
    )
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    "error", [MissingExtra("x"), MemoryError(), UnreadableImage(PATH, "E07", "flat", "Look.")]
)
def test_what_says_enough_is_passed_on(error):
    with pytest.raises(type(error)) as caught, decoding(PATH):
        raise error
    assert caught.value is error
