"""Measure what rounded weights of the pretrained models lose: `python -m tools.measure_weights`.

Rewrites v2s_jax/pretrained/weight_losses.json, in bits per sample by digest of the parameters. Run
it after a model was replaced; without its figures the first `v2s sample` of each user measures.
Needs the cpu engine: `v2s build`.
"""

from v2s_jax.checkpoints import load_params, params_digest
from v2s_jax.cli.device import use_device
from v2s_jax.cli.run import run_cli
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.pretrained import PRETRAINED, WEIGHT_LOSSES
from v2s_jax.sampling.engine_choice import MAX_LOSS_BITS
from v2s_jax.sampling.weight_loss import measure_loss, write_losses

FORMATS: tuple[WeightFormat, ...] = ("bfloat16", "int8")


def main() -> None:
    """Measure, print and write the losses of all pretrained models."""
    use_device("cpu")
    losses = {}
    for name, path in PRETRAINED.items():
        config, params = load_params(path)
        of_model = {str(form): measure_loss(config, params, form, "cpu") for form in FORMATS}
        losses[params_digest(params)] = of_model
        figures = ", ".join(f"{form} {loss:.7f}" for form, loss in of_model.items())
        print(f"{name}: {figures} bits per sample, at most {MAX_LOSS_BITS:g} for auto", flush=True)
    write_losses(WEIGHT_LOSSES, losses)
    print(WEIGHT_LOSSES)


if __name__ == "__main__":
    run_cli(main)
