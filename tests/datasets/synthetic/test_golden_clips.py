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
        "frames": "7b2ec6eed7752d686c1f8204ab0a444eb972180e8cd6202ef74c4cafaf55ccbd",
        "waveform": "354f15c8808fdf70a1f6c41d473735020049ff72e90e88d52dad26834a0dc495",
        "events_sec": hashlib.sha256(b"").hexdigest(),
    },
    "dog": {
        "frames": "7f27bdaacce966eed3a70ef394677b0a41c0d8bfcff0e0ce890c7b94de996d32",
        "waveform": "ab1eda343419ec3152295a2e97a930aa1748291708e8bb2cd22bbfb006b84166",
        "events_sec": "96caa18f440e6ebf05a6b2241b7625dc39ac571f6efa19aaed4f102a8cbae9d7",
    },
    "drum": {
        "frames": "a7921a42dbb8d0f18e591f7c9891fa6296a94c1ecf5a62e10496cbdac31923a4",
        "waveform": "171db97291cf40908e98d49d3a9a61011ea9aa4a65849b0cff1a169280d4fbea",
        "events_sec": "bc9d92056202f3cd135371ea5d6679a3be04b8886b75243e13af32a863ca41da",
    },
    "fireworks": {
        "frames": "8592239944ff83ffff5a925b8cd96f3b6c58505ad34f77b53cc8ef8505ec86e6",
        "waveform": "ba3670e224607b39dbd003c035e6d0c0d2d079d41eaae509659f3f9fbdab0cb3",
        "events_sec": "70ea0d3dc76c691fc8c0fb070cc0a24eafc3946fa6f1cb4277101e14ed5a117a",
    },
    "helicopter": {
        "frames": "1641e2a3465fd0041b5f314267b766c929328784c4991b0e4b7f28da91ba951b",
        "waveform": "91ec9d5d0bf92dd9636be3e6a3f8401dd00e913a1be5f772413016c49b55a529",
        "events_sec": hashlib.sha256(b"").hexdigest(),
    },
    "printer": {
        "frames": "fed290d90e971e8fbf510a396021412b402c416cd63b2921fe5795f2d8c10cc1",
        "waveform": "1d7b14408d21bc72b66306cf59dc37c0edd0f4ab7786005f08632c0addf6cc1a",
        "events_sec": "1de93059683ebe42dbe38aa4f67df5f527f757ff8dfa08cbb96c516a5d24504b",
    },
    "rail_transport": {
        "frames": "ba596bbfe87e90abc193f6eeb04a15de6eca438af6c37fa22b9307058d4c9792",
        "waveform": "60b9dd2963b00c3f275001e018d9572c08a3735796105e40724d78180c727379",
        "events_sec": "b6409fd6be7d806397e66bcd0c7acdffa90932d89c2454ff5c90b3d3b3da210b",
    },
    "snoring": {
        "frames": "5771173148b059f58efa122810f76c835efc7a9877fb790c4c83f6dc2d784fd7",
        "waveform": "d2996c55e2c4305c02fd32e44ce5691e62073228f3b435827d042b58fd111c24",
        "events_sec": "911870d99c6b89c4475ecbaccee54728ab5f2c86b6698d3d47509adddbd21b00",
    },
    "water_flowing": {
        "frames": "a32bcb6731816750f098154c63a0feb228f4d9b330230a7dda84f8148e93dfab",
        "waveform": "39c3e6dd9436193c956982e7a2f79eeb435887ab01aa8db69a8960b8f4f73a40",
        "events_sec": hashlib.sha256(b"").hexdigest(),
    },
}
"""SHA-256 of the bytes of clip 3 of `train`, seed 0."""

CHAINSAW_IN_WOOD = {
    "frames": "cc0a99971ae21997434544700be38ed18035a41028c2db031620174c2d77225e",
    "waveform": "8e81802a6dfc355fa9455c5ddd54c25c566f4d9307a56dc9bc4f593541c14e0d",
    "events_sec": "ef24d1976336f33b87012121076c409f5510f548f4267134a547a949d86c9ade",
}
"""Likewise of clip 1, which has events: in clip 3 the bar does not come down."""

PROBE_GOLDEN = {
    "appearance": "c083b1bd493ce65c8649b5307480d4902fcf8fdbcc70d4a50eda09ece3e6721b",
    "motion": "1fca61d9ebe527fc4317f2bd96dfc538b8ae87aaedd6dcd85566335fbc368be4",
    "foresight": "d9afb76e933bf29a61fc8b067a1d687e950bc0c68bc622e7e3a6ac1e68418865",
    "delay": "c8bb4fbda80a1f6f0738ff0e35aa8cd6a4b137854c0a13686ce1b93a29dce113",
    "silence": "fed597b8935f868be17069711dfdcdfe1de7e19044d5d676e65ae1bc03d9ffb7",
    "counterfactual": "1b445c3479094f90517c9ffa8eb691186700f30f9f84a6907a34cdd58c402420",
    "distractor": "a7d5080cecceeb292fe0d9a8d23c060b4c108c40c9ddeac7164216e4c4b50133",
}
"""Likewise of all three fields, one after the other, of clips of 16 pictures of each probe."""

EXTRAPOLATION_GOLDEN = {
    "baby_crying": "ef957507a879b05f7734b91630e7108a930da58c7a37465da64be8de272366a5",
    "chainsaw": "77a7b3ab10d19ed87ae380df3a9fe54b7304a0bec0dd6e06871a378b156135d6",
    "dog": "494890a4a9da98d63e7c65ffcd4b4ab155af5150548985dc5b7816a48530d3f4",
    "drum": "31258ccbf49802748fba34a9da86b2337f22c48af1f749cdc59f6966dd310924",
    "fireworks": "d362a541fc5bb42341f4fccf2bd212641d5c3861a2c16ed0be2ffe1b765de350",
    "helicopter": "302a6f52376513bd7e9ae4265a7b46ff2197f3160dc6d9a32266a9acff07918d",
    "printer": "23fcc740ce3021973b3b49a968a25919be6287fa1d9c21b5bbd58697233b3e47",
    "rail_transport": "786d9947a1fb17fb0a7a54afdd5f8a6c88d38190b94b431cc50cdfe564c24db6",
    "snoring": "e2f25d7aefafdb184afad6fa494a885a92dbb917c5df1bf32e66af4aa170a38f",
    "water_flowing": "747bc01e4fa55a5b5ae1a39453fa87432a4e66b1a5640a00c194f946cb93eda1",
}
"""Likewise of clip 0 of `extrapolation`, of 8 pictures."""

LONG_GOLDEN = {
    "drum": "cc8e6a9f6f782b973d7ce43bdd0c1526b36e7a387b6976467e9fbaa31c20b4fd",
    "fireworks": "85987f1f37f79b24bbb9f2ca5fd4f43aa11b4899dab644db758cf456dea42908",
}
"""Likewise of clip 0 of `train`, of 10 s."""

FLOW_GOLDEN = {
    "baby_crying": "5c4c7122fef8a1a15ee0d9d499d7e31d48abe0b83ace53b51726606b648a4d29",
    "chainsaw": "158c8a698f4ef294ca7275192df9fe7a5d8934d7cb9176adda885c27071d708b",
    "dog": "846eabe0d619b94e9e2862b4ea188bbfaa46f2f8204db4a2ec0a9940c0453e71",
    "drum": "c8cc356141772f35f4a428622cea3462bf748ae36854bd076ecc60455ffff572",
    "fireworks": "f6aa406d535caf062914fcebf4ebc9998294b76a18f4970ac4f510e372164a1f",
    "helicopter": "8f93aaf1d9d1b1780ad74d5d98a7d875167f7da5f4e51f90d7773fc841895851",
    "printer": "9da7e7cfacbc24479f923115dd59fc83804bf6e931c9aafd906f8298a8f83088",
    "rail_transport": "b40b4465ae3cd2596bd8d9ad98148279847590cdc4d7978a4c04df30087d2860",
    "snoring": "a01b38e22d9bfe02702f28b52a63610dd688a81d2e7563b6a04b5dc058d37daa",
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
