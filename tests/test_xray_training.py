"""Training of the X-ray networks on bodies of two ellipsoids: every recipe, its checkpoint, its figures."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from trifocal import io
from trifocal.cli import main
from trifocal.image import Image
from trifocal.predictor import Cancelled
from trifocal.training import Plan
from trifocal.xray.models.cascade import Cascade, averaged
from trifocal.xray.models.config import COMPACT, XrayModelConfig, build
from trifocal.xray.models.diffusion import DiffusionConfig
from trifocal.xray.models.feature_stats import EncoderCollapse
from trifocal.xray.models.inside import Inside
from trifocal.xray.models.refiner import Refiner, RefinerConfig
from trifocal.xray.models.sampled import SampledNet
from trifocal.xray.models.saved import SavedNet
from trifocal.xray.models.started import StartedNet
from trifocal.xray.training.ablation import ALL, SMALL, ablate, without
from trifocal.xray.training.crops import Scene
from trifocal.xray.training.diagnostics import diagnose
from trifocal.xray.training.judging import baseline, encoder_stats, errors, judge
from trifocal.xray.training.kept_crops import KeptCrops, Volumes
from trifocal.xray.training.recipes import XrayRecipe, train
from trifocal.xray.training.side_by_side import LEAST_SQUARES, compare, table, whole
from trifocal.xray.training.tasks import CascadeTask, DiffusionTask

VOXELS = 16
PLAIN = XrayModelConfig(
    cnn_branch=False,  # and no MONAI, which takes seconds to import
    film_widths=(8, 8, 16),
    lifted=4,
    fine=8,
    local=(8, 16),
    local_blocks=(1, 1),
    expansion=1,
    dim=16,
    heads=2,
    attentions=1,
    feed_forwards=1,
    scales=(1, 2),
    most_tokens=4,
)
PLAN = Plan(epochs=2, batch_size=3, learning_rate=3e-3, precision="bf16-mixed")
RECIPE = XrayRecipe(
    PLAN,
    model=PLAIN,
    voxels=VOXELS,
    start_steps=2,
    refiner=RefinerConfig(flat=8, lifted=4, widths=(8, 16)),
    diffusion=DiffusionConfig(widths=(8, 16), levels=100, steps=2),
    crops_per_volume=2,
    validation_volumes=1,
    figures=False,
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Small tensors are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def body(seed):
    """A trunk in HU at 12 mm: an ellipsoid of water with a lung in it, a little different for each seed."""
    rng = np.random.default_rng(seed)
    x, y, z = (np.linspace(-1, 1, n) for n in (30, 24, 36))
    grid = np.stack(np.meshgrid(x, y, z, indexing="ij"))
    hu = np.full(grid.shape[1:], -1000, np.float32)
    sizes = rng.uniform(0.75, 0.95, (3, 1, 1, 1))
    hu[(grid / sizes)[:2].__pow__(2).sum(0) < 1] = rng.uniform(20, 60)
    middle = np.array([rng.uniform(-0.4, 0.4), 0.1, 0.2]).reshape(3, 1, 1, 1)
    hu[((grid - middle) / 0.4).__pow__(2).sum(0) < 1] = -800
    affine = np.diag([12.0, 12.0, 12.0, 1.0])
    affine[:3, 3] = [-174, -138, -210]
    return Image(hu, affine, "HU")


@pytest.fixture(scope="module")
def volumes():
    return Volumes([lambda seed=seed: body(seed) for seed in range(4)])


@pytest.fixture(scope="module")
def direct(volumes, tmp_path_factory):
    """A trained direct network: its folder, what came of it, its checkpoint."""
    out = tmp_path_factory.mktemp("direct")
    return out, *train(volumes, out, replace(RECIPE, figures=True), device="cpu")


def test_a_direct_network_is_trained_and_comes_back_from_its_checkpoint(direct, volumes):
    out, fitted, checkpoint = direct
    assert fitted.steps == 2
    saved = SavedNet.load(out / "xray.safetensors")
    assert (saved.kind, saved.voxels) == ("direct", VOXELS)
    assert isinstance(saved.network, StartedNet)
    assert saved.card["validation"]["least_squares_mae_hu"] > 0
    assert checkpoint.sha256 == saved.sha256
    crops = volumes.held_out(1, VOXELS)
    assert judge(saved.network, crops, VOXELS)["mae_hu"] == pytest.approx(
        checkpoint.card["validation"]["mae_hu"], rel=0.02
    )


def test_each_validation_logs_the_encoders_statistics_and_draws_a_figure(direct):
    out, fitted, _ = direct
    with (out / "curves.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = ("mean", "std", "min", "max", "sparsity")
    assert all(float(row[f"val_features_{name}"]) is not None for row in rows for name in names)
    assert len(list((out / "diagnostics").glob("*.png"))) == len(fitted.rows)


def test_a_run_that_was_interrupted_ends_with_the_same_weights(direct, volumes, tmp_path):
    def stop(done, what):
        if 0.4 < done < 1:
            raise Cancelled

    recipe = replace(RECIPE, figures=False)
    with pytest.raises(Cancelled):
        train(volumes, tmp_path, recipe, device="cpu", progress=stop)
    _, again = train(volumes, tmp_path, recipe, device="cpu")
    for name, weight in direct[2].weights.items():
        assert torch.equal(weight, again.weights[name]), name


def test_a_folder_with_another_run_is_refused(direct, volumes):
    other = replace(RECIPE, model=replace(PLAIN, sandwich=False))
    with pytest.raises(ValueError, match="another network or recipe"):
        train(volumes, direct[0], other, device="cpu")


def test_too_few_volumes_and_a_missing_base_are_refused(volumes, tmp_path):
    with pytest.raises(ValueError, match="more than the 4 volumes that validate, got 4"):
        train(volumes, tmp_path, replace(RECIPE, validation_volumes=4), device="cpu")
    with pytest.raises(ValueError, match="cascade must begin from a trained network"):
        train(volumes, tmp_path, replace(RECIPE, kind="cascade"), device="cpu")


def test_a_cascade_learns_its_stage_and_leaves_the_base_as_it_was(direct, volumes, tmp_path):
    recipe = replace(RECIPE, kind="cascade", patch=16, plan=replace(PLAN, epochs=1))
    _, checkpoint = train(volumes, tmp_path, recipe, base=direct[0] / "xray.safetensors", device="cpu")
    assert checkpoint.config["voxels"] == 2 * VOXELS
    for name, weight in direct[2].weights.items():
        assert torch.equal(checkpoint.weights[f"base.{name}"], weight), name
    saved = SavedNet.load(tmp_path / "xray.safetensors")
    assert saved.kind == "cascade"
    assert saved.network.stages[0].net.head.weight.abs().max() > 0


def test_a_diffusion_learns_around_its_base(direct, volumes, tmp_path):
    recipe = replace(RECIPE, kind="diffusion", plan=replace(PLAN, epochs=1, ema=0.9))
    base = direct[0] / "xray.safetensors"
    train(volumes, tmp_path, recipe, base=base, device="cpu")
    saved = SavedNet.load(tmp_path / "xray.safetensors")
    assert saved.kind == "diffusion"
    scene = Scene.usual(VOXELS)
    crop = volumes.held_out(1, VOXELS)[0]
    films = scene.films(crop["density"][None].float())
    drawn = saved.network.samples(films, scene.lift, count=2, steps=2, seed=5)
    assert drawn.shape == (2, 1, 1, VOXELS, VOXELS, VOXELS)
    assert drawn.std(0).max() > 0
    residual = crop["density"].float() - SavedNet.load(base).network(films, scene.lift)[0, 0].detach()
    assert 0.3 < float(saved.network.diffusion.scale) / float(residual.square().mean().sqrt()) < 3


def test_the_base_is_not_trained_and_keeps_its_norms():
    base = StartedNet(build(PLAIN), 0)
    for task in (CascadeTask(Cascade(base, RECIPE.refiner, stages=1)), DiffusionTask(SampledNet(base))):
        task.train()
        assert not any(m.training for m in base.modules())
        assert not any(p.requires_grad for p in base.parameters())
        assert any(p.requires_grad for p in task.parameters())


def test_an_untrained_cascade_is_the_interpolated_base():
    torch.manual_seed(0)
    base = StartedNet(build(PLAIN), 2).eval()
    cascade = Cascade(base, RECIPE.refiner, stages=2).eval()
    fine = Scene.usual(32)
    films = torch.rand(1, 2, 64, 64)
    told = []
    with torch.no_grad():
        coarse = fine.lift.coarser(4)
        first = base(averaged(films, coarse), coarse)
        answer = cascade(films, fine.lift, progress=lambda done, what: told.append((done, what)))
    twice = torch.nn.functional.interpolate(first.clamp(0, 4), (16,) * 3, mode="trilinear")
    expected = torch.nn.functional.interpolate(twice, (32,) * 3, mode="trilinear")
    assert torch.allclose(answer, expected, atol=1e-5)
    assert told[0] == (0.0, "16 x 16 x 16: refining")
    with pytest.raises(ValueError, match="1 stage or more"):
        Cascade(base, stages=0)


@pytest.mark.parametrize("patch", [9, 14])
def test_the_answer_does_not_depend_on_the_size_of_the_patches(patch):
    torch.manual_seed(0)
    refiner = Refiner(RefinerConfig(flat=8, lifted=4, widths=(8, 16))).eval()
    torch.nn.init.normal_(refiner.net.head.weight)
    scene = Scene.usual(32)
    films, previous = torch.rand(1, 2, 64, 64), torch.rand(1, 1, 16, 16, 16)
    done = []
    with torch.no_grad():
        at_once = refiner(films, scene.lift, previous)
        patched = refiner(
            films, scene.lift, previous, patch=patch, progress=lambda part, what: done.append(part)
        )
        box = (slice(3, 14), slice(0, 9), slice(20, 32))
        part = refiner(films, scene.lift, previous, box=box)
    raised = torch.nn.functional.interpolate(previous, (32,) * 3, mode="trilinear")
    assert (at_once - raised).std() > 0.05  # it does something
    assert torch.allclose(patched, at_once, atol=1e-4)
    assert torch.allclose(part, at_once[(..., *box)], atol=1e-4)
    assert done == [(i + 1) / (-(-32 // patch)) ** 3 for i in range((-(-32 // patch)) ** 3)]


def test_a_stage_sees_what_the_volume_before_leaves_of_the_films():
    torch.manual_seed(0)
    refiner = Refiner(RefinerConfig(flat=8, lifted=4, widths=(8, 16))).eval()
    torch.nn.init.normal_(refiner.net.head.weight)
    scene = Scene.usual(16)
    density = torch.rand(1, 1, 16, 16, 16)
    maps = refiner._maps(scene.films(density[:, 0]), scene.lift, density)
    assert max(float(seen[:, 1].abs().max()) for _, seen in maps) < 1e-5  # all explained
    with torch.no_grad():
        films = torch.rand(1, 2, 32, 32)
        swapped = refiner(films.flip(1), scene.lift, density)
        assert (refiner(films, scene.lift, density) - swapped).abs().max() > 1e-3


def test_time_and_memory_are_stated_before_they_are_spent():
    cascade = Cascade(StartedNet(build(PLAIN), 0), RECIPE.refiner, stages=2).eval()
    small, large = cascade.cost(32), cascade.cost(64)
    patched = cascade.cost(64, patch=16)
    assert large.bytes > 4 * small.bytes
    assert patched.bytes < large.bytes
    assert large.seconds > 0
    assert "GiB" in str(large)
    once, twice = (SampledNet(torch.nn.Identity()).cost(16, count=n, steps=3) for n in (1, 20))
    assert twice.seconds > once.seconds
    assert str(replace(large, seconds=600.0, bytes=2.0**31)) == "about 10 min, at most 2.0 GiB"


def test_least_squares_explains_the_films_and_an_empty_film_counts_as_not_taken(volumes):
    scene = Scene.usual(VOXELS)
    truth = volumes.held_out(1, VOXELS)[0]["density"][None].float()
    films = scene.films(truth)
    found = baseline(films, scene.lift)
    off = (scene.films(found[:, 0]) - films).square().mean().sqrt()
    assert off < 0.1 * films.square().mean().sqrt()
    alone = films * torch.tensor([1.0, 0.0])[None, :, None, None]
    again = scene.films(baseline(alone, scene.lift)[:, 0])
    assert (again[:, 0] - films[:, 0]).square().mean().sqrt() < 0.1 * films[:, 0].square().mean().sqrt()
    assert again[:, 1].max() > 0.1  # not driven to zero


def test_errors_of_a_constant_offset_are_what_the_definitions_say():
    truth = torch.ones(1, 1, 16, 16, 16)
    inside = torch.zeros_like(truth, dtype=torch.bool)
    inside[..., :8] = True
    found = torch.where(inside, 1.1, 5.0)  # far off where it does not count
    figures = errors(found, truth, inside)
    assert figures["mae_hu"] == pytest.approx(100, rel=1e-4)
    assert figures["psnr_db"] == pytest.approx(20 * np.log10(2000 / 100), abs=1e-3)
    assert errors(truth, truth, inside)["ssim"] == pytest.approx(1)


def test_kept_crops_are_read_once_and_chosen_by_seed_and_epoch():
    reads = []

    def reader(seed):
        reads.append(seed)
        return body(seed)

    crops = KeptCrops([lambda s=s: reader(s) for s in range(2)], voxels=VOXELS, seed=1, variants=3)
    seen = []
    for epoch in range(6):
        crops.set_epoch(epoch)
        seen.append(crops[0]["density"])
        crops[1]
    assert reads == [0, 1]
    assert 1 < len({id(each) for each in seen}) <= 3
    other = KeptCrops([lambda: body(0)], voxels=VOXELS, seed=1, variants=3)
    assert torch.equal(other[0]["density"], seen[0])


def test_the_fifteen_panels_are_drawn_for_networks_with_and_without_boundaries(volumes, tmp_path):
    torch.manual_seed(0)
    crop = volumes.held_out(1, VOXELS)[0]
    averaging = StartedNet(build(replace(PLAIN, geometry_lifting=False)), 0).eval()
    scene = Scene.usual(VOXELS)
    films = scene.films(crop["density"][None].float())
    assert Inside.of(averaging, films, scene.lift).boundaries == ()
    figures = diagnose(averaging, crop, VOXELS, tmp_path / "figure.png")
    with Picture.open(tmp_path / "figure.png") as picture:
        assert picture.width > 900
        assert np.asarray(picture.convert("L")).std() > 20
    assert set(figures) == {"mae_hu", "psnr_db", "ssim"}


def test_a_collapsed_encoder_is_warned_of(volumes):
    net = StartedNet(build(PLAIN), 0).eval()
    for encoder in net.net.encoders:
        torch.nn.init.zeros_(encoder.last.norm.weight)
        torch.nn.init.zeros_(encoder.last.norm.bias)
    with pytest.warns(EncoderCollapse, match="hardly vary"):
        stats = encoder_stats(net, volumes.held_out(1, VOXELS), VOXELS)
    assert stats["features_std"] == pytest.approx(0)


def test_the_ablation_leaves_out_each_part_and_writes_its_table(volumes, tmp_path):
    recipe = replace(RECIPE, plan=replace(PLAN, epochs=1))
    parts = ("sandwich", "geometry_lifting")
    rows = ablate(volumes, tmp_path, recipe, parts, device="cpu")
    assert [row.name for row in rows[1:]] == [ALL, "without sandwich", "without geometry_lifting"]
    assert rows[3].parameters < rows[1].parameters
    config = json.loads((tmp_path / "without-geometry_lifting" / "xray.json").read_text())["config"]
    assert config["model"] == replace(PLAIN, geometry_lifting=False).record()
    with (tmp_path / "ablation.csv").open(encoding="utf-8") as file:
        assert [row["name"] for row in csv.DictReader(file)] == [row.name for row in rows]
    with pytest.raises(ValueError, match="a part must be one of"):
        without(SMALL, "sandwiches")


def test_networks_are_compared_on_one_grid_beside_least_squares(direct, volumes, tmp_path):
    io.write(body(9), tmp_path / "ct.nii.gz")
    crops = {"held out": volumes.held_out(1, 32), "a CT": [whole(io.read(tmp_path / "ct.nii.gz"), 32)]}
    rows = compare({"direct": direct[0] / "xray.safetensors"}, crops, 32)
    assert [(row.name, row.crops) for row in rows] == [
        (name, kind) for name in (LEAST_SQUARES, "direct") for kind in crops
    ]
    assert "[-1000, 1000] HU" in table(rows)[-1]
    with pytest.raises(ValueError, match="multiple of the network's 16 voxels"):
        compare({"direct": direct[0] / "xray.safetensors"}, {"x": volumes.held_out(1, 24)}, 24)


@pytest.mark.filterwarnings("ignore::trifocal.xray.models.feature_stats.EncoderCollapse")  # one step old
def test_the_command_trains_compares_and_draws(tmp_path, capsys):
    (tmp_path / "cts").mkdir()
    for seed in range(3):
        io.write(body(seed), tmp_path / "cts" / f"{seed}.nii.gz")
    common = ["--data", str(tmp_path / "cts"), "--validation-volumes", "1", "--voxels", "16"]
    run = tmp_path / "run"
    words = ["train", "xray", "--recipe", "direct", *common, "--out", str(run), "--preset", "small"]
    off = ["cnn_branch=off", "multi_scale=off"]
    assert main([*words, "--epochs", "1", "--precision", "bf16-mixed", "--toggles", *off]) == 0
    assert "on held-out volumes, mean: mae_hu" in capsys.readouterr().out
    assert SavedNet.load(run / "xray.safetensors").config["model"]["cnn_branch"] is False
    truth = ["--truth", str(tmp_path / "cts" / "0.nii.gz")]
    side = ["train", "xray", "--recipe", "compare", *common, *truth, "--out", str(tmp_path / "side")]
    assert main([*side, "--models", str(run)]) == 0
    assert "| run | 0.nii.gz | 16 |" in capsys.readouterr().out
    figure = ["train", "xray", "--recipe", "diagnose", *truth, "--out", str(tmp_path / "figure")]
    assert main([*figure, "--init", str(run)]) == 0
    assert (tmp_path / "figure" / "diagnostics.png").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--recipe", "direct", "--toggles", "cnn_branch=maybe"], "a toggle must be one of"),
        (["--recipe", "compare", "--data", "nowhere"], "give their checkpoints or folders with --models"),
        (["--recipe", "diagnose"], "give its checkpoint with --init"),
        (["--recipe", "direct", "--data", "nowhere"], "phantoms:N or a folder with CTs"),
        (["--recipe", "direct", "--data", "phantoms:one"], "2 phantoms or more"),
    ],
)
def test_what_the_command_cannot_use_is_said_in_a_sentence(more, said, tmp_path, capsys):
    assert main(["train", "xray", "--out", str(tmp_path), *more]) == 2
    assert said in capsys.readouterr().err


def test_the_small_preset_is_a_smaller_compact_one():
    assert replace(SMALL, **{k: getattr(COMPACT, k) for k in ("dim", "lifted")}) != COMPACT
    assert sum(p.numel() for p in build(without(SMALL, "cnn_branch")).parameters()) < 1e6
