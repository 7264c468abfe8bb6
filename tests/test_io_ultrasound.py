"""Every kind of ultrasound file becomes the same frames; a damaged one becomes one sentence."""

from __future__ import annotations

import struct
import subprocess
import traceback
import tracemalloc

import numpy as np
import pydicom
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import convert_color_space
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedUSVolumeStorage,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from data import shared_data
from trifocal import io
from trifocal.image import ImageError
from trifocal.io import frames as frames_module
from trifocal.io import shared_decoder
from trifocal.io.frames import LazyFrames
from ultrasound_files import (
    PATIENT,
    dataset,
    jpeg,
    jpeg_dataset,
    pattern,
    region,
    save,
    smooth_colour,
)


@pytest.fixture
def write(tmp_path):
    """Save a data set under a name in the test's folder; returns the path."""
    return lambda ds, name="x.dcm": save(ds, tmp_path / name)


def frames_of(cine):
    return np.stack([cine.frames[i] for i in range(len(cine))])


def refusal(path) -> str:
    """What is said of a file that is refused: one sentence, without the patient."""
    with pytest.raises(ImageError) as caught:
        io.read_cine(path)
    text = str(caught.value)
    assert "\n" not in text
    assert "Secret" not in text
    assert "secret" not in text
    return text


# --- DICOM pixels


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_grey_frames_come_as_they_are_stored(write, syntax):
    frames = pattern(3)
    ds = dataset(frames, syntax=syntax)
    cine = io.read_cine(write(ds))
    np.testing.assert_array_equal(frames_of(cine), frames)
    assert (len(cine), cine.size, cine.modality, cine.name) == (3, (40, 30), "US", "x.dcm")


def test_frames_of_an_odd_number_of_bytes_do_not_shift(write):
    frames = pattern(4, 5, 7)
    np.testing.assert_array_equal(frames_of(io.read_cine(write(dataset(frames)))), frames)


def test_monochrome1_is_inverted_once(write):
    frames = pattern()
    cine = io.read_cine(write(dataset(frames, "MONOCHROME1")))
    np.testing.assert_array_equal(cine.frames[0], 255 - frames[0])


def test_rgb_in_planes_is_the_same_as_rgb_in_pixels(write):
    frames = smooth_colour(2)
    planes = dataset(frames, "RGB", PlanarConfiguration=1)
    planes.PixelData = frames.transpose(0, 3, 1, 2).tobytes()
    np.testing.assert_array_equal(frames_of(io.read_cine(write(dataset(frames, "RGB")))), frames)
    np.testing.assert_array_equal(frames_of(io.read_cine(write(planes, "y.dcm"))), frames)


def test_ybr_full_becomes_rgb(write):
    rgb = smooth_colour(2)
    stored = convert_color_space(rgb, "RGB", "YBR_FULL")
    read = frames_of(io.read_cine(write(dataset(stored, "YBR_FULL"))))
    assert np.abs(read.astype(int) - rgb).max() <= 2  # rounding


def test_subsampled_ybr_is_expanded_and_a_wrong_name_for_it_is_noticed(write):
    grey = np.repeat(pattern(2)[..., None], 3, axis=-1)
    ybr = convert_color_space(grey, "RGB", "YBR_FULL")
    pairs = ybr.reshape(2, 30, 20, 2, 3)
    subsampled = np.stack(
        [pairs[..., 0, 0], pairs[..., 1, 0], pairs[..., 0, 1], pairs[..., 0, 2]], axis=-1
    )  # Y1 Y2 Cb Cr
    ds = dataset(ybr, "YBR_FULL_422")
    ds.PixelData = subsampled.astype(np.uint8).tobytes()
    np.testing.assert_array_equal(frames_of(io.read_cine(write(ds))), grey)
    full = io.read_cine(write(dataset(ybr, "YBR_FULL_422"), "full.dcm"))
    np.testing.assert_array_equal(frames_of(full), grey)
    assert "not subsampled" in full.notes["photometric_assumed"]


@pytest.mark.parametrize("depth", [8, 16])
def test_a_palette_is_applied_from_its_first_value_on(write, depth):
    colours = np.random.default_rng(1).integers(0, 256, (200, 3), np.uint8)
    frames = pattern()
    ds = dataset(frames, "PALETTE COLOR")
    for i, name in enumerate(("Red", "Green", "Blue")):
        entries = colours[:, i] if depth == 8 else colours[:, i].astype("<u2") << 8
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [200, 10, depth])
        setattr(ds, f"{name}PaletteColorLookupTableData", entries.tobytes())
        ds[f"{name}PaletteColorLookupTableData"].VR = "OW"
    expected = colours[np.clip(frames[0].astype(int) - 10, 0, 199)]
    np.testing.assert_array_equal(io.read_cine(write(ds)).frames[0], expected)


def test_a_palette_of_16_bits_that_is_filled_with_8_is_not_black(write):
    ds = dataset(pattern(), "PALETTE COLOR")
    ramp = np.arange(256, dtype="<u2").tobytes()
    for name in ("Red", "Green", "Blue"):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{name}PaletteColorLookupTableData", ramp)
        ds[f"{name}PaletteColorLookupTableData"].VR = "OW"
    np.testing.assert_array_equal(io.read_cine(write(ds)).frames[0][..., 1], pattern()[0])


def test_a_palette_with_16_bit_indices_is_looked_up(write):
    frames = pattern().astype("<u2") * 16
    ds = dataset(frames, "PALETTE COLOR")
    table = (np.arange(4096) // 16).astype(np.uint8)
    for name in ("Red", "Green", "Blue"):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [4096, 0, 8])
        setattr(ds, f"{name}PaletteColorLookupTableData", table.tobytes())
        ds[f"{name}PaletteColorLookupTableData"].VR = "OW"
    np.testing.assert_array_equal(io.read_cine(write(ds)).frames[0][..., 0], pattern()[0])


def test_a_palette_that_is_cut_short_is_refused(write):
    ds = dataset(pattern(), "PALETTE COLOR")
    for name in ("Red", "Green", "Blue"):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 8])
        setattr(ds, f"{name}PaletteColorLookupTableData", b"\0" * 100)
        ds[f"{name}PaletteColorLookupTableData"].VR = "OW"
    assert "palette" in refusal(write(ds))


def test_more_than_8_bits_are_mapped_by_the_first_frame_and_that_is_noted(write):
    frames = np.array([[[0, 500], [1000, 250]], [[2000, 0], [500, 1000]]], "<u2")
    cine = io.read_cine(write(dataset(frames)))
    np.testing.assert_array_equal(cine.frames[0], [[0, 128], [255, 64]])
    np.testing.assert_array_equal(cine.frames[1], [[255, 0], [128, 255]])  # the same map, clipped
    assert "0 to 1000 became 0 to 255" in cine.notes["scaled_to_8_bits"]


def test_more_than_8_bits_are_mapped_by_the_window_of_the_file(write):
    frames = np.array([[[100, 355], [0, 4000]]], "<u2")
    # PS3.3 C.11.2.1.2.1: centre 228, width 256 shows 100 as black and 355 as white
    cine = io.read_cine(write(dataset(frames, WindowCenter=228, WindowWidth=256)))
    np.testing.assert_array_equal(cine.frames[0], [[0, 255], [0, 255]])


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_what_was_compressed_without_loss_comes_back_exactly(write, syntax):
    stored = pattern(3, 40, 48)  # JPEG 2000 is encoded from 32 x 32 on
    grey, colour = dataset(stored), dataset(smooth_colour(2), "RGB")
    for ds in (grey, colour):
        ds.compress(syntax, generate_instance_uid=False)
    np.testing.assert_array_equal(frames_of(io.read_cine(write(grey))), stored)
    np.testing.assert_array_equal(frames_of(io.read_cine(write(colour, "c.dcm"))), smooth_colour(2))


def test_jpeg_2000_with_its_colour_transform_comes_back_exactly(write):
    ds = dataset(smooth_colour(2), "RGB")
    ds.PhotometricInterpretation = "YBR_RCT"
    raw = dataset(smooth_colour(2), "RGB")
    raw.PhotometricInterpretation = "YBR_RCT"
    raw.compress(JPEG2000Lossless, generate_instance_uid=False)
    assert raw.PhotometricInterpretation == "YBR_RCT"
    np.testing.assert_array_equal(frames_of(io.read_cine(write(raw))), smooth_colour(2))


@pytest.mark.parametrize(("pieces", "table"), [(1, True), (1, False), (3, True), (3, False)])
def test_frames_of_a_jpeg_cine_are_found_among_their_fragments(write, pieces, table):
    colour = smooth_colour(5)
    ds = jpeg_dataset(colour, fragments_per_frame=pieces, offset_table=table)
    read = frames_of(io.read_cine(write(ds)))
    assert np.abs(read.astype(int) - colour).mean() < 3
    assert (np.diff(read[..., 1].mean((1, 2))) > 0).all()  # each brighter than the one before


def test_frames_are_found_by_an_extended_offset_table(write):
    frames = pattern(3)
    ds = dataset(frames)
    ds.compress(RLELossless, generate_instance_uid=False)
    parts = list(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=3))
    data, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(parts)
    ds.PixelData = data
    np.testing.assert_array_equal(frames_of(io.read_cine(write(ds))), frames)


def test_frames_may_be_asked_for_in_any_order_and_from_the_end(write):
    frames = pattern(6)
    ds = dataset(frames)
    ds.compress(RLELossless, generate_instance_uid=False)
    cine = io.read_cine(write(ds))
    for index in (5, 0, 3, -1, 3):
        np.testing.assert_array_equal(cine.frames[index], frames[index])
    with pytest.raises(IndexError, match="0 to 5"):
        cine.frames[6]


def test_a_frame_belongs_to_the_caller():
    frames = LazyFrames(1, lambda _: np.zeros((2, 2), np.uint8))
    frames[0][:] = 9
    assert not frames[0].any()


def test_kept_frames_are_bounded_and_the_last_used_ones():
    loaded = []

    def load(index):
        loaded.append(index)
        return np.zeros((10, 10), np.uint8)

    frames = LazyFrames(9, load, kept_bytes=250)
    for index in (0, 1, 0, 2, 0, 1):
        frames[index]
    assert loaded == [0, 1, 2, 1]


def test_a_cine_of_2000_frames_is_read_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(frames_module, "KEPT_BYTES", 2**20)
    path = save(
        dataset(np.zeros((1, 128, 128), np.uint8), NumberOfFrames=2000, FrameTime=20), tmp_path / "long"
    )
    head = path.read_bytes()[: -128 * 128 - 4]
    with path.open("wb") as file:
        file.write(head + struct.pack("<I", 2000 * 128 * 128))
        file.truncate(len(head) + 4 + 2000 * 128 * 128)  # 33 MB of zeros that take no room on the disk
    tracemalloc.start()
    try:
        cine = io.read_cine(path)
        total = sum(int(cine.frames[i].any()) for i in range(0, len(cine), 8))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(cine), total) == (2000, 0)
    assert cine.times_s[-1] == pytest.approx(1999 * 0.02)
    assert peak < 2 * 2**20  # what was looked at has 4 MB


def test_the_child_that_decodes_is_started_anew_after_it_died(write):
    ds = dataset(pattern(3))
    ds.compress(RLELossless, generate_instance_uid=False)
    cine = io.read_cine(write(ds))
    shared_decoder._running[1]._child.kill()
    with pytest.raises(ImageError, match="frame 1"):
        cine.frames[1]
    np.testing.assert_array_equal(cine.frames[1], pattern(3)[1])


# --- what the header says


def test_regions_times_and_spacing_come_as_the_file_has_them(write):
    ds = dataset(
        pattern(3),
        regions=[region((1, 2, 30, 20), (0.02, -0.03))],
        FrameTimeVector=[0, 10, 30],
        PixelSpacing=[0.4, 0.3],
    )
    cine = io.read_cine(write(ds))
    np.testing.assert_allclose(cine.times_s, [0, 0.01, 0.04])
    assert cine.pixel_spacing_mm == (0.3, 0.4)  # x, y; the file has rows first
    (found,) = cine.regions
    assert (found.box, found.delta, found.units) == ((1, 2, 30, 20), (0.02, -0.03), (3, 3))


@pytest.mark.parametrize(
    ("tags", "step"),
    [({"FrameTime": "40"}, 0.04), ({"CineRate": "20"}, 0.05), ({"FrameTime": "0"}, None), ({}, None)],
)
def test_times_come_from_the_frame_time_or_rate_if_there_is_one(write, tags, step):
    times = io.read_cine(write(dataset(pattern(3), **tags))).times_s
    if step is None:
        assert times is None
    else:
        np.testing.assert_allclose(times, np.arange(3) * step)


@pytest.mark.parametrize(
    "tags", [{"ImagerPixelSpacing": [0.1, 0.1]}, {"PixelSpacing": [0, 0]}, {"PixelSpacing": [0.1]}]
)
def test_what_is_no_size_in_the_patient_is_no_pixel_spacing(write, tags):
    assert io.read_cine(write(dataset(pattern(), **tags))).pixel_spacing_mm is None


def test_nothing_about_the_patient_is_in_the_cine(write):
    cine = io.read_cine(write(dataset(pattern(2), FrameTime=10)))
    assert PATIENT not in repr(cine)
    assert "secret" not in repr(cine)


@pytest.mark.parametrize(
    ("modality", "what"), [("CT", "is a CT, not an ultrasound"), ("DX", "an X-ray"), ("XX", "'XX'")]
)
def test_another_modality_is_refused_by_its_name(write, modality, what):
    assert what in refusal(write(dataset(pattern(), Modality=modality, SOPClassUID=CTImageStorage)))


def test_ultrasound_is_known_by_its_class_where_the_modality_is_missing(write):
    assert io.read_cine(write(dataset(pattern(), Modality=None))).modality == "US"
    assert "no stated modality" in refusal(
        write(dataset(pattern(), Modality=None, SOPClassUID=CTImageStorage), "y.dcm")
    )


def test_a_3d_volume_of_ultrasound_is_refused(write):
    assert "3-D" in refusal(write(dataset(pattern(3), SOPClassUID=EnhancedUSVolumeStorage)))


# --- damaged DICOM


def test_of_a_truncated_cine_the_whole_frames_are_used_and_counted(write):
    path = write(dataset(pattern(4)))
    path.write_bytes(path.read_bytes()[: -30 * 40 - 7])
    cine = io.read_cine(path)
    np.testing.assert_array_equal(frames_of(cine), pattern(4)[:2])
    assert "2 of its 4 frames" in cine.notes["truncated"]


def test_more_frames_claimed_than_stored_is_a_truncated_cine(write):
    cine = io.read_cine(write(dataset(pattern(2), NumberOfFrames=500)))
    assert len(cine) == 2
    assert "2 of its 500 frames" in cine.notes["truncated"]


@pytest.mark.parametrize("table", [True, False])
def test_of_a_truncated_jpeg_cine_the_whole_frames_are_used(write, table):
    path = write(jpeg_dataset(smooth_colour(4), fragments_per_frame=2, offset_table=table))
    path.write_bytes(path.read_bytes()[:-200])
    cine = io.read_cine(path)
    assert len(frames_of(cine)) == 3
    assert "3 of its 4 frames" in cine.notes["truncated"]


def test_a_truncated_single_frame_is_refused(write):
    for ds in (dataset(pattern()), jpeg_dataset(smooth_colour())):
        path = write(ds)
        path.write_bytes(path.read_bytes()[:-100])
        assert "not one of its 1 frames is whole" in refusal(path)


def test_a_corrupt_jpeg_is_refused_and_one_among_others_when_it_is_asked_for(write):
    colour = smooth_colour(3)
    good = [jpeg(frame) for frame in colour]
    ds = jpeg_dataset(colour)
    ds.PixelData = encapsulate([good[0], good[1][:50] + b"\0" * 200, good[2]])
    cine = io.read_cine(write(ds))
    with pytest.raises(ImageError, match="frame 1 of x.dcm"):
        cine.frames[1]
    assert np.abs(cine.frames[2].astype(int) - colour[2]).mean() < 3
    ds.PixelData = encapsulate([b"\xff\xd8 not a jpeg "] * 3)
    assert "cannot be decoded" in refusal(write(ds, "y.dcm"))


def test_a_jpeg_of_another_size_than_the_header_is_refused(write):
    ds = jpeg_dataset(smooth_colour())
    ds.PixelData = encapsulate([jpeg(smooth_colour(1, 16, 16)[0])])
    assert "cannot be decoded" in refusal(write(ds))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"PhotometricInterpretation": "HSV"}, "'HSV'"),
        ({"BitsAllocated": 1}, "1 bits"),
        ({"Rows": 0}, "how its pixels are stored"),
        ({"Columns": None}, "how its pixels are stored"),
        ({"PixelData": None}, "no pixel data"),
        ({"SamplesPerPixel": 3}, "3 samples"),
    ],
)
def test_a_header_that_does_not_describe_an_image_is_refused(write, change, what):
    assert what in refusal(write(dataset(pattern(), **change)))


def test_a_compression_without_a_decoder_is_refused_by_its_name(write):
    ds = jpeg_dataset(smooth_colour())
    ds.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    assert "JPEG Lossless" in refusal(write(ds))


def test_a_deflated_file_is_refused(write):
    assert "deflated" in refusal(write(dataset(pattern(), syntax=DeflatedExplicitVRLittleEndian)))


def test_bytes_changed_at_random_give_frames_or_one_sentence_and_tell_nothing(write, caplog):
    rng = np.random.default_rng(5)
    path = write(jpeg_dataset(smooth_colour(2), regions=[region()], FrameTime=30))
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(40):
        data = whole.copy()
        data[rng.integers(132, len(data), 4)] = rng.integers(0, 256, 4)
        path.write_bytes(data.tobytes())
        said = ""
        try:
            cine = io.read_cine(path)
            cine.frames[len(cine) - 1]
        except ImageError as error:
            said = "".join(traceback.format_exception(error))
            assert "\n" not in str(error)  # noqa: PT017
        assert "Secret" not in said + caplog.text


# --- pictures


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".gif"])
def test_a_grey_picture_comes_as_it_is(tmp_path, suffix):
    grey = pattern()[0]
    Image.fromarray(grey).save(tmp_path / f"a{suffix}")
    cine = io.read_cine(tmp_path / f"a{suffix}")
    read = cine.frames[0]
    np.testing.assert_array_equal(read if read.ndim == 2 else read[..., 0], grey)
    assert (len(cine), cine.size, cine.modality) == (1, (40, 30), "")


def test_colour_transparency_palette_and_one_bit_become_grey_or_rgb(tmp_path):
    rgb = smooth_colour()[0]
    alpha = np.dstack([rgb, np.where(np.arange(48) < 24, 255, 0) + np.zeros((32, 1), int)]).astype(np.uint8)
    expected = {
        "rgb": (Image.fromarray(rgb), rgb),
        "rgba": (Image.fromarray(alpha), np.where(alpha[..., 3:] > 0, rgb, 0)),
        "palette": (Image.fromarray(rgb[:, :, 0] // 64).quantize(4), None),
        "bit": (Image.fromarray(pattern()[0] > 99), (pattern()[0] > 99) * 255),
    }
    for name, (image, wanted) in expected.items():
        image.save(tmp_path / f"{name}.png")
        read = io.read_cine(tmp_path / f"{name}.png").frames[0]
        np.testing.assert_array_equal(read, np.asarray(image.convert("RGB")) if wanted is None else wanted)
    assert "black" in io.read_cine(tmp_path / "rgba.png").notes["transparency"]


def test_16_bits_are_mapped_from_0_and_the_highest_value(tmp_path):
    values = np.array([[0, 1000], [4000, 2000]], np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(values).save(tmp_path / name)
        cine = io.read_cine(tmp_path / name)
        np.testing.assert_array_equal(cine.frames[0], [[0, 64], [255, 128]])
        assert "0 to 4000 became 0 to 255" in cine.notes["scaled_to_8_bits"]


def test_floats_are_mapped_too_unless_they_are_not_finite(tmp_path):
    Image.fromarray(np.array([[0, 0.5, 1]], np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(io.read_cine(tmp_path / "a.tif").frames[0], [[0, 128, 255]])
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(tmp_path / "b.tif")
    assert "not finite" in refusal(tmp_path / "b.tif")


def test_cmyk_becomes_rgb_and_that_is_noted(tmp_path):
    Image.new("CMYK", (8, 6), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    cine = io.read_cine(tmp_path / "a.jpg")
    assert np.abs(cine.frames[0].astype(int) - (255, 0, 0)).max() <= 3
    assert "CMYK" in cine.notes["colours"]


@pytest.mark.parametrize(
    ("suffix", "orientation"),
    [(suffix, o) for suffix in (".jpg", ".tif", ".png") for o in range(1, 5 if suffix == ".tif" else 9)],
)
def test_the_exif_orientation_is_applied_once(tmp_path, suffix, orientation):
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :16] = 255  # the upper left quarter
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    image = Image.fromarray(upright)
    stored = image if undo is None else image.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a{suffix}", exif=exif)
    cine = io.read_cine(tmp_path / f"a{suffix}")
    assert cine.size == (32, 16)
    assert np.abs(cine.frames[0].astype(int) - upright).mean() < 3
    assert ("orientation" in cine.notes) == (orientation != 1)


def test_a_tiff_that_lies_on_its_side_is_refused(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pattern()[0]).save(tmp_path / "a.tif", exif=exif)
    assert "on its side" in refusal(tmp_path / "a.tif")


def test_pages_of_a_tiff_and_frames_of_a_gif_are_a_cine(tmp_path):
    pages = [Image.fromarray(frame) for frame in pattern(4)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(frames_of(io.read_cine(tmp_path / "a.tif")), pattern(4))
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:], duration=[40, 80, 40, 40])
    gif = io.read_cine(tmp_path / "a.gif")
    for index in (3, 0, 2):
        frame = gif.frames[index]
        np.testing.assert_array_equal(frame if frame.ndim == 2 else frame[..., 0], pattern(4)[index])
    np.testing.assert_allclose(gif.times_s, [0, 0.04, 0.12, 0.16])


def test_pages_of_several_sizes_are_refused(tmp_path):
    small, large = Image.new("L", (4, 4)), Image.new("L", (8, 8))
    small.save(tmp_path / "a.tif", save_all=True, append_images=[large])
    assert "differ in size" in refusal(tmp_path / "a.tif")


def test_a_picture_of_one_pixel_is_a_cine(tmp_path):
    Image.new("L", (1, 1), 7).save(tmp_path / "a.png")
    cine = io.read_cine(tmp_path / "a.png")
    assert (cine.size, cine.frames[0].tolist()) == ((1, 1), [[7]])


@pytest.mark.parametrize(
    "suffix", [".png", ".jpg", ".tif", ".bmp", ".gif", ".mp4", ".avi", ".dcm", ".xyz", ""]
)
def test_empty_files_noise_and_halves_are_refused_in_one_sentence(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"")
    assert "empty file" in refusal(path)
    path.write_bytes(bytes(range(256)) * 20)
    assert refusal(path)
    if suffix in (".png", ".jpg"):
        Image.fromarray(pattern()[0]).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "damaged" in refusal(path)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (9000, 9000)).save(tmp_path / "a.png")
    assert "must have at most" in refusal(tmp_path / "a.png")


def test_a_folder_or_a_missing_path_is_said_to_be_one(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file"):
        io.read_cine(tmp_path / "nothing.png")


# --- videos


def video(path, *options, frames=20):
    source = f"testsrc=size=64x48:rate=25:duration={frames / 25}"
    command = [get_ffmpeg_exe(), "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, *options, str(path)]
    subprocess.run(command, check=True)
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "8")),
        ("a.avi", ("-c:v", "mjpeg", "-q:v", "2")),
        ("b.avi", ("-c:v", "mpeg4", "-bf", "2", "-g", "6")),
        ("a.mov", ("-c:v", "mjpeg", "-q:v", "2", "-vf", "select='not(eq(mod(n,3),1))'", "-fps_mode", "vfr")),
    ],
)
def test_a_frame_of_a_video_is_the_same_in_whatever_order_it_is_asked_for(tmp_path, name, options):
    path = video(tmp_path / name, *options, frames=50)
    forward = frames_of(io.read_cine(path))
    cine = io.read_cine(path)
    cine.frames._kept_bytes = 1
    assert cine.size == (64, 48)
    assert len(cine.times_s) == len(forward) > 30
    assert (np.diff(cine.times_s) > 0).all()
    for index in np.random.default_rng(0).permutation(len(forward))[:8]:
        np.testing.assert_array_equal(cine.frames[int(index)], forward[index])


def test_the_times_of_a_video_are_those_of_its_file(tmp_path):
    cine = io.read_cine(video(tmp_path / "a.mp4", "-pix_fmt", "yuv420p", frames=10))
    np.testing.assert_allclose(cine.times_s, np.arange(10) / 25, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.avi", ("-c:v", "mjpeg", "-q:v", "2")),
        ("a.mp4", ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "4", "-movflags", "+faststart")),
    ],
)
def test_of_a_truncated_video_the_frames_up_to_there_are_used_and_counted(tmp_path, name, options):
    path = video(tmp_path / name, *options, frames=40)
    whole = io.read_cine(path)
    assert (len(whole), "truncated" in whole.notes) == (40, False)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    cut = io.read_cine(path)
    assert 0 < len(cut) < 40
    assert cut.notes["truncated"] == f"{name} is cut off: its first {len(cut)} frames are used"
    np.testing.assert_array_equal(cut.frames[0], whole.frames[0])


def test_a_play_list_under_the_name_of_a_video_opens_nothing(tmp_path):
    target = video(tmp_path / "target.mp4", "-pix_fmt", "yuv420p")
    path = tmp_path / "a.mp4"
    path.write_text(f"#EXTM3U\n#EXTINF:1,\n{target}\n")
    assert "no frame" in refusal(path)


# --- folders


def test_ultrasound_files_of_a_folder_are_found_by_suffix_or_content_and_sorted(tmp_path):
    (tmp_path / "sub" / ".hidden").mkdir(parents=True)
    for name in ("b.png", "a.JPG", "notes.txt", ".c.png", "sub/d.png", "sub/.hidden/e.png"):
        (tmp_path / name).write_bytes(b"x")
    save(dataset(pattern()), tmp_path / "nosuffix")
    found = [path.relative_to(tmp_path).as_posix() for path in io.ultrasound_files(tmp_path)]
    assert found == ["a.JPG", "b.png", "nosuffix", "sub/d.png"]


# --- real files


def test_the_real_files_are_read_as_pydicom_reads_them():
    folder = shared_data("ultrasound_dicom")
    cine = io.read_cine(folder / "pydicom_examples_ybr_color.dcm")
    np.testing.assert_array_equal(
        frames_of(cine), pydicom.dcmread(folder / "pydicom_examples_ybr_color.dcm").pixel_array
    )
    assert len(cine) == 30
    assert cine.times_s[-1] == pytest.approx(29 * 0.033333)
    assert cine.regions[0].box == (84, 31, 595, 414)
    rgb = io.read_cine(folder / "pydicom_examples_rgb_color.dcm")
    np.testing.assert_array_equal(
        rgb.frames[0], pydicom.dcmread(folder / "pydicom_examples_rgb_color.dcm").pixel_array
    )
    palette = io.read_cine(folder / "pydicom_examples_palette.dcm")
    assert palette.frames[0].shape == (350, 800, 3)
    # the blue bar of the machine, and the white cross of the caliper
    assert palette.frames[0][5, 400].tolist() == [37, 62, 94]
    assert (palette.frames[0][290, 456:464] > 200).all()


def test_a_real_ct_and_a_real_x_ray_are_not_ultrasound():
    assert "an X-ray, not an ultrasound" in refusal(shared_data("xray/RG1_J2KI.dcm"))
    slices = [p for p in shared_data("head_ct/ge_head_tilted_dicom").iterdir() if p.is_file()]
    assert "is a CT, not an ultrasound" in refusal(slices[0])
