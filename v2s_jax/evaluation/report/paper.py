"""Results that the paper reports on VEGAS, printed next to ours.

Zhou et al. 2018, tables 1 and 2. The paper does not say whether its cross-entropy is in nats or
bits. Its chance level for instances, 0.78 %, is one of 128, a category's test clips. All 1,280 were
ranked, of which one is 0.078 %.
"""

CROSS_ENTROPY = {
    "train": {"Frame": 2.6143, "Seq": 2.5991, "Flow": 2.6037},
    "test": {"Frame": 2.7061, "Seq": 2.6866, "Flow": 2.6839},
}
"""Table 1: average cross-entropy; unit not stated."""
RETRIEVAL_PERCENT = {
    "category_top_1": {"Frame": 40.55, "Seq": 44.14, "Flow": 45.47},
    "category_top_5": {"Frame": 53.59, "Seq": 58.28, "Flow": 60.31},
    "instance_top_1": {"Frame": 4.77, "Seq": 5.70, "Flow": 5.94},
    "instance_top_5": {"Frame": 7.81, "Seq": 9.14, "Flow": 10.08},
}
"""Table 2: share of the 1,280 queries whose top k hold the right one."""
RETRIEVAL_CLIPS = 1_280
"""Clips that were ranked for each query: 128 of each of ten categories."""
RESULTS = {
    "data": "VEGAS (Zhou et al. 2018, tables 1 and 2)",
    "cross_entropy_unit": "not stated",
    "cross_entropy": CROSS_ENTROPY,
    "retrieval_percent": RETRIEVAL_PERCENT,
    "retrieval_clips": RETRIEVAL_CLIPS,
}
"""For report.json."""
