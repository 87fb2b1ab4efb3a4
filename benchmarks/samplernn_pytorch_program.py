"""Time a checkout of samplernn-pytorch, training or generating.

    python samplernn_pytorch_program.py DIR < WORK.json > FIGURES.json

Run by a Python that has PyTorch and need not have JAX, so it imports nothing of this project. DIR
is a checkout of https://github.com/deepsound-project/samplernn-pytorch; samplernn_pytorch.py makes
the WORK.
"""

import contextlib
import json
import sys
import time
import warnings
from typing import Any


def main() -> None:
    """Read the work, do it, and print the seconds of each run."""
    warnings.simplefilter("ignore")  # for code of 2017 under a recent PyTorch
    work = json.load(sys.stdin)
    sys.path.insert(0, sys.argv[1])
    with contextlib.redirect_stdout(sys.stderr):
        time_task = _time_sampling if work["task"] == "sampling" else _time_training
        figures = time_task(work)
    print(json.dumps(figures))


def _time_training(work: dict[str, Any]) -> dict[str, Any]:
    import model as peer  # of DIR
    import nn as peer_nn
    import optim as peer_optim
    import torch

    device = torch.device(work["device"])
    if work["precision"] in ("high", "highest"):
        torch.set_float32_matmul_precision(work["precision"])
    torch.manual_seed(0)
    rnn = peer.SampleRNN(**work["model"])
    predictor = peer.Predictor(rnn).to(device)
    for parameter in predictor.parameters():
        # Its clipping needs a gradient for every parameter; h0 has none while states are carried.
        parameter.grad = torch.zeros_like(parameter)
    adam = torch.optim.Adam(predictor.parameters(), lr=work["learning_rate"])
    optimizer = peer_optim.gradient_clipping(adam)
    shape = (work["batch"], rnn.lookback + work["samples"])
    levels = torch.randint(0, work["model"]["q_levels"], shape, device=device)
    inputs, targets = levels[:, :-1], levels[:, rnn.lookback :].contiguous()

    def update(reset: bool) -> float:
        def closure() -> Any:
            rnn.zero_grad(set_to_none=False)
            with torch.autocast(
                device.type, torch.bfloat16, enabled=work["precision"] == "bfloat16"
            ):
                logits = predictor(inputs, reset)
            loss = peer_nn.sequence_nll_loss_bits(logits.float(), targets)
            loss.backward()
            return loss

        start = time.perf_counter()
        float(optimizer.step(closure).detach())  # waits for the device
        return time.perf_counter() - start

    update(reset=True)  # warms up
    return _figures(rnn, [update(reset=False) for _ in range(work["repeats"])])


def _time_sampling(work: dict[str, Any]) -> dict[str, Any]:
    import model as peer  # of DIR
    import torch

    rnn = peer.SampleRNN(**work["model"]).to(torch.device(work["device"]))
    sampler = peer.Generator(rnn, cuda=work["device"] == "cuda")

    def run(samples: int) -> float:
        start = time.perf_counter()
        with torch.no_grad():  # its `volatile` no longer has an effect
            sampler(work["batch"], samples)
        return time.perf_counter() - start

    run(rnn.lookback)  # warms up
    return _figures(rnn, [run(work["samples"]) for _ in range(work["repeats"])])


def _figures(rnn: Any, run_secs: list[float]) -> dict[str, Any]:
    import torch

    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "parameters": sum(parameter.numel() for parameter in rnn.parameters()),
        "run_secs": run_secs,
    }


if __name__ == "__main__":
    main()
