"""`python -m benchmarks tpu`: what XLA's compiler says of programs for TPUs that are not here."""

import importlib.util

import pytest

from benchmarks.common import measure_isolated
from benchmarks.tpu import NO_TPU_HERE, PROGRAMS, TOPOLOGIES, Case, TpuArgs, compile_case
from benchmarks.tpu import estimated_cycles as cycles
from v2s_jax.config import TINY
from v2s_jax.errors import InputError

PROGRAM = """\
HloModule jit_step

%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %inner = (s32[], f32[8]) while(%p), condition=%twice, body=%once
  %sum = f32[8]{0} fusion(%p), backend_config={"window_config":{"estimated_cycles":"10"}}
}

%until (p: (s32[], f32[8])) -> pred[] {
  %bound = s32[]{:T(128)} constant(64), metadata={op_name="while"}
  ROOT %less = pred[]{:T(512)} compare(%p, %bound), direction=LT
}

%once (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %copy = f32[8]{0} copy(%p), backend_config={"window_config":{"estimated_cycles":"3"}}
}

%twice (p: (s32[], f32[8])) -> pred[] {
  %bound = s32[] constant(2)
}

%small (p: f32[8]) -> f32[8] {
  %copy = f32[8]{0} copy(%p), backend_config={"window_config":{"estimated_cycles":"5"}}
}

%large (p: f32[8]) -> f32[8] {
  %copy = f32[8]{0} copy(%p), backend_config={"window_config":{"estimated_cycles":"7"}}
}

ENTRY %main (p: f32[8]) -> f32[8] {
  %loop = (s32[], f32[8]) while(%p), condition=%until, body=%body
  %choice = f32[8] conditional(%p, %p, %p), branch_computations={%small, %large}
  %copy = f32[8]{0} copy(%p), backend_config={"window_config":{"estimated_cycles":"1000"}}
}
"""


def test_loops_count_as_often_as_they_run():
    assert cycles(PROGRAM) == 1_000 + 64 * (10 + 2 * 3) + 7


def test_loop_of_unknown_length_is_refused():
    with pytest.raises(ValueError, match="loop until: unknown length"):
        cycles(PROGRAM.replace("constant(64)", "parameter(1)"))


def test_bad_arguments(monkeypatch):
    with pytest.raises(InputError, match="--tpu v5: unknown"):
        TpuArgs(tpu=("v5",)).run()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'v2s_jax\[tpu\]'"):
        TpuArgs().run()


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("tpu", TOPOLOGIES)
def test_programs_compile(monkeypatch, tpu, program):
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("libtpu is not installed")
    for name, value in NO_TPU_HERE.items():
        monkeypatch.setenv(name, value)
    row = measure_isolated(compile_case, Case(TINY, tpu, program), "cpu")
    assert row["temporary_mb"] > 0 and row["arguments_mb"] > 0
    if program == "update":
        assert row["chips"] == 4 and row["update_ms"] > 0 and 0 < row["share_of_peak"] < 1
