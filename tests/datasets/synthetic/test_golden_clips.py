"""The bytes of synthetic clips are pinned: they may change only with the set itself.

Each category once, and each way of making a clip otherwise: probes, sizes beyond the usual, ten
seconds, exact flow.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.generator import CATEGORIES, SyntheticClip, make_clip
from v2s_jax.datasets.synthetic.probes import FILE_PROBES, PROBES

CLOCK = Clock()
VIDEO_FRAMES = 32
LONG = 156
"""Pictures of 10 s, as the longest clips of `full` have."""
FIELDS = ("frames", "waveform", "events_sec")
WITHOUT_EVENTS = ("helicopter", "water_flowing")
FLOW_STEPS_PER_PX = 1_000
"""Flow comes from products of matrices, whose last bits are those of the machine's BLAS."""

GOLDEN = {
    "baby_crying": {
        "frames": "add3e649115659ebbbca039f5608e916903d870bffd2e0ba1d2e484d57b0ab22",
        "waveform": "b90ac652dabdd1f136398045fefdc773021fe2195e71e09b4be69bc80ae3d9a7",
        "events_sec": "a3cc4a11c62aeecd81323ff0a9051f7e21d9c75780482fb70832134d8ca1153e",
    },
    "chainsaw": {
        "frames": "737d038a63de9e05f9f9630858efcd59f8e3c8db00695cfa4b3142353ed71e54",
        "waveform": "9f3669a76f136bc4ee1533688cfc9426d7b9c15f43880faaba68aaf754692476",
        "events_sec": hashlib.sha256(b"").hexdigest(),
    },
    "dog": {
        "frames": "7f27bdaacce966eed3a70ef394677b0a41c0d8bfcff0e0ce890c7b94de996d32",
        "waveform": "6b761be62b111af17e2b5e4873c9ea85af2130778c0c53b763af9171de744edf",
        "events_sec": "96caa18f440e6ebf05a6b2241b7625dc39ac571f6efa19aaed4f102a8cbae9d7",
    },
    "drum": {
        "frames": "a7921a42dbb8d0f18e591f7c9891fa6296a94c1ecf5a62e10496cbdac31923a4",
        "waveform": "171db97291cf40908e98d49d3a9a61011ea9aa4a65849b0cff1a169280d4fbea",
        "events_sec": "bc9d92056202f3cd135371ea5d6679a3be04b8886b75243e13af32a863ca41da",
    },
    "fireworks": {
        "frames": "8592239944ff83ffff5a925b8cd96f3b6c58505ad34f77b53cc8ef8505ec86e6",
        "waveform": "463879dc9e1b15f4c26477347a400b4462cb51266a0db516896e8f57b8def81f",
        "events_sec": "70ea0d3dc76c691fc8c0fb070cc0a24eafc3946fa6f1cb4277101e14ed5a117a",
    },
    "helicopter": {
        "frames": "1641e2a3465fd0041b5f314267b766c929328784c4991b0e4b7f28da91ba951b",
        "waveform": "91ec9d5d0bf92dd9636be3e6a3f8401dd00e913a1be5f772413016c49b55a529",
        "events_sec": hashlib.sha256(b"").hexdigest(),
    },
    "printer": {
        "frames": "2dbb0ea935fa09128f725dbee7db7a33e650a49a7218639e4e9762b50cdbdf5d",
        "waveform": "be6507a5490515168a3eff99701a5fd888f1c09bcc8b943226ca54c53226153f",
        "events_sec": "bbbe9e523f58fbdac487cbe2b0fbc08883fbd7c1c9dd9169ca3a5113ff8a1de5",
    },
    "rail_transport": {
        "frames": "eb6b4a2a1e6912c46f8366260aa010d5113aa95d3022e6fc6e94fbf56eb5d9ba",
        "waveform": "bb52692ed71d5be8a7aa3d25cd832c1dd3602ddc9102c94bdc426fbd85ec259f",
        "events_sec": "8474dbe6d316506bb5362fe87cd4ae09ef9350755587f2ec21ddc53715c7b8c1",
    },
    "snoring": {
        "frames": "0365f3a888f6ad6c409dc986cb633025395fbca18004645a0fe30dbc4d14f6a3",
        "waveform": "561dde1b4e6a839b7a5bb06d016b94bbba2df120ae48ba7faece33f8cdeda6a5",
        "events_sec": "d080e23f53f3b0ae165ae4fbfd1ebd288eb130ebabfd2bea3ac12f697a65de0a",
    },
    "water_flowing": {
        "frames": "a32bcb6731816750f098154c63a0feb228f4d9b330230a7dda84f8148e93dfab",
        "waveform": "39c3e6dd9436193c956982e7a2f79eeb435887ab01aa8db69a8960b8f4f73a40",
        "events_sec": hashlib.sha256(b"").hexdigest(),
    },
}
"""SHA-256 of the bytes of clip 3 of `train`, seed 0."""

CHAINSAW_IN_WOOD = {
    "frames": "783de8a27036ce318739da742fd38a0d1778f64cdd4cd43741567bfa63cb0f9b",
    "waveform": "8da11abb20c1452e90ba005be6f242c05878e566cafa61292e8443acc8952eda",
    "events_sec": "ef24d1976336f33b87012121076c409f5510f548f4267134a547a949d86c9ade",
}
"""Likewise of clip 1, which has events: in clip 3 the bar does not come down."""

PROBE_GOLDEN = {
    "appearance": "be4483d690e6f09935b34c313e3c77bb05f516de05a72417fcbc84586983c2aa",
    "motion": "47faa8d080c2fa73c7038698c01a269bc8c7a48614bf72925971895d37a9376d",
    "foresight": "d9afb76e933bf29a61fc8b067a1d687e950bc0c68bc622e7e3a6ac1e68418865",
    "delay": "ec4a74139b61669bf9243fe70f3db859ac28b6be37b9001feee266bd0bf21d15",
    "silence": "fed597b8935f868be17069711dfdcdfe1de7e19044d5d676e65ae1bc03d9ffb7",
    "counterfactual": "3e5a788a2a49c2e6c57824c0d19a517c081968c7799641b18c835d64a629af73",
    "distractor": "ddb5118227ae539cca6dd230122f683ce257a21d01e308349b6b4f76fea01147",
}
"""Likewise of all three fields, one after the other, of clips of 16 pictures of each probe."""

EXTRAPOLATION_GOLDEN = {
    "baby_crying": "ef957507a879b05f7734b91630e7108a930da58c7a37465da64be8de272366a5",
    "chainsaw": "ba98dc6660fc2f4b68f1502add914f16ae4caffac95c542094b5c4da06652d31",
    "dog": "1ff9ab2c7a82e74d9e6aed43f4178ea0213c21422812e18318c10fd56050399f",
    "drum": "31258ccbf49802748fba34a9da86b2337f22c48af1f749cdc59f6966dd310924",
    "fireworks": "4bd8593d1a39804d4a442fff35dff890fbf84aef2ee016551460b2406239089c",
    "helicopter": "302a6f52376513bd7e9ae4265a7b46ff2197f3160dc6d9a32266a9acff07918d",
    "printer": "4f14a8b3f33b3b548496f5850ae1dc093934149e917284aea3819177fc2a6c74",
    "rail_transport": "079137bd59d0866c92107777c8b0477ef0a30102ebd5930a1398cfebf575c42a",
    "snoring": "cbad2c6738cecc849059bbc7e772e6779b6e282edde11c6158bf7882658a8cfe",
    "water_flowing": "747bc01e4fa55a5b5ae1a39453fa87432a4e66b1a5640a00c194f946cb93eda1",
}
"""Likewise of clip 0 of `extrapolation`, of 8 pictures."""

LONG_GOLDEN = {
    "drum": "cc8e6a9f6f782b973d7ce43bdd0c1526b36e7a387b6976467e9fbaa31c20b4fd",
    "fireworks": "8bc3f65602a376566b487b42acad1894bc1cbf21e3f527b2c73e1a5af908482b",
}
"""Likewise of clip 0 of `train`, of 10 s."""

FLOW_GOLDEN = {
    "baby_crying": "5c4c7122fef8a1a15ee0d9d499d7e31d48abe0b83ace53b51726606b648a4d29",
    "chainsaw": "3d6c70880897fd7d8816eabe5bee6ed738f4098a47d9a0e396e498abacc09aa0",
    "dog": "846eabe0d619b94e9e2862b4ea188bbfaa46f2f8204db4a2ec0a9940c0453e71",
    "drum": "c8cc356141772f35f4a428622cea3462bf748ae36854bd076ecc60455ffff572",
    "fireworks": "f6aa406d535caf062914fcebf4ebc9998294b76a18f4970ac4f510e372164a1f",
    "helicopter": "8f93aaf1d9d1b1780ad74d5d98a7d875167f7da5f4e51f90d7773fc841895851",
    "printer": "0cd71f2a9b2988b817db3365640f3bd08acc6a7242ccdf94269103667fb12a6e",
    "rail_transport": "5677e84efbff1c6a99cae4bbcf3188d9748c0fd3773eece2659d5965f8e9d13a",
    "snoring": "00ed927f94d3452cc3a78b36aa57b57d4a5f57d3afbfc5b1ed2dd3856de2fec0",
    "water_flowing": "4dd72dff28da0d8098c14e8cf30724c9bafce9ac5d8da89c7f6cb15d3512ee7b",
}
"""SHA-256 of the flow of clip 3 of `train`, of 8 pictures, in thousandths of a px."""


OTHER_LAST_BITS = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4",
    "OPENBLAS_CORETYPE": "Nehalem",
}
"""Settings under which an x86 machine computes as an older one would; others do not know them."""


def digests(clip: SyntheticClip) -> dict[str, str]:
    return {field: hashlib.sha256(getattr(clip, field).tobytes()).hexdigest() for field in FIELDS}


def digest(clip: SyntheticClip) -> str:
    whole = b"".join(getattr(clip, field).tobytes() for field in FIELDS)
    return hashlib.sha256(whole).hexdigest()


@pytest.mark.parametrize("category", CATEGORIES)
def test_bytes_are_golden(category: str) -> None:
    clip = make_clip(category, "train", 3, 0, CLOCK, VIDEO_FRAMES)
    assert digests(clip) == GOLDEN[category]


def test_events_are_pinned_of_every_category_that_has_them() -> None:
    clip = make_clip("chainsaw", "train", 1, 0, CLOCK, VIDEO_FRAMES)
    assert digests(clip) == CHAINSAW_IN_WOOD
    none = hashlib.sha256(b"").hexdigest()
    pinned = GOLDEN | {"chainsaw": CHAINSAW_IN_WOOD}
    assert [name for name in pinned if pinned[name]["events_sec"] == none] == [*WITHOUT_EVENTS]


@pytest.mark.parametrize("probe", PROBE_GOLDEN)
def test_bytes_of_probes_are_golden(probe: str) -> None:
    """Of another category each; all probes that are not of files alone."""
    assert {*PROBE_GOLDEN} == {*PROBES} - {"none", *FILE_PROBES}
    category = CATEGORIES[PROBES.index(probe)]
    assert digest(make_clip(category, "train", 3, 0, CLOCK, 16, probe)) == PROBE_GOLDEN[probe]


@pytest.mark.parametrize("category", CATEGORIES)
def test_bytes_of_the_extrapolation_split_are_golden(category: str) -> None:
    clip = make_clip(category, "extrapolation", 0, 0, CLOCK, 8)
    assert digest(clip) == EXTRAPOLATION_GOLDEN[category]


@pytest.mark.parametrize("category", LONG_GOLDEN)
def test_bytes_of_ten_seconds_are_golden(category: str) -> None:
    clip = make_clip(category, "train", 0, 0, CLOCK, LONG)
    assert digest(clip) == LONG_GOLDEN[category]


@pytest.mark.parametrize("category", CATEGORIES)
def test_exact_flow_is_golden(category: str) -> None:
    flow = make_clip(category, "train", 3, 0, CLOCK, 8, with_flow=True).flow
    steps = np.rint(flow.astype(np.float64) * FLOW_STEPS_PER_PX).astype(np.int32)
    assert hashlib.sha256(steps.tobytes()).hexdigest() == FLOW_GOLDEN[category]


@pytest.mark.slow
def test_bytes_are_golden_without_vector_extensions() -> None:
    """The same tests, all but this one, as an older processor would compute."""
    words = ["-m", "pytest", __file__, "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [sys.executable, *words],
        cwd=Path(__file__).parents[3],
        env=os.environ | OTHER_LAST_BITS,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout
