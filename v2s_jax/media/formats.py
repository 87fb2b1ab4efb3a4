"""The formats that are read: ffmpeg's names of the demuxers whose files hold all their data.

ffmpeg knows about 350. Those missing here are playlists, manifests and patterns of names (which
lead to other files), devices, text, game formats, and images that can refer to others (SVG).
"""

_VIDEO = (
    *("mov", "matroska", "mpegts", "mpegtsraw", "mpeg", "avi", "asf", "asf_o", "flv", "live_flv"),
    *("ogg", "rm", "wtv", "mxf", "gxf", "nut", "dv", "ivf", "swf", "yuv4mpegpipe"),
    *("h261", "h263", "h264", "hevc", "vvc", "av1", "obu", "m4v", "mpegvideo", "vc1", "vc1test"),
    *("mjpeg", "dirac", "dnxhd", "cavsvideo"),
)
_IMAGE = (
    *("gif", "apng", "webp_anim", "jpegxl_anim", "png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe"),
    *("tiff_pipe", "jpegxl_pipe", "pam_pipe", "pbm_pipe", "pgm_pipe", "ppm_pipe", "qoi_pipe"),
)
_AUDIO = (
    *("wav", "w64", "aiff", "caf", "au", "flac", "mp3", "aac", "ac3", "eac3", "dts", "truehd"),
    *("amr", "ape", "wv", "tta", "voc", "mpc", "mpc8", "tak", "dsf", "loas"),
)
FORMATS = (*_VIDEO, *_IMAGE, *_AUDIO)
