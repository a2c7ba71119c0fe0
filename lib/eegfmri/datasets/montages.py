"""Channels of the three datasets, in file order: the readers expect them, the simulator writes them."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


#: The 30 scalp channels of ``sleep``, in file order, reference FCz.
SLEEP_CHANNELS = _names(
    "Fp1 Fp2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T7 T8 P7 P8 Fz Cz Pz Oz FC1 FC2 CP1 CP2 FC5 FC6 CP5 CP6 TP9 TP10"
)

#: The 34 electrodes of ``oddball``, ``data_reref``, in row order, re-referenced to the mastoids' average.
ELECTRODES = _names(
    "Fp1 Fp2 AF3 AF4 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 CP5 CP1 CP2 CP6 P7 P3 Pz P4 P8 PO7 PO3 PO4 PO8 O1 Oz "
    "O2"
)

#: The 43 bipolar pairs of ``oddball``, ``data_noGA``, in row order; the authors' re-referencing takes row 41 with its sign inverted.
PAIRS = _names(
    "C3-T7 T7-LM LM-CP5 CP5-P7 P7-PO7 PO7-PO3 PO3-O1 O1-Oz PO3-P3 P3-CP1 Pz-CP1 CP1-C3 Cz-C3 Fp2-Fp1 Fp1-AF3 AF4-Fp2 AF3-F3 "
    "F4-AF4 F3-F7 F8-F4 FC1-F3 F4-FC2 F7-FC5 FC6-F8 FC5-T7 T8-FC6 Cz-Fz Fz-FC1 FC2-Fz T8-C4 RM-T8 CP6-RM P8-CP6 PO8-P8 "
    "PO4-PO8 O2-PO4 Oz-O2 P4-PO4 CP2-P4 CP2-Pz C4-CP2 C4-Cz Pz-Oz"
)

#: Noisy pairs, counted from 1, that the authors left out of each subject's re-referencing.
EXCLUDED_PAIRS = {
    "001": (8, 24),
    "002": (5, 30),
    "003": (29, 30, 34, 36),
    "004": (23, 24, 30),
    "005": (8, 30),
    "006": (9, 24, 30),
    "007": (30,),
    "008": (28, 29, 30, 33, 36),
    "009": (29, 30, 33),
    "010": (24, 29, 33),
    "011": (16, 24, 30),
    "012": (30,),
    "013": (30,),
    "014": (30,),
    "015": (8, 16, 28, 34, 37),
    "016": (16, 24, 30, 28, 37),
    "017": (7, 33),
}

#: The 63 scalp channels of ``rest`` in the montage of most headers, in file order.
REST_CHANNELS = _names(
    "Fp1 Fp2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T7 T8 P7 P8 Fz Cz Pz Oz FC1 FC2 CP1 CP2 FC5 FC6 CP5 CP6 TP9 TP10 POz AF3 AF4 FC3 FC4 "
    "CP3 CP4 PO3 PO4 F5 F6 C5 C6 P5 P6 AF7 AF8 FT7 FT8 TP7 TP8 PO7 PO8 FT9 FT10 P9 P10 PO9 PO10 O9 O10 Fpz CPz"
)

#: The two montages of ``rest``, in file order, by what tells them apart: six electrodes at the lower edge of the back, or six
#: between the middle and the inner ring.
REST_MONTAGES = {
    "P9 P10 PO9 PO10 O9 O10": REST_CHANNELS,
    "F1 F2 C1 C2 P1 P2": _names(
        "Fp1 Fp2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T7 T8 P7 P8 Fz Cz Pz Oz FC1 FC2 CP1 CP2 FC5 FC6 CP5 CP6 TP9 TP10 POz F1 F2 C1 C2 P1 P2 "
        "AF3 AF4 FC3 FC4 CP3 CP4 PO3 PO4 F5 F6 C5 C6 P5 P6 AF7 AF8 FT7 FT8 TP7 TP8 PO7 PO8 FT9 FT10 Fpz CPz"
    ),
}
