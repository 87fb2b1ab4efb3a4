"""A tagger of three classes that is easy to predict: writes tests/fixtures/tagger.tflite.

    python -m tests.evaluation.tagger_fixture          (with TensorFlow: extra `data`)

Of a window of 8 samples, "Bark" scores the first sample where it is above 0, "Chainsaw" where it is
below, and "Speech" always 0.
"""

from pathlib import Path

import numpy as np

FIXTURE = Path(__file__).parents[1] / "fixtures" / "tagger.tflite"
CLASSES = ("Bark", "Chainsaw", "Speech")
WINDOW = 8


def write_class_map(path: Path, classes: tuple[str, ...] = CLASSES) -> None:
    """Write the names of the classes as YAMNet's are."""
    rows = [f'{number},/m/{number},"{name}"' for number, name in enumerate(classes)]
    path.write_text("\n".join(["index,mid,display_name", *rows]), encoding="utf-8")


def main() -> None:
    """Convert a product with a matrix."""
    import tensorflow as tf

    weights = np.zeros((WINDOW, len(CLASSES)), np.float32)
    weights[0, :2] = 1, -1

    @tf.function(input_signature=[tf.TensorSpec([1, WINDOW], tf.float32)])
    def score(window):
        return tf.nn.relu(tf.matmul(window, weights))

    functions = [score.get_concrete_function()]
    converter = tf.lite.TFLiteConverter.from_concrete_functions(functions, None)
    FIXTURE.write_bytes(converter.convert())


if __name__ == "__main__":
    main()
