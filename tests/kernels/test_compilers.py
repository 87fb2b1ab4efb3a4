"""The fused kernels compile with the compilers of the accelerators, where these are installed.

They need no device: `pip install libtpu` installs that of TPU, `jax[cuda12]` that of GPU. A kernel
that lowers may still use what Mosaic cannot compile, or more memory than a core has.
"""

import importlib.util

import jax
import pytest
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from tests.fused_blocks import block_of, gpu_engine, tpu_engine
from v2s_jax.config import DEMO, PAPER

pytestmark = pytest.mark.slow

H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84978434048
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
"""What XLA asks of a GPU that it compiles for."""


def compile_for(device, config, engine):
    run, shapes = block_of(config, engine, "nll")
    on_device = SingleDeviceSharding(device)
    placed = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=on_device), shapes
    )
    return run.lower(*placed).compile()


@pytest.fixture(scope="module")
def libtpu():
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("libtpu is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TPU_SKIP_MDS_QUERY", "1")  # there is no metadata server
        yield


@pytest.fixture(scope="module")
def h100():
    if importlib.util.find_spec("jax_cuda12_plugin") is None:
        pytest.skip("jax[cuda12] is not installed")
    import jax_plugins.xla_cuda12 as plugin

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")  # there may be no driver
        plugin.initialize()
        topology = topologies.get_topology_desc(
            platform="cuda", target_config=H100, topology="1x1x1"
        )
        yield topology.devices[0]


@pytest.mark.parametrize(
    "tpu, config, weights",
    [
        ("v5e", DEMO, "float32"),
        ("v5e", DEMO, "int8"),
        ("v5p", PAPER, "bfloat16"),
        ("v6e", PAPER, "int8"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_tpu_kernel_compiles(libtpu, tpu, config, weights):
    layout = {"v5p": "2x2x1"}.get(tpu, "2x2")
    topology = topologies.get_topology_desc(f"{tpu}:{layout}", platform="tpu")
    compile_for(topology.devices[0], config, tpu_engine(config, weights, tpu))


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
@pytest.mark.parametrize("config", [DEMO, PAPER], ids=lambda config: config.name)
def test_gpu_kernel_compiles(h100, config, weights):
    compiled = compile_for(h100, config, gpu_engine(config, weights))
    assert "triton" in compiled.as_text()
