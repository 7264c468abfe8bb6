"""SONICHU-124M against transformers' own ViTPose of that size: time of one image, memory of a process."""

import json
import subprocess
import sys
import time

ROUNDS = 9
SIDE = 256
POINTS = 4


def ours():
    """The 124 M model; points of one task, without TTA."""
    from trifocal.keypoints.sonichu import SonichuModel

    model = SonichuModel().eval()
    return lambda x: model.predict(x, "HC", tta=False)


def one_head():
    """The same with the head of one task, as `from_pretrained(..., tasks=["HC"])` loads it."""
    from trifocal.keypoints.sonichu import SonichuConfig, SonichuModel

    model = SonichuModel(SonichuConfig(tasks={"HC": POINTS})).eval()
    return lambda x: model.predict(x, "HC", tta=False)


def theirs():
    """ViT-B/16 with the classic decoder at the same size; heat maps, since it returns no points."""
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

    backbone = VitPoseBackboneConfig(
        image_size=[SIDE, SIDE],
        patch_size=[16, 16],
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        out_indices=[12],
    )
    config = VitPoseConfig(backbone_config=backbone, use_simple_decoder=False)
    config.num_labels = POINTS
    model = VitPoseForPoseEstimation(config).eval()
    return lambda x: model(x).heatmaps


MODELS = {
    "SONICHU, nine heads": ours,
    "SONICHU, one head": one_head,
    "transformers' ViTPose": theirs,
}


def measure():
    """Shortest time of each (ms), one after the other in turn, and the peak memory of each alone (MB)."""
    results = {}
    for name in MODELS:  # first: a process starts with the peak of the one that starts it
        alone = subprocess.run(
            [sys.executable, __file__, name], check=True, capture_output=True, text=True
        ).stdout
        results[f"{name}, peak MB of a process"] = json.loads(alone.splitlines()[-1])

    import torch

    torch.set_num_threads(1)
    image = torch.randn(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        works = {name: make() for name, make in MODELS.items()}
        times = {name: [] for name in works}
        for _ in range(ROUNDS):
            for name, work in works.items():
                start = time.perf_counter()
                work(image)
                times[name].append(1e3 * (time.perf_counter() - start))
    for name, taken in times.items():
        results[f"{name}, 1 thread"] = min(taken)
    return results


def peak_mb(name):
    """Of a process that makes the model and uses it on one image."""
    import resource

    import torch

    torch.set_num_threads(1)
    with torch.inference_mode():
        work = MODELS[name]()
        work(torch.randn(1, 3, SIDE, SIDE))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(peak_mb(sys.argv[1])) + "\n")
