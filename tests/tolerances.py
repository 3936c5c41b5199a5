"""Every tolerance of the tests, with its reason."""

# fp32 on both sides: the same sums in another order. 27 layers measured 1e-4 and below on the 0..7 scale; the
# project's bar is 1e-3.
FP32_SCORE = 1e-3
FP32_COSINE = 0.999999

# Shallow models (2 layers) add fewer roundings: measured 1e-5, so a fault ten times that shows.
FP32_SCORE_SHALLOW = 1e-4

# The same image at another place of a batch of the same engine: the same instructions, bit for bit.
SAME_ENGINE = 0.0

# The same image through engines of different batch sizes: other tilings of the same float32 sums.
OTHER_BATCH_SIZE = 1e-4

# bf16: at most twice the error of PyTorch in bf16, which is measured beside it, not written down here.
BF16_FACTOR = 2.0

# A fault must change scores far beyond FP32_SCORE to be proved: twenty times, for every single photograph (the
# smooth picture of a retina changes least when the resize filter is wrong: by 0.04).
FAULT = 20 * FP32_SCORE

# Evaluation figures beside scikit-learn, krippendorff and scipy: the project's bar; both sides are float64 sums of a
# few hundred terms, whose order differs.
SAME_FIGURE = 1e-12

# FP8 in a random model of width 144: e4m3 errs by up to 2^-4 a value (rms 2.6%), and sums of only 144 terms average
# less of it away than the real widths do. Measured 0.9967 to 0.9995 over 400 images; a wrong scale gives below 0.9.
FP8_COSINE_TINY = 0.99

# The same low-precision arithmetic in two programs: float32 sums in another order flip single roundings, which a tiny
# model averages little of. bf16's step is 2^-8, e4m3's 2^-3 (and FP8_COSINE_TINY is what all of its roundings cost).
SAME_ARITHMETIC_COSINE = {"bf16": 0.9999, "fp8": 0.995}

# Scores of the tiny model after a few roundings fell the other way: below all that FP8 costs there (0.016 measured).
FLIPPED_ROUNDINGS = 1e-2

# FP8 in every layer of a full-width model of 2 layers, biases corrected: measured 0.9987 (0.9948 uncorrected). The
# certificate's own bar is 0.999, which layers kept in bf16 reach.
FP8_COSINE_SHALLOW = 0.998

# Decode and resize together: the project's bars. On the CPU both decode by libjpeg-turbo and are equal; a GPU's
# inverse transform rounds differently.
DALI_DECODE_MAX = 6
DALI_DECODE_MEAN = 0.25

# The heads' kernel in bf16 weights with float32 sums beside float32 throughout, on the 0..7 scale of the tiny model.
FUSED_HEADS = 0.05

# The same sums of a kernel at another place of its tile. A GPU makes them in one order, and they are equal. In Triton's
# interpreter numpy's BLAS makes them: on some processors its order depends on the row. Measured 9e-8 on values below 1.
INTERPRETED_SUMS = 1e-6

# YuNet beside OpenCV's FaceDetectorYN on the same pixels: the project's bar. Both sum in float32, in another order.
DETECTOR_IOU = 0.98
DETECTOR_SCORE = 0.01

# Boxes of the same network by two libraries, both float32: sums in another order, in pixels of the picture.
DETECTOR_PIXELS = 1e-2

# An int8 layer beside its arithmetic in numpy: float32 sums in another order move single inputs over the middle between
# two codes. Share of the layer's whole rounding error: measured 0.6 to 1%; a wrong code in one channel gives more.
INT8_FLIPPED = 0.03

# A whole int8 block beside the same block in numpy, both against float32. Flipped codes of one layer flip others in the
# next, so the errors are different ones of the same size: measured 0.99 to 1.02, the rest in bf16 included.
INT8_ERROR = 1.15

# RMS errors of the tiny model in two openings of one engine, what is not int8 in bf16, as a factor: OpenVINO's bf16 of
# width 48 rounds otherwise each time it is opened (measured 1.74% to 2.22% of the spread; float32 gives the same bits).
BF16_TINY_RMS = 1.6

# Sharpness and brightness of a crop that PyTorch resized in float32, beside Pillow's: 3e-6 measured on 60 crops.
GREY = 1e-5
