"""How fast networks answer: ours beside PyTorch, its compiler, ONNX Runtime and OpenVINO.

    python -m venv peers && peers/bin/pip install onnxruntime openvino onnx onnxscript
    PYTHONPATH=src peers/bin/python benchmarks/inference.py [--nets resnet18@224,...] [--rounds 7]

(with the project's own dependencies in the same environment). All answer the same pictures with the same
weights and as many threads, float32, each in the memory order it likes best. Each has a process to itself, as
a user's program would be: threads of one library that wait awake for its next call would slow the next one's.
They take turns and change their order, so that a machine that slows down slows all. Latency is the median
time of one picture, throughput pictures a second in batches of 32. OpenVINO gets its hint for latency or for
throughput, and there as many batches at once as it asks for. `difference` is the largest from plain PyTorch,
as a share of the largest output. Where other programs use the machine, threads that wait for one another say
little: `--threads 1 --processor-time` counts the time that the process itself ran.
"""

import argparse
import importlib.metadata
import importlib.util
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor, nn

from striate import models
from striate.models.folding import for_inference

Answer = Callable[[], Tensor]
PAUSE = 0.02
"""Seconds between turns: the last one's threads may still spin for its next call."""
WARM = 3
"""Calls before the one that is timed: what a turn finds in the caches is the other processes' numbers."""


def ours(network: nn.Module, x: Tensor, folder: Path, threads: int) -> Answer:
    return in_torch(for_inference(network.to(memory_format=torch.channels_last)), x)


def eager(network: nn.Module, x: Tensor, folder: Path, threads: int) -> Answer:
    return in_torch(network.to(memory_format=torch.channels_last), x)


def compiled(network: nn.Module, x: Tensor, folder: Path, threads: int) -> Answer:
    import torch._inductor.config as settings

    settings.freezing = True
    torch._dynamo.reset()
    answer = in_torch(torch.compile(network.to(memory_format=torch.channels_last)), x, torch.no_grad)
    answer()
    return answer


def in_torch(network, x: Tensor, mode=torch.inference_mode) -> Answer:
    x = x.contiguous(memory_format=torch.channels_last)

    def answer() -> Tensor:
        with mode():
            return network(x)

    return answer


def onnx_runtime(network: nn.Module, x: Tensor, folder: Path, threads: int) -> Answer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(onnx_file(network, x, folder)), options, providers=["CPUExecutionProvider"]
    )
    return lambda: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


def open_vino(network: nn.Module, x: Tensor, folder: Path, threads: int) -> Answer:
    import openvino

    hint = "LATENCY" if len(x) == 1 else "THROUGHPUT"
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": hint}
    model = openvino.Core().compile_model(str(onnx_file(network, x, folder)), "CPU", settings)
    if len(x) == 1:
        return lambda: torch.from_numpy(model([x.numpy()])[0])
    queue = openvino.AsyncInferQueue(model)

    def answer() -> Tensor:
        for _ in range(len(queue)):
            queue.start_async([x.numpy()])
        queue.wait_all()
        return torch.cat([torch.from_numpy(request.get_output_tensor().data) for request in queue])

    return answer


def onnx_file(network: nn.Module, x: Tensor, folder: Path) -> Path:
    """The network as ONNX for inputs like x; written once."""
    file = folder / f"{len(x)}.onnx"
    if not file.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(network, (x,), str(file), input_names=["x"], dynamo=False)
    return file


PEERS = {
    "ours": (ours, "striate"),
    "eager": (eager, "torch"),
    "torch.compile": (compiled, "torch"),
    "ONNX Runtime": (onnx_runtime, "onnxruntime"),
    "OpenVINO": (open_vino, "openvino"),
}
"""Name -> (how it is made ready, the package it needs)."""


def build(net: str) -> tuple[nn.Module, int]:
    """`resnet18@32` -> the network with norms that are not at their start, and 32."""
    name, side = net.split("@")
    torch.manual_seed(0)
    network = models.network(name, classes=1000, channels=3, size=int(side)).eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.8, 1.2)
    return network, int(side)


def pictures(batch: int, side: int) -> Tensor:
    """The same in every process."""
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(1))


def answering(name: str, net: str, batch: int, threads: int, processor_time: bool, pipe: Connection) -> None:
    """A process of its own: sends its first output, then seconds a picture whenever it is asked."""
    torch.set_num_threads(threads)
    clock = time.process_time if processor_time else time.perf_counter
    network, side = build(net)
    with tempfile.TemporaryDirectory() as folder:
        answer = PEERS[name][0](network, pictures(batch, side), Path(folder), threads)
        pipe.send(answer()[:batch].numpy())
        while pipe.recv():
            for _ in range(WARM):
                answer()
            began = clock()
            answered = len(answer())
            pipe.send((clock() - began) / answered)


def measure(net: str, batch: int, rounds: int, threads: int, only: list[str], processor_time: bool) -> None:
    """Print the rows of one network and batch."""
    network, side = build(net)
    with torch.inference_mode():
        truth = network(pictures(batch, side))
    pipes, times, wrong = {}, {name: [] for name in only}, {}
    spawn = get_context("spawn")
    for name in only:
        pipes[name], theirs = spawn.Pipe()
        arguments = (name, net, batch, threads, processor_time, theirs)
        spawn.Process(target=answering, args=arguments, daemon=True).start()
        output = torch.from_numpy(pipes[name].recv())
        wrong[name] = ((output - truth).abs().max() / truth.abs().max()).item()
    for number in range(rounds):
        for name in only if number % 2 else reversed(only):
            time.sleep(PAUSE)
            pipes[name].send(True)
            times[name].append(pipes[name].recv())
    for name in only:
        pipes[name].send(False)
    middle = {name: statistics.median(times[name]) for name in only}
    best = min(only, key=lambda name: middle[name])
    for name in only:
        low, high = min(times[name]), max(times[name])
        if batch == 1:
            figures = f"{1e3 * middle[name]:.1f} ms | {1e3 * low:.1f} to {1e3 * high:.1f}"
        else:
            figures = f"{1 / middle[name]:.1f} /s | {1 / high:.1f} to {1 / low:.1f}"
        ratio = f"{middle[name] / middle[best]:.2f}"
        print(f"| {net} | {batch} | {name} | {figures} | {ratio} | {wrong[name]:.0e} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nets", default="resnet18@32,resnet18@224,resnet50@224,vgg16@224")
    parser.add_argument("--batches", default="1,32")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--processor-time", action="store_true", help="instead of the clock, with 1 thread")
    chosen = parser.parse_args()
    if chosen.processor_time and chosen.threads > 1:
        parser.error("--processor-time: threads that wait for each other count twice; give --threads 1")
    torch.set_num_threads(chosen.threads)
    only = [name for name in chosen.peers.split(",") if importlib.util.find_spec(PEERS[name][1])]
    for name in PEERS:
        package = PEERS[name][1]
        installed = importlib.util.find_spec(package) is not None
        if package != "striate":
            print(f"{name}: {importlib.metadata.version(package) if installed else 'not installed'}")
    print("\n| network | batch | | median | least to most | time ÷ the best | difference |")
    print("|---|---|---|---|---|---|---|")
    for net in chosen.nets.split(","):
        for batch in map(int, chosen.batches.split(",")):
            rounds = chosen.rounds * (5 if batch == 1 else 1)
            measure(net, batch, rounds, chosen.threads, only, chosen.processor_time)


if __name__ == "__main__":
    main()
