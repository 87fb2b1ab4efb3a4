"""What training needs of a data set, wherever its clips come from."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from v2s_jax.config import Clock, ExtractorConfig
from v2s_jax.datasets.schema import ClipRecord, Metadata


@runtime_checkable
class ClipSource(Protocol):
    """One split of a data set: shards (`ClipDataset`), or clips that are made when they are asked for.

    Clip n is the same whenever it is read, in every process.
    """

    @property
    def location(self) -> str:
        """What messages call it: its folder, or its name."""

    @property
    def metadata(self) -> Metadata:
        """What holds for every clip."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, sorted."""

    @property
    def clock(self) -> Clock:
        """The clock that the clips were made with."""

    @property
    def extraction(self) -> ExtractorConfig:
        """How the features were made."""

    @property
    def fingerprint(self) -> str:
        """What tells this data from other data, in one line."""

    def of_category(self, category: str) -> "ClipSource":
        """Return the clips of one category alone.

        Raises InputError for one that is unknown, or that the split has no clips of.
        """

    def __len__(self) -> int:
        """Return the number of clips."""

    def read(self, clips: Sequence[int]) -> Iterator[ClipRecord]:
        """Yield clips by number, in this order; several may be made at once.

        Raises InputError for one that cannot be read. Threads may read at the same time.
        """
