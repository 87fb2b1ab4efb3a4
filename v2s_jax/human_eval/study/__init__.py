"""The listening study of the paper's Table 3: pages that people answer, and scores."""
