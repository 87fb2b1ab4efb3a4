"""Eight virtual CPU devices for every test; set before JAX starts."""

import os

# jax 0.10 sizes its CPU thread pool by the cores it finds; collectives over eight virtual devices
# deadlock in a pool of two.
os.environ.setdefault("NPROC", "16")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8"
    + " --xla_cpu_collective_call_terminate_timeout_seconds=60"
)
