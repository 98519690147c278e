"""The nodes of the CUDA graph of one training step, and of evaluating 250 images, by depth, net and precision.

    python benchmarks/nodes.py --depths 20,32,44,56,110 --precisions fp32,tf32,bf16

It needs a CUDA device. Paper's recipe: batch 128 of 3x32x32. The step is captured as engine.backend=graph captures it,
and the runtime library counts the nodes. cuDNN chooses its kernels by GPU and version, and a choice can be two nodes.
"""

import argparse
import ctypes
from collections.abc import Callable

import torch

from degrade import nets
from degrade.bench.cases import CLASSES, noise
from degrade.data.batches import EVALUATION_BATCH, Batches, Resident, scale_of
from degrade.spec import EngineSpec, NetSpec, RecipeSpec, RunSpec
from degrade.train.backends.graph import Graph
from degrade.train.precision import settle

WARMUP_STEPS = 3
Act = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", default="20,32,44,56,110")
    parser.add_argument("--nets", default="plain,residual")
    parser.add_argument("--precisions", default="fp32,tf32,bf16")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(2, "nodes: needs a CUDA device, and none is visible\n")
    precisions = given.precisions.split(",")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    print(f"| net | {' | '.join(precisions)} | evaluation, {precisions[0]} |")
    print("|---|" + "---|" * (len(precisions) + 1))
    for kind in given.nets.split(","):
        for depth in map(int, given.depths.split(",")):
            found = [count(kind, depth, precision) for precision in precisions]
            cells = [f"{step:,}" for step, _ in found] + [f"{found[0][1]:,}"]
            print(f"| {kind}-{depth} | {' | '.join(cells)} |", flush=True)


def count(kind: str, depth: int, precision: str) -> tuple[int, int]:
    """Counts the nodes of a step, and of an evaluation."""
    device = torch.device("cuda", torch.cuda.current_device())
    settle(precision, device)
    torch.backends.cudnn.deterministic = True
    spec = RunSpec(net=NetSpec(net=kind, depth=depth), recipe=RecipeSpec(), engine=EngineSpec(precision=precision))
    images = noise(2 * EVALUATION_BATCH, 3, 32)
    resident = Resident(images, scale_of(images, "pixel"), device)
    batches = Batches(resident, batch=spec.recipe.batch, seed=0, augment=spec.recipe.augment)
    capture = Counting(device)
    graph = Graph(nets.build(spec.net, channels=3, classes=CLASSES), spec, batches, capture)
    graph.evaluate(resident, 0, EVALUATION_BATCH)
    step, evaluation = capture.nodes
    return step, evaluation


class Counting:
    """Captures acts on one CUDA device, and counts the nodes of each."""

    def __init__(self, device: torch.device) -> None:
        self.stream, self.nodes = torch.cuda.Stream(device), list[int]()

    def __call__(self, act: Act) -> Act:
        with torch.cuda.stream(self.stream):
            for _ in range(WARMUP_STEPS):
                act()
        graph = torch.cuda.CUDAGraph(keep_graph=True)
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            act()
        self.nodes.append(count_nodes(graph))
        return graph.replay


def count_nodes(graph: torch.cuda.CUDAGraph) -> int:
    """Asks the runtime library that torch has loaded."""
    found = ctypes.c_size_t(0)
    raw = ctypes.c_void_p(graph.raw_cuda_graph())
    code = ctypes.CDLL(None).cudaGraphGetNodes(raw, None, ctypes.byref(found))
    if code:
        raise RuntimeError(f"cudaGraphGetNodes: error {code}")
    return found.value


if __name__ == "__main__":
    main()
