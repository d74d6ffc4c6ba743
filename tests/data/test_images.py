from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionzoo.data.images import Header, read_header, read_image
from fusionzoo.data.unreadable import UnreadableImage
from tests.data.nifti_files import LPS, VOLUME, nifti


def cut(path: Path, share: float = 0.6) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def test_arrays(tmp_path):
    np.save(tmp_path / "a.npy", VOLUME.astype(np.int16))
    np.save(tmp_path / "b.npy", VOLUME[np.newaxis])
    np.savez_compressed(tmp_path / "c.npz", image=VOLUME, spacing=[3.0, 2.0, 1.0])
    np.savez(tmp_path / "d.npz", ct=VOLUME, mask=VOLUME > 3)
    for name, key, spacing in (
        ("a.npy", None, None),
        ("b.npy", None, None),
        ("c.npz", None, (3.0, 2.0, 1.0)),
        ("d.npz", "ct", None),
    ):
        picture = read_image(tmp_path / name, "volume", key)
        np.testing.assert_array_equal(picture.values, VOLUME[np.newaxis])
        assert (picture.values.dtype, picture.full_scale) == (np.float32, 1.0)
        assert picture.spacing_mm == spacing
        assert read_header(tmp_path / name, "volume", key) == Header((4, 5, 6), spacing)


def test_pictures(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    Image.fromarray(rgb).save(tmp_path / "a.tif")
    Image.fromarray(np.dstack([rgb, np.full((5, 7), 255, np.uint8)])).save(tmp_path / "opaque.png")
    np.save(tmp_path / "a.npy", rgb)
    for name in ("a.png", "a.tif", "opaque.png", "a.npy"):
        picture = read_image(tmp_path / name, "rgb")
        np.testing.assert_array_equal(picture.values, rgb.transpose(2, 0, 1))
        assert (picture.full_scale, picture.spacing_mm) == (255.0, None)
        assert read_header(tmp_path / name, "rgb") == Header((5, 7))


def test_gray_pictures(tmp_path):
    gray = np.arange(35, dtype=np.uint8).reshape(5, 7)
    Image.fromarray(gray).save(tmp_path / "a.png")
    Image.fromarray(np.dstack([gray] * 3)).save(tmp_path / "same_channels.png")
    Image.fromarray(gray.astype(np.uint16) * 100).save(tmp_path / "deep.png")
    np.save(tmp_path / "a.npy", gray)
    for name in ("a.png", "same_channels.png", "a.npy"):
        np.testing.assert_array_equal(read_image(tmp_path / name, "gray").values, gray[np.newaxis])
    deep = read_image(tmp_path / "deep.png", "gray")
    assert (deep.full_scale, deep.values.max()) == (65535.0, 3400.0)


def test_a_photograph_is_turned_as_its_exif_says(tmp_path):
    gray = np.zeros((8, 16), dtype=np.uint8)
    gray[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gray).save(tmp_path / "a.jpg", exif=exif, quality=100)
    values = read_image(tmp_path / "a.jpg", "gray").values
    assert values.shape == (1, 16, 8)
    assert values[0, :7].mean() > 250 > 5 > values[0, 9:].mean()


def test_a_cut_off_file_is_refused_whatever_its_format(tmp_path):
    big = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    np.save(tmp_path / "a.npy", big)
    np.savez_compressed(tmp_path / "a.npz", big)
    nifti(tmp_path / "a.nii", LPS, big)
    nifti(tmp_path / "a.nii.gz", LPS, big)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    for suffix in ("png", "jpg", "tif"):
        Image.fromarray(noise).save(tmp_path / f"a.{suffix}")
    found = sorted(tmp_path.glob("a.*"))
    assert len(found) == 7
    for path in found:
        kind = "gray" if path.suffix in (".png", ".jpg", ".tif") else "volume"
        read_image(path, kind)
        with pytest.raises(UnreadableImage, match="damaged or cut off") as caught:
            read_image(cut(path), kind)
        assert caught.value.code == "E05"
        assert path.name in str(caught.value)
        assert str(caught.value).endswith("Copy or export it again.")


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.nii"])
def test_headers_suffice_to_find_a_cut_off_file(tmp_path, name):
    if name == "a.nii":
        nifti(tmp_path / name, LPS, VOLUME)
    else:
        (np.save if name == "a.npy" else np.savez)(tmp_path / name, VOLUME)
    with pytest.raises(UnreadableImage, match="E05"):
        read_header(cut(tmp_path / name), "volume")


def test_a_flipped_byte_inside_an_npz_is_found(tmp_path):
    np.savez(tmp_path / "a.npz", VOLUME)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UnreadableImage, match="CRC"):
        read_image(tmp_path / "a.npz", "volume")


def test_python_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableImage, match="E05"):
        read_image(tmp_path / "a.npy", "volume")


@pytest.mark.parametrize(
    ("array", "kind", "message"),
    [
        (
            VOLUME[0],
            "volume",
            r"E07 .*shape is \(5, 6\). A volume has the shape \(depth, height, width\)",
        ),
        (
            VOLUME[:1],
            "volume",
            r"only 1 slice along an axis of \(1, 5, 6\). A volume has two or more",
        ),
        (np.stack([VOLUME] * 2), "volume", r"shape is \(2, 4, 5, 6\)"),
        (VOLUME, "rgb", r"A rgb has the shape \(height, width, 3\)"),
        (VOLUME, "gray", r"A gray has the shape \(height, width\)"),
        (VOLUME.astype(np.complex64), "volume", "an array of complex64 is no image"),
        (np.where(VOLUME == 3, np.nan, VOLUME), "volume", "E07 .*1 values are NaN or infinite"),
        (np.where(VOLUME > 117, np.inf, VOLUME), "volume", "2 values are NaN or infinite"),
        (np.full((4, 4, 4), 7.0), "volume", "E07 .*every value is 7. Check the file's export"),
    ],
)
def test_arrays_that_are_no_image_are_refused(tmp_path, array, kind, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UnreadableImage, match=message):
        read_image(tmp_path / "a.npy", kind)


@pytest.mark.parametrize(
    ("arrays", "key", "message"),
    [
        (
            {"a": VOLUME, "b": VOLUME},
            None,
            "the npz has 2 arrays. Name one under key: .* it holds a, b",
        ),
        ({"a": VOLUME}, "c", "the npz has no array 'c'"),
        (
            {"a": VOLUME, "spacing": [1, 1]},
            None,
            r"the array 'spacing' is \[1.0, 1.0\]. Store three",
        ),
        ({"a": VOLUME, "spacing": [1, 1, 0]}, None, "Store three positive numbers in mm"),
    ],
)
def test_an_npz_that_is_not_clear_is_refused(tmp_path, arrays, key, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UnreadableImage, match=message):
        read_header(tmp_path / "a.npz", "volume", key)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("a.dcm", "gray", "E06 .*DICOM is no gray. Say kind: volume for a series"),
        ("a.png", "volume", "E07 .*a .png file is no volume. Say kind: rgb or gray"),
        ("a.nii.gz", "gray", "E07 .*a .nii.gz file is no gray. Say kind: volume."),
        (
            "a.mha",
            "volume",
            "E05 .*the format .mha is not known. Known: .npy, .npz, .nii, .nii.gz.",
        ),
        ("a", "gray", "the format without a suffix is not known"),
    ],
)
def test_other_formats_are_refused(tmp_path, name, kind, message):
    with pytest.raises(UnreadableImage, match=message):
        read_header(tmp_path / name, kind)


def test_pictures_of_another_kind_are_refused(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    Image.fromarray(rgb[..., 0]).save(tmp_path / "gray.png")
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(np.dstack([rgb, rgb[..., 0]])).save(tmp_path / "clear.png")
    pages = [Image.fromarray(rgb), Image.fromarray(rgb)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    for name, kind, message in (
        ("rgb.png", "gray", "mode is RGB, which is not gray"),
        ("gray.png", "rgb", "mode is L, which is not rgb. Say kind: gray."),
        ("cmyk.jpg", "rgb", "mode is CMYK, which is not rgb. Convert it"),
        ("clear.png", "rgb", "transparent parts. Save it on a background."),
        ("pages.tif", "rgb", "2 pages where one image is wanted"),
    ):
        with pytest.raises(UnreadableImage, match=message):
            read_image(tmp_path / name, kind)
