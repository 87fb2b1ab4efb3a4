"""Combine a video with new audio: `mux`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write
from v2s_jax.media.audio_tracks import AudioTrack, find_audio_track
from v2s_jax.media.copies import CopyDiffersError, check_copy, encode_again
from v2s_jax.media.encode import AAC_BITS_PER_SEC
from v2s_jax.media.metadata import metadata_of_copy
from v2s_jax.media.probe import Video
from v2s_jax.media.process import ffmpeg, input_args, url
from v2s_jax.media.wav import NO_TAGS, Tags

Original = Literal["drop", "keep", "mix"]
"""What to do with a video's original audio."""

_MIX_FORMAT = "aresample=48000,aformat=sample_fmts=fltp:channel_layouts=stereo"
# As loud in each channel as the one it is made of; ffmpeg's own conversion takes off 3 dB.
_MONO_TO_MIX = f"pan=stereo|c0=c0|c1=c0,{_MIX_FORMAT}"


class Muxed(NamedTuple):
    """What `mux` has written."""

    path: Path
    warnings: tuple[str, ...]
    """Warnings for the user: one line each, naming the file."""


def mux(
    video: Video,
    wav: Path,
    out_stem: Path,
    original: Original = "drop",
    original_gain_db: float = 0.0,
    track: AudioTrack | None = None,
    tags: Tags = NO_TAGS,
) -> Muxed:
    """Combine a video's frames, copied bit for bit, with the audio of a wav file.

    The audio starts as the first frame appears. The result is MP4 with AAC where MP4 supports the
    video codec, otherwise Matroska with lossless FLAC. Rotation, tags and chapters are kept.

    Where a copy would not show the same images at the same times, as after an edit list, the frames
    are encoded again, as H.264 in MP4, and so is original audio that is kept.

    Args:
        video: What `probe` returned.
        wav: The new audio.
        out_stem: Path of the result without `.mp4` or `.mkv`.
        original: Drop the video's original audio, keep it bit for bit as a second track, or mix it
            in at 48 kHz stereo.
        original_gain_db: Gain of the original audio for `mix`.
        track: The original audio; by default the one that `find_audio_track` finds.
        tags: Metadata to add; a comment goes before the video's own.

    Returns:
        The path of the result, and a warning if the video is encoded again.

    Raises:
        InputError: The result would replace its source, or neither container can be written.
    """
    mp4, mkv = (out_stem.with_name(out_stem.name + suffix) for suffix in (".mp4", ".mkv"))
    if video.path.resolve() in (mp4.resolve(), mkv.resolve()):
        raise InputError(f"{video.path}: is the source itself: choose another name for the result")
    if original != "drop" and track is None:
        track, _ = find_audio_track(video.path)
    if track is None:
        original = "drop"
    audio = _audio_tracks(original, original_gain_db, video, track)
    aac = ("-c:a:0", "aac", "-b:a:0", str(AAC_BITS_PER_SEC))
    # MP4 has free names of tags only so.
    to_mp4 = (*audio, *aac, "-movflags", "+faststart+use_metadata_tags", "-f", "mp4")
    with TemporaryDirectory() as folder:
        metadata = Path(folder) / "metadata.txt"
        metadata.write_text(metadata_of_copy(video, tags), "utf-8", "surrogateescape")
        sources = _Sources(video, wav, metadata)
        fault = video.copy_fault
        if fault is None:
            try:
                return Muxed(_mux_copied(mp4, mkv, sources, to_mp4, audio), ())
            except CopyDiffersError as error:
                fault = str(error)
        # An edit list holds for the audio, too.
        kept = ("-c:a:1", "aac", "-filter:a:1", _align(video)) if original == "keep" else ()
        _mux_to(mp4, sources, *encode_again(video), *to_mp4, *kept)
    warning = f"{video.path}: its video is encoded again, since a copy shows other images: {fault}"
    return Muxed(mp4, (warning,))


class _Sources(NamedTuple):
    video: Video
    wav: Path
    metadata: Path
    """In ffmpeg's text form."""


def _mux_copied(
    mp4: Path, mkv: Path, sources: _Sources, to_mp4: tuple[str, ...], audio: tuple[str, ...]
) -> Path:
    copy = ("-c:v", "copy")
    try:
        _mux_to(mp4, sources, *copy, *to_mp4)
        return mp4
    except InputError:
        # Trying MP4 is simpler than a list of codecs; any other cause also fails with Matroska.
        _mux_to(mkv, sources, *copy, *audio, "-c:a:0", "flac", "-f", "matroska")
        return mkv


def mp4_supports(video: Video) -> bool:
    """Say whether MP4 can hold the frames of a video as they are, whatever its audio."""
    source = (*input_args(video.path), "-map", video.stream, "-frames:v", "1")
    # A fragmented file can be written to a pipe.
    target = ("-c:v", "copy", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "-")
    with ffmpeg(*source, *target) as run:
        for _ in run.output:
            pass
        return run.process.wait() == 0


def _align(video: Video) -> str:
    """Return the filter that places the original audio on the time axis of the frames."""
    # Audio far behind the frames must not be reached: the gap before it is filled in memory.
    return f"atrim=end={float(video.duration_sec):.6f},aresample=async=1:first_pts=0"


def _audio_tracks(
    original: Original, gain_db: float, video: Video, track: AudioTrack | None
) -> tuple[str, ...]:
    """Return the arguments that select the audio tracks: the new one first."""
    if original == "drop" or track is None:
        return ("-map", "1:a:0")
    if original == "keep":
        return ("-map", "1:a:0", "-map", f"0:a:{track.number}", "-c:a:1", "copy")
    to_mix = _MONO_TO_MIX if track.is_mono else _MIX_FORMAT
    mixed = (
        f"[0:a:{track.number}]{_align(video)},{to_mix},volume={gain_db}dB[old];"
        f"[1:a:0]{_MONO_TO_MIX}[new];[new][old]amix=inputs=2:duration=first:normalize=0[mixed]"
    )
    return ("-filter_complex", mixed, "-map", "[mixed]")


def _mux_to(out: Path, sources: _Sources, *codecs_and_container: str) -> None:
    """Write frames and audio; raise CopyDiffersError for a copy that shows other images."""
    video = sources.video
    offset = ("-itsoffset", f"{float(-video.audio_zero_sec):.6f}")
    source = (
        *(*input_args(video.path, *offset), *input_args(sources.wav)),
        *("-f", "ffmetadata", "-i", url(sources.metadata)),
        # Tags of the file; ffmpeg copies those of the streams, such as their languages.
        *("-map", video.stream, "-map_metadata:g", "2:g", "-map_chapters", "2"),
    )
    with (
        atomic_write(out) as temporary,
        ffmpeg(*source, *codecs_and_container, url(temporary)) as run,
    ):
        if run.process.wait():
            raise InputError(
                f"{out}: {video.codec} video and audio cannot be combined "
                f"({run.first_error()}): free space, choose another folder, or convert "
                f"{video.path} to H.264"
            )
        if codecs_and_container[:2] == ("-c:v", "copy"):
            check_copy(video, temporary)
