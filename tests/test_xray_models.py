"""The hybrid network, its parts, and what direct regression makes small."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.models.attention import (
    CascadedGroupAttention,
    CrossAttention,
    MultiScaleAttention,
    PlainAttention,
)
from trifocal.xray.models.conditioning import HierarchicalConditioning
from trifocal.xray.models.config import COMPACT, PRESETS, SEED, TOGGLES, XrayModelConfig, build
from trifocal.xray.models.depth_boundaries import PRIORS, Boundaries, DepthBoundaries, boundary_loss
from trifocal.xray.models.hybrid import HybridNet
from trifocal.xray.models.lift import Lift
from trifocal.xray.models.losses import DirectWeights, direct_loss, physics_loss, ssim
from trifocal.xray.models.resize import resized, token_grid
from trifocal.xray.projection import Projectors

TINY = replace(
    COMPACT,
    film_widths=(4, 6, 8),
    lifted=4,
    fine=4,
    local=(8, 8),
    local_blocks=(1, 1),
    expansion=2,
    dim=16,
    heads=4,
    ratio=2,
)


def geometry(voxels: int = 16, pixels: int = 24):
    return frontal_and_lateral(Grid.cube(400, voxels), pixels=pixels)


def lift(voxels: int = 16) -> Lift:
    made = geometry(voxels)
    return Lift(made.views, made.grid)


def films(batch: int = 1, seed: int = 0, pixels: int = 24) -> torch.Tensor:
    return 2 * torch.rand((batch, 2, pixels, pixels), generator=torch.Generator().manual_seed(seed))


def density(voxels: int, seed: int = 1) -> torch.Tensor:
    return torch.rand((1, 1, voxels, voxels, voxels), generator=torch.Generator().manual_seed(seed))


def network(config: XrayModelConfig = TINY, seed: int = 0) -> HybridNet:
    torch.manual_seed(seed)
    made = build(config)
    assert isinstance(made, HybridNet)
    return made.eval()


def parameters(config: XrayModelConfig) -> int:
    return sum(p.numel() for p in build(config).parameters())


@pytest.mark.parametrize("voxels", [64, 48, 32])
def test_the_compact_network_gives_a_density_on_the_lifts_grid(voxels):
    made = geometry(voxels, 128)
    with torch.no_grad():
        out = network(COMPACT)(films(pixels=128), Lift(made.views, made.grid))
    assert out.shape == (1, 1, voxels, voxels, voxels)
    assert torch.isfinite(out).all()


def test_a_box_of_unequal_and_odd_sides_is_filled_too():
    grid = Grid((21, 16, 13), (20.0, 20.0, 20.0))
    made = frontal_and_lateral(grid, pixels=24)
    out = network()(films(2), Lift(made.views, grid), torch.rand(2, 1, 9, 8, 7))
    assert out.shape == (2, 1, 21, 16, 13)


def test_the_compact_preset_is_small_enough_for_a_cpu():
    assert parameters(COMPACT) < 3_000_000


@pytest.mark.parametrize("name", TOGGLES)
def test_each_toggle_changes_the_network_and_its_answer(name):
    off = replace(TINY, **{name: False})
    assert parameters(off) != parameters(TINY)
    with torch.no_grad():
        answers = [network(c)(films(), lift(), density(8)) for c in (TINY, off)]
    assert (answers[0] - answers[1]).abs().max() > 1e-4


def test_every_combination_of_the_six_toggles_of_the_seed_runs():
    small = replace(TINY, film_widths=(2, 2, 2), lifted=2, ratio=1, scales=(1, 2))
    for values in itertools.product([False, True], repeat=6):
        config = replace(small, **dict(zip(TOGGLES[:6], values, strict=True)))
        with torch.no_grad():
            assert torch.isfinite(network(config)(films(), lift(8), density(4))).all()


def test_every_combination_of_the_other_toggles_runs():
    for values in itertools.product([False, True], repeat=3):
        config = replace(TINY, **dict(zip(TOGGLES[6:], values, strict=True)))
        assert torch.isfinite(network(config)(films(), lift(8))).all()


@pytest.mark.parametrize("off", ["", *TOGGLES])
def test_the_gradient_reaches_every_parameter(off):
    net = network(replace(TINY, **({off: False} if off else {}))).train()
    (net(films(2), lift(), density(8).expand(2, -1, -1, -1, -1)) ** 2).mean().backward()
    silent = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert silent == []


def test_exchanged_films_change_the_answer():
    net, seen = network(), films()
    with torch.no_grad():
        straight, exchanged = net(seen, lift()), net(seen.flip(1), lift())
    assert (straight - exchanged).abs().mean() > 0.05 * straight.std()


def test_each_view_has_an_encoder_of_its_own():
    net = network()
    one = films()[:, :1]
    maps = [encoder(one)[0] for encoder in net.encoders]
    assert (maps[0] - maps[1]).abs().max() > 1e-3


def test_averaged_views_cannot_tell_the_films_apart():
    net = network(replace(TINY, geometry_lifting=False))
    seen = films()
    with torch.no_grad():
        assert torch.equal(net(seen, lift()), net(seen.flip(1), lift()))


def test_averaged_views_cannot_tell_where_on_a_film_something_is():
    spot = torch.zeros(1, 2, 48, 48)
    spot[0, 0, 20:24, 20:24] = 3.0
    elsewhere = spot.roll(16, -1)  # clear of the edges
    shared = network(replace(TINY, geometry_lifting=False))
    with torch.no_grad():
        told = [(net(spot, lift()) - net(elsewhere, lift())).abs().max() for net in (network(), shared)]
    assert told[1] < 1e-4 < 0.01 < told[0]


def test_a_feature_of_the_frontal_film_reaches_only_its_own_rays():
    made = geometry(16)
    where = Lift(made.views, made.grid)
    maps = torch.zeros(1, 1, 24, 24)
    maps[0, 0, 4, 6] = 1.0  # upper part of the film, on the patient's right
    lifted = where.features(0, maps)[0, 0]
    x, _, z = (t.float().mean() for t in torch.nonzero(lifted, as_tuple=True))
    assert x > 8
    assert z > 8
    assert (lifted.amax((0, 2)) > 0).all()  # all along the ray


def test_the_previous_stage_is_looked_at_and_may_have_any_size():
    net = network()
    with torch.no_grad():
        alone = net(films(), lift())
        after = [net(films(), lift(), previous) for previous in (density(8), density(8, 2), density(5))]
    assert len({float(a.mean()) for a in (alone, *after)}) == 4


def test_without_conditioning_the_previous_stage_is_not_looked_at():
    net = network(replace(TINY, hierarchical_conditioning=False))
    with torch.no_grad():
        assert torch.equal(net(films(), lift()), net(films(), lift(), density(8)))


def test_conditioning_sees_voxels_finer_than_its_tokens():
    layer = HierarchicalConditioning(8, 4)
    now, flat = torch.rand(1, 8, 8, 8, 8), torch.full((1, 1, 8, 8, 8), 0.5)
    chequered = flat + 0.5 * (-1.0) ** torch.stack(torch.meshgrid(*[torch.arange(8)] * 3, indexing="ij")).sum(
        0
    )
    assert torch.allclose(resized(chequered, (2, 2, 2)), resized(flat, (2, 2, 2)))  # tokens see no difference
    with torch.no_grad():
        assert (layer(now, flat, (2, 2, 2)) - layer(now, chequered, (2, 2, 2))).abs().max() > 1e-3


def test_half_precision_gives_nearly_the_same_density():
    net = network()
    with torch.no_grad():
        full = net(films(), lift(), density(8))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            seen = net.detailed(films(), lift(), density(8))
    assert seen.boundaries[0].position.dtype == torch.float32
    assert (seen.density.float() - full).abs().max() < 0.05 * full.abs().max()


def test_films_of_the_wrong_number_are_refused():
    with pytest.raises(ValueError, match="films must be"):
        network()(films()[:, :1], lift())


def test_a_single_view_network_takes_one_film():
    made = geometry()
    one = Lift(made.views[:1], made.grid)
    assert network(replace(TINY, views=1))(films()[:, :1], one).shape == (1, 1, 16, 16, 16)


def test_the_lifting_network_is_built_by_its_kind_and_called_alike():
    torch.manual_seed(0)
    net = build(replace(COMPACT, kind="lifting")).eval()
    with torch.no_grad():
        assert net(films(pixels=32), lift(), None).shape == (1, 1, 16, 16, 16)


# --- attention


def test_a_group_hears_of_the_groups_before_it_but_not_of_those_after():
    torch.manual_seed(0)
    layer = CascadedGroupAttention(8, 2, 2)
    layer.out = torch.nn.Identity()
    x = torch.rand(1, 2, 2, 2, 8)
    front, back = x.clone(), x.clone()
    front[..., :4] += torch.rand(4)
    back[..., 4:] += torch.rand(4)
    with torch.no_grad():
        base, of_front, of_back = layer(x), layer(front), layer(back)
    assert (base[..., 4:] - of_front[..., 4:]).abs().max() > 1e-4
    assert torch.equal(base[..., :4], of_back[..., :4])


def test_cascaded_groups_need_fewer_parameters_than_plain_heads():
    counts = [
        sum(p.numel() for p in a.parameters())
        for a in (CascadedGroupAttention(16, 4, 2), PlainAttention(16, 4))
    ]
    assert counts == [16 * 24 + 16 * 16 + 16, 16 * 48 + 16 * 16 + 16]


def test_attention_to_equal_tokens_returns_their_value():
    layer = PlainAttention(8, 2)
    x = torch.rand(8).expand(1, 2, 3, 2, 8)
    expected = layer.out(layer.qkv(x).chunk(3, -1)[2])
    torch.testing.assert_close(layer(x), expected)


def test_plain_attention_does_not_mind_the_order_of_the_tokens():
    torch.manual_seed(0)
    layer = PlainAttention(8, 2)
    x = torch.rand(1, 2, 2, 2, 8)
    torch.testing.assert_close(layer(x.flip(1, 2)), layer(x).flip(1, 2))


def test_coarse_scales_see_the_means_of_the_tokens():
    torch.manual_seed(0)
    inner = [torch.nn.Identity() for _ in range(3)]
    layer = MultiScaleAttention(inner, (1, 2, 4), 2)
    layer.fusion = torch.nn.Identity()
    x = torch.rand(1, 4, 4, 4, 2)
    fine, _, coarse = layer(x).chunk(3, dim=-1)
    assert torch.equal(fine, x)
    torch.testing.assert_close(coarse, x.mean((1, 2, 3), keepdim=True).expand_as(x))


def test_cross_attention_answers_on_the_grid_that_asks():
    assert CrossAttention(8, 6, 2)(torch.rand(2, 3, 2, 1, 8), torch.rand(2, 4, 4, 4, 6)).shape == (
        2,
        3,
        2,
        1,
        8,
    )


# --- depth boundaries


def test_masks_of_depth_sum_to_one_and_cross_at_the_boundaries():
    found = Boundaries(torch.tensor([PRIORS]), torch.full((1, 2), 0.05))
    depth = torch.linspace(0, 1, 101).reshape(101, 1, 1)
    near, middle, far = found.masks(depth)[0, :, :, 0, 0]
    torch.testing.assert_close(near + middle + far, torch.ones(101))
    assert near[25] == pytest.approx(0.5, abs=1e-4)
    assert far[75] == pytest.approx(0.5, abs=1e-4)
    assert near[30] == pytest.approx(0.1587, abs=1e-3)  # one standard deviation beyond: 1 - Phi(1)
    assert middle[50] > 0.999


def test_an_uncertain_boundary_is_softer():
    depth = torch.tensor([0.31]).reshape(1, 1, 1)
    sharp, soft = (
        Boundaries(torch.tensor([PRIORS]), torch.full((1, 2), s)).masks(depth)[0, 0].item()
        for s in (0.02, 0.08)
    )
    assert sharp < 0.01 < 0.2 < soft


def test_boundaries_differ_between_patients_within_their_limits():
    torch.manual_seed(0)
    layer = DepthBoundaries(8, learnable=True)
    found = layer(20 * torch.randn(50, 8))
    assert found.position[:, 1].std() > 0.01
    assert (found.position.diff(dim=1) > 0.1).all()
    assert torch.equal(found.position[:, [0, 3]], torch.tensor([[0.0, 1.0]]).expand(50, 2))
    assert (found.uncertainty >= 0.02).all()
    assert (found.uncertainty <= 0.08).all()


def test_boundaries_that_are_not_learnable_are_the_priors():
    found = DepthBoundaries(8, learnable=False)(torch.randn(3, 8))
    torch.testing.assert_close(found.position, torch.tensor([PRIORS] * 3))
    torch.testing.assert_close(found.uncertainty, torch.full((3, 2), 0.05))


def test_the_boundary_loss_is_zero_at_the_priors_and_pulls_back_to_them():
    at_rest = Boundaries(torch.tensor([PRIORS]), torch.full((1, 2), 0.05))
    assert boundary_loss(at_rest) == pytest.approx(0, abs=1e-12)
    moved = torch.tensor([[0.0, 0.3, 0.75, 1.0]], requires_grad=True)
    sure = torch.tensor([[0.02, 0.05]], requires_grad=True)
    boundary_loss(Boundaries(moved, sure)).backward()
    assert moved.grad is not None
    assert moved.grad[0, 1] > 0
    assert sure.grad is not None
    assert sure.grad[0, 0] < 0


# --- sizes


@pytest.mark.parametrize(("voxels", "tokens"), [(64, 16), (48, 12), (32, 8), (33, 9), (256, 16), (3, 1)])
def test_tokens_follow_the_size_of_the_volume(voxels, tokens):
    assert token_grid((voxels,) * 3, 4, 16) == (tokens,) * 3


@pytest.mark.parametrize("voxels", [16, 15, 13])
def test_coarser_means_keep_the_total(voxels):
    x = torch.zeros(1, 1, voxels, voxels, voxels) + 0.7
    torch.testing.assert_close(resized(x, (4, 4, 4)), torch.full((1, 1, 4, 4, 4), 0.7))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="multiple of heads"):
        replace(COMPACT, dim=100, heads=8)
    with pytest.raises(ValueError, match="1 or more"):
        replace(COMPACT, fine=0)
    with pytest.raises(ValueError, match="kind must be"):
        replace(COMPACT, kind="gan")
    with pytest.raises(ValueError, match="multiple of attentions"):
        replace(COMPACT, attentions=3)


def test_a_config_comes_back_from_its_record():
    import json

    for config in PRESETS.values():
        assert XrayModelConfig.from_record(json.loads(json.dumps(config.record()))) == config
    with pytest.raises(ValueError, match="discriminator"):
        XrayModelConfig.from_record({"discriminator": True})


@pytest.mark.slow
def test_the_preset_of_the_seed_has_its_size_and_runs():
    assert 175e6 < parameters(SEED) < 185e6
    with torch.no_grad():
        out = network(SEED)(films(), lift(8), density(4))
    assert torch.isfinite(out).all()


# --- losses


def test_ssim_is_that_of_scikit_image():
    rng = np.random.default_rng(0)
    a = rng.random((20, 17, 23))
    b = a + 0.3 * rng.random(a.shape)
    expected = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=2.0
    )
    assert ssim(torch.tensor(a), torch.tensor(b)).item() == pytest.approx(expected, abs=1e-9)


def test_ssim_of_a_volume_with_itself_is_one_also_below_the_window():
    for voxels in (16, 6, 1):
        x = torch.rand(2, 1, voxels, voxels, voxels, dtype=torch.float64)
        torch.testing.assert_close(ssim(x, x), torch.ones(2, 1, dtype=torch.float64))


def test_ssim_has_the_gradient_of_its_differences():
    x = torch.rand(1, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    y = torch.rand(1, 4, 5, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: ssim(v, y), x)


def test_the_direct_loss_adds_its_weighted_terms():
    truth = density(16)
    terms = direct_loss(truth + 0.1, truth, DirectWeights(2.0, 0.5))
    assert terms["absolute"] == pytest.approx(0.1, abs=1e-5)
    assert terms["loss"] == pytest.approx(0.2 + 0.5 * float(terms["ssim"]), abs=1e-5)
    with pytest.raises(ValueError, match="films and projectors"):
        direct_loss(truth, truth, DirectWeights(physics=1.0))


def test_a_slab_of_water_has_its_thickness_in_decimetres_on_the_film():
    made = frontal_and_lateral(Grid.cube(200, 8), pixels=8, parallel=True)
    projectors = Projectors.of(made.views, made.grid)
    water = torch.ones(1, 1, 8, 8, 8)
    assert physics_loss(water, torch.full((1, 2, 8, 8), 2.0), projectors) == pytest.approx(0, abs=1e-5)
    assert physics_loss(water, torch.full((1, 2, 8, 8), 3.0), projectors) == pytest.approx(1, abs=1e-5)
