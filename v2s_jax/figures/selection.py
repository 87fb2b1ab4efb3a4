"""Which video frames a figure shows."""


def key_frame_indices(video_frames: int, max_key_frames: int) -> list[int]:
    """Return the middle video frames of `max_key_frames` equal parts; all if there are fewer.

    Example: 2 of 8 are 2 and 6.
    """
    count = min(max_key_frames, video_frames)
    return [(2 * part + 1) * video_frames // (2 * count) for part in range(count)]
