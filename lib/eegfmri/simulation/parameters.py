"""What the simulator assumes: every number with its reason and its source.

Four presets, fixed before any method was run on what they make and not tuned to anybody's score. ``weak`` is the book's first edition:
values of the literature, read off voxels and whole studies, which turned out to couple the modalities far less than real recordings
do. ``realistic`` differs from it by `CALIBRATED`, what was set to what recordings of EEG and BOLD together show; it is used for every
result in the book. ``uncoupled`` is ``realistic`` without any link from neurons to BOLD. ``strong`` removes noise, artefacts and motion and
couples the modalities strongly; it shows that a method can learn at all. A scale says how many subjects and how large the files are,
and changes nothing of the model but one thing: the scanner's own artefacts are in the EEG only where the files have the recorder's own
rate, since they cannot be represented at 250 Hz. Files of 250 Hz stand for corrected recordings, and hold what a correction leaves.

Sources are BibTeX keys of the book's bibliography; an assumption that no source fixes says so in its reason.
"""

# ruff: noqa: RUF009  (_given returns a dataclasses.field)

from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType

from eegfmri.datasets.montages import ELECTRODES, REST_CHANNELS, SLEEP_CHANNELS
from eegfmri.errors import RequestError
from eegfmri.recordings import STAGES

#: Frequency bands of the planted oscillations in Hz. Spindles (sigma) lie inside alpha and beta of the analysis bands.
BANDS = MappingProxyType(
    {
        "delta": (1.0, 4.0),
        "theta": (4.0, 8.0),
        "alpha": (8.0, 13.0),
        "sigma": (11.0, 16.0),
        "beta": (13.0, 30.0),
        "gamma": (30.0, 45.0),
    }
)

#: Groups of regions that share strengths, fluctuations and couplings.
GROUPS = ("occipital", "parietal", "default", "sensorimotor", "frontal", "temporal", "limbic", "thalamus")


def _given(default, reason: str, *sources: str):
    """A field with its reason and sources; tables become read-only."""
    metadata = {"reason": reason, "sources": sources}
    if isinstance(default, dict):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


def _by_stage(*gains: float) -> dict[str, float]:
    return dict(zip(STAGES, gains, strict=True))


@dataclass(frozen=True)
class Preset:
    """Parameters of the generative model.

    Every field's metadata holds ``reason`` and ``sources``; `parameter_table` lists them.
    """

    name: str = _given("weak", "Name of the preset.")

    # cortical oscillations
    moment: dict = _given(
        {
            "delta": {"frontal": 9.0, "": 6.5},
            "theta": {"frontal": 6.0, "temporal": 5.5, "": 4.5},
            "alpha": {"occipital": 20.0, "parietal": 12.0, "default": 8.0, "sensorimotor": 6.0, "": 3.5},
            "sigma": {"sensorimotor": 3.0, "frontal": 3.0, "": 2.0},
            "beta": {"sensorimotor": 4.0, "frontal": 3.5, "": 2.5},
            "gamma": {"": 0.8},
        },
        "Root-mean-square dipole moment per region in wakefulness, nAm (key '' for all other groups): the order of 10 nAm "
        "of evoked patches, chosen so that scalp amplitudes fall into the textbook ranges (posterior alpha 10 to 30 uV "
        "with eyes closed).",
        "hamalainen1993",
        "berger1929",
    )
    stage_gain: dict = _given(
        {
            "delta": _by_stage(1.0, 1.6, 4.5, 14.0),
            "theta": _by_stage(1.0, 1.9, 2.2, 2.2),
            "alpha": _by_stage(1.0, 0.35, 0.25, 0.20),
            "sigma": _by_stage(1.0, 1.0, 1.5, 1.2),
            "beta": _by_stage(1.0, 0.80, 0.60, 0.45),
            "gamma": _by_stage(1.0, 0.90, 0.70, 0.60),
        },
        "Power relative to wakefulness: alpha gives way to theta in N1, spindles and slow waves come in N2, slow waves rule "
        "N3 (scoring rules); ratios read off the spectra of healthy sleepers.",
        "iber2007",
        "ogilvie2001",
        "prerau2017",
    )
    stage_gain_spread: float = _given(
        0.25,
        "Spread between subjects of the exponent on the stage gains: in some, alpha hardly drops. Spread assumed.",
        "ogilvie2001",
    )
    power_spread: float = _given(
        0.40,
        "Spread between subjects of log power per band (natural log): power is a trait. Value assumed.",
        "buckelmuller2006",
    )
    alpha_power_spread: float = _given(
        0.60, "The same for alpha, which differs most between subjects. Value assumed.", "buckelmuller2006"
    )
    alpha_frequency: tuple[float, float] = _given(
        (10.0, 1.0), "Mean and spread of the individual alpha frequency, Hz.", "klimesch1999", "haegens2014"
    )
    alpha_width: float = _given(
        0.9,
        "Half width of the alpha peak (Gaussian, Hz), as narrow as spectra of single subjects show.",
        "haegens2014",
    )
    coherence: float = _given(
        0.45,
        "Share of a carrier's variance common to its group, so that a patch larger than a region adds up.",
        "nunez2006",
    )
    fluctuation: float = _given(
        0.50,
        "Standard deviation of spontaneous log power (natural log) below 0.1 Hz: alpha waxes and wanes about twofold over "
        "tens of seconds.",
        "goldman2002",
        "chang2013",
    )
    fluctuation_shares: tuple[float, float, float] = _given(
        (0.25, 0.50, 0.25),
        "Shares of its variance common to the brain, to the group, and own to the region. Assumed.",
        "goldman2002",
    )
    fluctuation_cutoff: float = _given(
        0.08, "Hz above which spontaneous fluctuations fall off.", "fox2007", "laufs2003"
    )
    fluctuation_exponent: float = _given(0.8, "Exponent of their 1/f spectrum below it.", "he2010")
    spindles_per_minute: dict = _given(
        _by_stage(0.0, 0.2, 3.0, 1.5), "Spindle density per minute by stage.", "purcell2017"
    )
    spindle_seconds: tuple[float, float] = _given(
        (0.5, 1.5), "Shortest and longest spindle, s.", "purcell2017", "iber2007"
    )
    spindle_frequency: tuple[float, float] = _given(
        (13.0, 0.5), "Mean and spread between subjects of spindle frequency, Hz.", "purcell2017"
    )
    spindle_gain: float = _given(
        25.0,
        "Power of a spindle at its peak relative to waking sigma power; gives spindles of 20 to 50 uV.",
        "purcell2017",
    )
    k_complexes_per_minute: dict = _given(
        _by_stage(0.0, 0.0, 1.5, 0.5),
        "Bursts of slow activity (K-complexes) per minute by stage.",
        "colrain2005",
    )
    k_complex_gain: float = _given(30.0, "Their peak delta power relative to waking delta power.", "colrain2005")
    transition_jitter: float = _given(
        8.0,
        "True changes of stage fall up to so many seconds around the epoch border: epochs are scored by majority.",
        "iber2007",
    )
    transition_seconds: float = _given(5.0, "Time constant of a change of stage, s. Assumed.", "ogilvie2001")
    stage_band_spread: float = _given(
        0.0,
        "Spread between subjects of the log gain (natural log) of a band in a stage of sleep, beside that of the exponent. "
        "The first edition assumed that it is nil.",
    )

    # the scorer (sleep)
    scored: dict = _given(
        {stage: {label: float(stage == label) for label in STAGES} for stage in STAGES},
        "Probability of each label, given the stage that is. The first edition assumed a scorer who never errs.",
    )
    scored_at_changes: float = _given(
        1.0,
        "How many times as likely an error is in an epoch that borders on another stage as in one that does not; the label is "
        "then the neighbour's. The first edition assumed none.",
    )
    scored_persistence: float = _given(
        0.0,
        "Correlation from epoch to epoch of what makes the scorer err: doubtful stretches are misjudged as a whole. The first "
        "edition assumed none.",
    )

    # head and EEG
    head_radius: tuple[float, float] = _given(
        (0.096, 0.003), "Mean and spread of the head radius, m.", "hamalainen1993"
    )
    electrode_shift: float = _given(
        0.004, "Spread of each electrode's displacement on the scalp per axis, m.", "khosla1999"
    )
    orientation_spread: float = _given(
        0.5,
        "Spread of source orientation around the radial direction (tangent of the angle per axis): cortex folds.",
        "nunez2006",
    )
    background: float = _given(6.0, "Root mean square of the 1/f background over scalp channels, uV.", "he2010")
    background_exponent: tuple[float, float] = _given(
        (1.3, 0.2), "Mean and spread between subjects of the exponent of its power spectrum.", "he2010"
    )
    background_shared: float = _given(
        0.8, "Share of its variance that comes from the cortex (mixed by the lead field). Assumed."
    )
    sensor_noise: float = _given(
        1.5, "White noise per channel, uV: amplifier and residual scanner noise.", "debener2008"
    )
    noise_spread: float = _given(
        0.0,
        "Spread between subjects of the log amplitude (natural log) of background and sensor noise. The first edition assumed "
        "that all recordings are equally good.",
    )
    mains: float = _given(0.8, "Amplitude of 60-Hz mains hum, uV. Assumed.")
    blinks_per_minute: dict = _given(
        _by_stage(6.0, 1.0, 0.0, 0.0),
        "Blinks per minute by stage; few, since eyes are closed. Assumed.",
        "iber2007",
    )
    blink: float = _given(150.0, "Peak of a blink at the EOG channel, uV.", "croft2000")
    slow_eye_movement: dict = _given(
        _by_stage(10.0, 45.0, 5.0, 0.0),
        "Root mean square of slow eye movements (below 0.5 Hz) at the EOG channel, uV: a sign of N1.",
        "iber2007",
        "ogilvie2001",
    )
    heart_rate: dict = _given(
        _by_stage(64.0, 61.0, 58.0, 57.0),
        "Mean heart rate by stage, beats per minute: it falls with sleep.",
        "trinder2001",
    )
    heart_rate_spread: float = _given(6.0, "Its spread between subjects.", "trinder2001")
    r_peak: float = _given(900.0, "R peak at the ECG channel, uV.", "debener2008")
    cardiac_field: float = _given(
        2.0,
        "Peak of the heart's electric field at the scalp, uV (the ballistocardiogram is not part of this).",
        "debener2008",
    )

    eyes_open_alpha: float = _given(
        0.45,
        "Alpha power with eyes open relative to eyes closed, for the rest and oddball datasets, whose subjects look at a screen. "
        "Factor assumed.",
        "berger1929",
        "barry2007",
    )
    eyes_open_blinks: float = _given(15.0, "Blinks per minute with eyes open.", "bentivoglio1997")

    # what the scanner and the body do to the EEG
    gradient_peak: float = _given(
        3000.0, "Peak of the gradient artefact in a cap's channels, uV: the order of millivolts.", "allen2000"
    )
    gradient_peak_twisted: float = _given(
        300.0,
        "The same in bipolar pairs with twisted leads, uV; it must fit the recorder's range of 800 uV. Value assumed.",
        "goldman2000",
    )
    gradient_change: float = _given(
        0.04,
        "Relative change of the gradient artefact's shape per mm or degree of head motion: wires move in the field. Assumed.",
        "allen2000",
    )
    pulse_peak: float = _given(
        60.0, "Peak of the pulse artefact (ballistocardiogram) over channels at 3 T, uV.", "debener2008", "allen1998"
    )
    pulse_delay: float = _given(0.21, "Delay of its peak after the R peak, s.", "allen1998")
    pulse_spread: float = _given(0.15, "Relative spread of its size from beat to beat. Value assumed.", "debener2008")
    pulse_left: float = _given(
        0.10,
        "Share of its amplitude left in exports that were corrected for it (rest). Assumed.",
        "debener2008",
    )
    pulse_left_sleep: float = _given(
        0.0,
        "The same in the sleep dataset's files of 250 Hz, which stand for corrected ones. The first edition assumed a perfect "
        "correction.",
    )
    gradient_left: float = _given(
        0.0,
        "Root mean square over channels of what a correction leaves of the gradient artefact in files of 250 Hz (sleep, rest), uV: "
        "lines at multiples of the slice rate that wax and wane. The first edition assumed a perfect correction.",
    )
    gradient_left_moving: float = _given(
        0.0,
        "The same per mm or degree by which the head has moved away from where it was in the neighbouring volumes, per axis, uV. "
        "The first edition assumed none.",
    )
    residual_spread: float = _given(
        0.0,
        "Spread between subjects of the log amplitude (natural log) of what corrections leave of gradients and pulse. The first "
        "edition assumed none.",
    )
    loose_per_minute: float = _given(
        0.0,
        "Electrodes of a cap that come loose per minute of recording. The first edition assumed that all stay where they are.",
    )
    loose_seconds: tuple[float, float] = _given(
        (30.0, 300.0), "Shortest and longest time until a loose electrode holds again (log-uniform), s. Assumed."
    )
    loose_drift: float = _given(
        80.0, "Root mean square of the slow drifts of a loose electrode (below 1 Hz), uV. Value assumed.", "walz2013"
    )
    loose_noise: float = _given(20.0, "Root mean square of its noise up to 60 Hz, uV. Value assumed.", "walz2013")
    bad_contact: float = _given(
        50.0,
        "Slow noise in the electrode pairs that the oddball dataset's README names as noisy, uV. Value assumed.",
        "walz2013",
    )
    motion_field: float = _given(
        25.0,
        "Voltage induced by a turning head, uV per degree per second over channels: the same motion that moves the image. "
        "Value assumed.",
        "masterton2007",
    )
    nods_per_minute: float = _given(0.25, "Sudden small head movements per minute. Assumed.", "masterton2007")
    nod: float = _given(
        0.25, "Their size: standard deviation of the excursion per axis, mm or degrees. Assumed.", "friston1996"
    )
    breath_motion: float = _given(
        0.03, "Amplitude of head motion with each breath along the scanner's axis, mm. Assumed.", "birn2006"
    )
    breath_field: float = _given(3.0, "Amplitude of the slow sway of the EEG with each breath, uV. Assumed.")
    breath_depth_spread: float = _given(
        0.25, "Relative spread of the depth of breathing over tens of seconds. Value assumed.", "birn2006"
    )

    # responses to stimuli (oddball)
    reaction_time: dict = _given(
        {"auditory": (0.395, 0.14, 0.21), "visual": (0.392, 0.09, 0.14)},
        "Median (s), and spread of log reaction time between subjects and within, as in the dataset's published tables.",
        "walz2013",
    )
    missed: float = _given(0.023, "Share of trials left out by the dataset's authors, as in its tables.", "walz2013")
    evoked_moment: dict = _given(
        {
            "auditory": {"temporal": -12.0},
            "visual": {"occipital": 9.0},
            "target": {"parietal": 11.0, "default": 7.0},
        },
        "Dipole moment per region at the peak of the response, nAm: an early sensory one to every stimulus (100 ms), and a "
        "late positive one over parietal cortex to targets (P3), which gives 5 to 15 uV at Pz. Values assumed.",
        "naatanen1987",
        "dirusso2002",
        "polich2007",
    )
    evoked_delay: dict = _given(
        {"auditory": (0.100, 0.025), "visual": (0.110, 0.025), "target": (0.380, 0.090)},
        "Time of the peak after the stimulus and half width (Gaussian), s.",
        "naatanen1987",
        "dirusso2002",
        "polich2007",
    )
    late_with_reaction: float = _given(
        0.5, "Seconds by which the late response moves per second of reaction time. Value assumed.", "kutas1977"
    )
    trial_spread: float = _given(
        0.3,
        "Spread of the size of single responses, shared by the EEG and the BOLD response to a target. Assumed.",
        "polich2007",
    )
    desynchronisation: float = _given(
        0.4,
        "Share of posterior alpha power lost 0.5 s after a target; half of it after a standard. Value assumed.",
        "pfurtscheller1999",
    )
    evoked_bold: dict = _given(
        {
            "auditory": {"temporal": 0.25},
            "visual": {"occipital": 0.25},
            "target": {
                "temporal": 0.10,
                "parietal": 0.35,
                "frontal": 0.30,
                "sensorimotor": 0.30,
                "limbic": 0.15,
                "thalamus": 0.30,
                "default": -0.15,
            },
        },
        "Peak of the BOLD response to one stimulus, percent: sensory cortex to every stimulus of its sense, an attention "
        "network to targets, the default mode negatively. Places and signs from the source, sizes assumed.",
        "linden1999",
    )
    reaction_bold: dict = _given(
        {"frontal": 0.12, "limbic": 0.12, "parietal": 0.06},
        "What one standard deviation of log reaction time adds to it, percent: slow answers go with more BOLD in frontal and "
        "cingulate cortex. Sizes assumed.",
        "yarkoni2009",
    )

    # coupling and BOLD
    coupling: dict = _given(
        {
            "alpha": {
                "occipital": -0.60,
                "parietal": -0.40,
                "frontal": -0.25,
                "default": -0.05,
                "sensorimotor": -0.20,
                "temporal": -0.15,
                "limbic": 0.0,
                "thalamus": 0.40,
            },
            "beta": {"default": 0.30, "sensorimotor": -0.35, "": 0.0},
            "gamma": {"occipital": 0.30, "": 0.15},
            "theta": {"frontal": -0.15, "default": -0.20, "": 0.0},
            "delta": {"frontal": -0.05, "default": -0.06, "parietal": -0.05, "thalamus": -0.05, "": -0.03},
            "sigma": {"thalamus": 0.08, "temporal": 0.04, "limbic": 0.04, "": 0.0},
        },
        "BOLD change in percent per unit of power relative to wakefulness, by band and group: alpha negative over occipital, "
        "parietal and lateral frontal cortex and positive in the thalamus; beta positive in the default mode and negative "
        "over sensorimotor cortex; gamma positive; frontal theta negative in the default mode; slow waves negative; spindles "
        "positive in thalamus and temporal cortex. Signs from the sources; sizes within the tenths of a percent they report.",
        "goldman2002",
        "moosmann2003",
        "laufs2003",
        "laufs2003pnas",
        "demunck2007",
        "ritter2009",
        "scheeringa2008",
        "scheeringa2011",
        "logothetis2001",
        "kaufmann2006",
        "schabus2007",
    )
    coupling_spread: float = _given(
        0.25, "Spread between subjects of a factor on all couplings. Assumed.", "demunck2007"
    )
    latency_spread: float = _given(
        0.7,
        "Spread between subjects of the shift of the canonical response (peak at 5 s), s.",
        "handwerker2004",
        "glover1999",
    )
    regional_latency_spread: float = _given(
        0.25, "Spread between regions of a subject, s.", "handwerker2004", "demunck2007"
    )
    bold_fluctuation: float = _given(
        0.50,
        "Standard deviation of regional BOLD that no EEG band explains, percent.",
        "fox2007",
        "kruger2001",
    )
    bold_fluctuation_gain: dict = _given(
        _by_stage(1.0, 1.25, 1.35, 0.90),
        "Its amplitude by stage: slow BOLD fluctuations grow in light sleep.",
        "fukunaga2006",
        "horovitz2008",
    )
    bold_fluctuation_shares: tuple[float, float, float] = _given(
        (0.20, 0.45, 0.35),
        "Shares of its variance common to the brain, to the group, own to the region. Assumed.",
        "fox2007",
    )
    tsnr: float = _given(
        110.0, "Signal over thermal noise of a grey-matter voxel: large voxels at 3 T.", "triantafyllou2005"
    )
    cardiac_bold: float = _given(
        0.5, "Cardiac pulsation in cerebrospinal fluid and near vessels, percent.", "glover2000"
    )
    respiratory_bold: float = _given(0.4, "Respiration, over the whole brain, percent.", "glover2000", "birn2006")
    breaths_per_minute: tuple[float, float] = _given(
        (15.0, 2.0), "Mean and spread between subjects of the breathing rate.", "birn2006"
    )
    breath_depth_bold: float = _given(
        0.2, "BOLD change over the whole brain with the slowly varying depth of breathing, percent.", "birn2006"
    )
    drift: float = _given(
        1.0,
        "Standard deviation over the brain of the scanner drift by the end of a run, percent.",
        "smith1999",
    )
    translation: float = _given(0.15, "Standard deviation of slow head translation per axis, mm.", "friston1996")
    rotation: float = _given(0.15, "Standard deviation of slow head rotation per axis, degrees.", "friston1996")

    # anatomy
    brain_scale: float = _given(0.04, "Spread between subjects of brain size per axis (factor).", "brett2002")
    brain_shift: float = _given(5.0, "Spread of the brain's position in the scanner per axis, mm. Assumed.")
    brain_tilt: float = _given(4.0, "Spread of the head's rotation in the scanner per axis, degrees. Assumed.")
    warp: float = _given(2.0, "Root mean square of local anatomical deviations from the template, mm.", "brett2002")
    bias: float = _given(0.15, "Spread of log receive sensitivity over the brain.", "sled1998")

    # what the first edition lacked: all of it absent from ``weak``
    fluctuation_own_band: float = _given(
        0.0,
        "Share of the brain-wide part of spontaneous fluctuations that each band has for itself; the rest is common to all bands. Absent "
        "here: all of it is common.",
    )
    network_coupling: dict = _given(
        {},
        "BOLD change in percent per unit of power, by band and network (`eegfmri.preprocessing.atlas.NETWORKS`), beside that of the "
        "groups: it fades with the distance from the network's centres. Absent here.",
    )
    network_width: float = _given(
        16.0, "Distance from a network's centre at which its coupling has fallen to 0.6, mm. Assumed."
    )
    band_coupling_spread: float = _given(
        0.0, "Spread between subjects of a factor on the couplings of each band, drawn band by band.", "demunck2007"
    )
    latency_shift: float = _given(0.0, "By how much the mean response peaks later than 5 s, s.", "handwerker2004")
    drowsiness: tuple[float, float] = _given(
        (0.0, 0.0),
        "Mean and spread between subjects of how near they are to drowsiness, in standard deviations of its course: at 0 half of the time "
        "is drowsy. Absent here.",
    )
    never_drowsy: float = _given(0.0, "Share of subjects who stay alert throughout. Absent here.")
    drowsy_cutoff: float = _given(
        0.015, "Hz above which drowsiness does not change: it comes and goes over a minute or more. Absent here."
    )
    drowsy_log_power: dict = _given(
        {}, "Change of log power by band (natural log) when fully drowsy, while scored as awake. Absent here."
    )
    drowsy_bold: dict = _given({}, "Change of BOLD by group when fully drowsy or asleep, percent. Absent here.")
    drowsy_global: float = _given(
        0.0,
        "Standard deviation of a brain-wide BOLD fluctuation that grows with drowsiness and runs the other way in the thalamus, percent. "
        "Absent here.",
    )
    connectivity_spread: float = _given(
        0.0,
        "Share of the variance of spontaneous BOLD that follows the subject's own networks instead of everybody's. Absent here.",
    )
    percent_of: str = _given(
        "tissue",
        "What the percentages of regional BOLD refer to: pure grey matter (``tissue``), which partial volumes dilute, or the mean over the "
        "region's voxels (``region``), which is what studies report. Assumed.",
    )
    thermal_snr: float = _given(
        0.0,
        "Signal over thermal noise of a voxel of 27 mm³; it grows with the voxel's volume. 0: thermal noise by `tsnr`, whatever the voxel.",
        "triantafyllou2005",
    )
    physiological_noise: float = _given(
        0.0, "Local physiological noise in proportion to the signal, percent.", "kruger2001"
    )
    physiological_width: float = _given(0.0, "Its smoothness in space, full width at half maximum, mm. Absent here.")
    physiological_seconds: float = _given(
        1.0, "Its memory: time after which its autocorrelation has fallen to 0.37, s. Absent here."
    )

    def at(self, table: str, band: str, group: str) -> float:
        """Look up ``moment`` or ``coupling`` of a band and a group of regions (0 where neither is named)."""
        by_group = getattr(self, table)[band]
        return by_group.get(group, by_group.get("", 0.0))


WEAK = Preset()


@dataclass(frozen=True)
class Change:
    """A value of ``realistic`` that is not that of ``weak``.

    Attributes
    ----------
    value
        The value.
    reason : str
        Why; what was set by calibration says "calibrated to" and what.
    sources : tuple of str
        BibTeX keys.
    """

    value: object
    reason: str
    sources: tuple[str, ...] = ()


#: What ``realistic`` changes of ``weak`` about the scorer, the quality of the EEG and the spectra of subjects. None of it was tuned to a
#: decoder's score: it stands as it was first written down.
_EEG_CHANGES = {
    "stage_band_spread": Change(
        0.40,
        "Spread between subjects of the log gain (natural log) of a band in a stage of sleep, half of its variance common to all "
        "stages: spectra of sleep differ between subjects as traits do, from band to band. Value assumed.",
        ("buckelmuller2006",),
    ),
    "scored": Change(
        {
            "W": {"W": 0.841, "N1": 0.125, "N2": 0.030, "N3": 0.004},
            "N1": {"W": 0.130, "N1": 0.630, "N2": 0.235, "N3": 0.005},
            "N2": {"W": 0.020, "N1": 0.060, "N2": 0.852, "N3": 0.068},
            "N3": {"W": 0.004, "N1": 0.002, "N2": 0.320, "N3": 0.674},
        },
        "Probability of each label, given the stage that is: the diagonal is how often more than 2500 scorers agreed with the "
        "majority. What is scored instead is assumed (mostly the next stage); REM, which the dataset lacks, is left out.",
        ("rosenberg2013",),
    ),
    "scored_at_changes": Change(
        3.0,
        "How many times as likely an error is in an epoch that borders on another stage as in one that does not; the label is "
        "then the neighbour's. The source names the epochs at changes as the hardest; the value is assumed.",
        ("rosenberg2013",),
    ),
    "scored_persistence": Change(
        0.8,
        "Correlation from epoch to epoch of what makes the scorer err: doubtful stretches are misjudged as a whole, so that "
        "errors add few changes of stage. Assumed.",
    ),
    "noise_spread": Change(
        0.30,
        "Spread between subjects of the log amplitude (natural log) of background and sensor noise: skin, cap and muscle "
        "differ. Assumed.",
    ),
    "pulse_left_sleep": Change(
        0.10,
        "Share of the pulse artefact left in the sleep dataset's files of 250 Hz, as in the exports of rest. Assumed.",
        ("debener2008",),
    ),
    "gradient_left": Change(
        2.0,
        "Root mean square over channels of what a correction leaves of the gradient artefact in files of 250 Hz (sleep, rest), uV: "
        "lines at multiples of the slice rate that wax and wane. The median noise that averaging and adaptive filtering left was "
        "8 uV, taken here as the distance between peaks; that ratio is assumed.",
        ("allen2000", "niazy2005"),
    ),
    "gradient_left_moving": Change(
        10.0,
        "The same per mm or degree by which the head has moved away from where it was in the neighbouring volumes, per axis, uV: a "
        "template does not follow a sudden movement. Of the 30 uV that the change of the full artefact amounts to, a third; assumed.",
        ("allen2000", "niazy2005"),
    ),
    "residual_spread": Change(
        0.40,
        "Spread between subjects of the log amplitude (natural log) of what corrections leave of gradients and pulse. Assumed.",
    ),
    "loose_per_minute": Change(
        0.10,
        "Electrodes of a cap that come loose per minute of recording, one or two in a run of a quarter of an hour: the authors of the "
        "oddball dataset name one to five noisy pairs in everybody. Value assumed.",
        ("walz2013",),
    ),
}

#: What BOLD and its coupling to power, drowsiness and noise were calibrated to; ranges and rows: `eegfmri.recovery.targets`.
_COUPLING_CHANGES = {
    "network_coupling": Change(
        {
            "alpha": {"DAN": -1.9, "DMN": 1.2},
            "beta": {"DAN": -0.5},
            "theta": {"DAN": -0.4, "DMN": 0.3},
            "delta": {"DAN": -1.1, "DMN": -0.35},
        },
        "Calibrated to the correlation of each band with the dorsal attention and default mode networks of 23 real subjects, at a lag "
        "of 2 to 3 s: alpha −.15, delta and theta −.08, beta −.09, and −.06 (delta, theta) and +.05 (alpha) in the default mode.",
    ),
    "fluctuation_shares": Change(
        (0.20, 0.45, 0.35),
        "Calibrated to alpha, of which the scalp sees mostly the occipital part: only what the whole brain has in common can be "
        "correlated with a network elsewhere.",
        ("goldman2002",),
    ),
    "fluctuation_own_band": Change(
        0.85,
        "Calibrated to gamma, whose real correlation with the networks stays below .04: a wave common to all bands and the whole brain "
        "would carry the coupling of alpha into every band.",
    ),
    "fluctuation_cutoff": Change(
        0.10,
        "Calibrated to real correlations that are gone (below .04) at lags of 16 to 19 s: slower power would keep them up.",
    ),
    "fluctuation_exponent": Change(
        0.5,
        "Calibrated to the same: with a flatter spectrum the correlation fades with the response itself.",
        ("he2010",),
    ),
    "latency_shift": Change(
        -1.2,
        "Calibrated to real correlations, which are largest 2 to 3 s after the power; inside the range of responses between subjects and "
        "regions.",
        ("handwerker2004",),
    ),
    "band_coupling_spread": Change(
        0.7,
        "Calibrated to the standard deviation between real subjects, .10 where the mean is −.15: couplings differ between subjects "
        "about as much as their mean.",
        ("goncalves2006",),
    ),
    "drowsiness": Change(
        (-0.2, 0.8),
        "Calibrated to the correlation of alpha over theta with alertness read from BOLD in 12 real subjects at a task: .40 on "
        "average, from .01 to .69.",
        ("falahpour2018",),
    ),
    "never_drowsy": Change(0.15, "Calibrated to the same: some real subjects show none of it.", ("falahpour2018",)),
    "drowsy_cutoff": Change(
        0.03,
        "Calibrated to the same, which is compared between 0.01 and 0.2 Hz: drowsy spells last from half a minute to minutes.",
    ),
    "drowsy_log_power": Change(
        {"alpha": -1.8, "theta": 1.0, "delta": 0.4, "beta": -0.2},
        "Calibrated to the same; about the change of a full N1, of which drowsiness is the beginning.",
        ("ogilvie2001", "wong2013"),
    ),
    "drowsy_bold": Change(
        {
            "occipital": 1.2,
            "sensorimotor": 1.2,
            "temporal": 1.1,
            "parietal": 0.35,
            "limbic": 0.25,
            "frontal": 0.2,
            "default": 0.35,
            "thalamus": -1.2,
        },
        "Calibrated to the same. Signs and places as found: more BOLD in the cortex of the senses when alertness falls, less in the "
        "thalamus.",
        ("chang2016", "falahpour2018"),
    ),
    "drowsy_global": Change(
        0.12,
        "Calibrated to the standard deviation of the mean signal, .20 %; that it grows as vigilance falls is the source's.",
        ("wong2013",),
    ),
    "connectivity_spread": Change(
        0.7,
        "Most of what differs between connectivity matrices is stable and of the person; share of the variance assumed.",
        ("gratton2018",),
    ),
    "percent_of": Change(
        "region",
        "Studies report percentages of the mean over a region; planted in pure grey matter they were diluted unseen."
        " Assumed to hold for all of them.",
    ),
    "bold_fluctuation": Change(
        0.28,
        "Calibrated to the correlation of neighbouring voxels (.39) and the temporal SNR (81) of a real run, now that it is a "
        "region's mean.",
        ("fox2007", "kruger2001"),
    ),
    "bold_fluctuation_shares": Change(
        (0.05, 0.52, 0.43), "Calibrated to the standard deviation of the mean signal, .20 %.", ("fox2007",)
    ),
    "respiratory_bold": Change(
        0.10, "Calibrated to the standard deviation of the mean signal, .20 %.", ("glover2000", "birn2006")
    ),
    "breath_depth_bold": Change(0.08, "Calibrated to the same.", ("birn2006",)),
    "drift": Change(0.4, "Calibrated to the same, which is measured with a straight line removed.", ("smith1999",)),
    "thermal_snr": Change(
        110.0,
        "Calibrated to the temporal SNR of a real run (81 at 3.1 mm), thermal noise falling and physiological noise rising with the "
        "signal as the sources found.",
        ("triantafyllou2005", "bodurka2007"),
    ),
    "physiological_noise": Change(
        0.8,
        "Calibrated to the same; with it, no voxel exceeds a temporal SNR of about 100, however large.",
        ("kruger2001", "bodurka2007"),
    ),
    "physiological_width": Change(
        5.0, "Calibrated to the correlation of neighbouring voxels of a real run, .39 at 3.1 mm."
    ),
    "physiological_seconds": Change(
        0.7,
        "Calibrated towards a real run's autocorrelation, which is gone after one volume of 2 s but for what is slow.",
    ),
}

#: What ``realistic`` changes of ``weak``, by parameter.
CALIBRATED: MappingProxyType[str, Change] = MappingProxyType({**_COUPLING_CHANGES, **_EEG_CHANGES})

REALISTIC = replace(WEAK, name="realistic", **{name: change.value for name, change in CALIBRATED.items()})

#: Nothing that neurons do reaches the BOLD: neither power, nor stage, nor stimulus; bodies, artefacts and noise stay.
UNCOUPLED = replace(
    REALISTIC,
    name="uncoupled",
    coupling={band: dict.fromkeys(table, 0.0) for band, table in REALISTIC.coupling.items()},
    network_coupling={},
    drowsy_bold={},
    drowsy_global=0.0,
    bold_fluctuation_gain=_by_stage(1.0, 1.0, 1.0, 1.0),
    evoked_bold={kind: dict.fromkeys(table, 0.0) for kind, table in REALISTIC.evoked_bold.items()},
    reaction_bold=dict.fromkeys(REALISTIC.reaction_bold, 0.0),
)

STRONG = replace(
    WEAK,
    name="strong",
    stage_gain_spread=0.0,
    power_spread=0.1,
    alpha_power_spread=0.1,
    transition_jitter=0.0,
    transition_seconds=1.0,
    background=2.0,
    sensor_noise=0.0,
    mains=0.0,
    blinks_per_minute=_by_stage(0.0, 0.0, 0.0, 0.0),
    slow_eye_movement=_by_stage(0.0, 0.0, 0.0, 0.0),
    cardiac_field=0.0,
    coupling={band: {group: 3.0 * value for group, value in table.items()} for band, table in WEAK.coupling.items()},
    coupling_spread=0.0,
    bold_fluctuation=0.0,
    tsnr=float("inf"),
    cardiac_bold=0.0,
    respiratory_bold=0.0,
    drift=0.0,
    translation=0.0,
    rotation=0.0,
    gradient_peak=0.0,
    gradient_peak_twisted=0.0,
    pulse_peak=0.0,
    bad_contact=0.0,
    motion_field=0.0,
    nods_per_minute=0.0,
    breath_motion=0.0,
    breath_field=0.0,
    breath_depth_bold=0.0,
    trial_spread=0.0,
    missed=0.0,
)

PRESETS = MappingProxyType({preset.name: preset for preset in (REALISTIC, UNCOUPLED, WEAK, STRONG)})


@dataclass(frozen=True)
class Acquisition:
    """How a dataset was measured; facts of the dataset, the same at every scale.

    Attributes
    ----------
    t_r : float
        Repetition time in s.
    field_of_view : tuple of float
        Extent of a volume (x, y, z) in mm.
    slice_order : {"descending", "ascending", "interleaved"}
        Order of the slices in time; interleaved: ascending, even slices first.
    scan_seconds : float
        Seconds from the first slice of a volume to its last.
    channels : tuple of str
        Electrodes on the scalp.
    reference : tuple of str
        Electrodes whose mean is the reference.
    mains : float
        Frequency of the mains in Hz.
    eyes_open : bool
        Whether subjects look at something.
    """

    t_r: float
    field_of_view: tuple[float, float, float]
    slice_order: str
    scan_seconds: float
    channels: tuple[str, ...]
    reference: tuple[str, ...]
    mains: float
    eyes_open: bool


ACQUISITIONS = MappingProxyType(
    {
        "sleep": Acquisition(
            2.1, (240.0, 240.0, 140.0), "descending", 2.02, SLEEP_CHANNELS, ("FCz",), mains=60.0, eyes_open=False
        ),
        # 32 slices in 2 s without a pause; the order inside the file is said to be plain, its direction is our reading
        "oddball": Acquisition(
            2.0,
            (192.0, 192.0, 128.0),
            "ascending",
            1.9375,
            (*ELECTRODES, "LM", "RM"),
            ("LM", "RM"),
            mains=60.0,
            eyes_open=True,
        ),
        "rest": Acquisition(
            2.16, (211.2, 211.2, 120.0), "interleaved", 2.088, REST_CHANNELS, ("FCz",), mains=50.0, eyes_open=True
        ),
    }
)


@dataclass(frozen=True)
class Scale:
    """How many subjects, how large the files; nothing of the model.

    Attributes
    ----------
    name : str
        What stands in ``simulated.json`` and in captions.
    n_subjects : int
        Subjects.
    sfreq : float
        Sampling rate of the EEG files in Hz, a multiple of 125.
    matrix : tuple of int
        Voxels per axis of one volume.
    t1_matrix : tuple of int or None
        Voxels per axis of the anatomical image; None: no anatomical image.
    scanner_artefacts : bool
        Whether the EEG of sleep holds gradient and pulse artefacts, as its real files do at 5000 Hz, or what a correction leaves of them.
    n_rest, n_sleep : int
        Runs of each kind per subject (sleep).
    rest_epochs, sleep_epochs : int
        Scored epochs of 30 s per run (sleep).
    lead_in : tuple of float
        Shortest and longest EEG before the first volume, in s (sleep).
    tail : tuple of float
        Shortest and longest EEG after the last, in s (sleep).
    runs : tuple of str
        Runs (oddball).
    n_volumes : int
        Volumes per run (oddball, rest).
    raw_sfreq : float or None
        Sampling rate of scanner-raw EEG in Hz (oddball, rest); None: not written.
    raw_subjects : int
        So many subjects have it.
    """

    name: str
    n_subjects: int
    sfreq: float
    matrix: tuple[int, int, int]
    t1_matrix: tuple[int, int, int] | None = None
    scanner_artefacts: bool = False
    n_rest: int = 1
    n_sleep: int = 1
    rest_epochs: int = 20
    sleep_epochs: int = 30
    lead_in: tuple[float, float] = (8.0, 20.0)
    tail: tuple[float, float] = (3.0, 8.0)
    runs: tuple[str, ...] = ("task001_run001", "task002_run001")
    n_volumes: int = 0
    raw_sfreq: float | None = None
    raw_subjects: int = 0


_ODDBALL_RUNS = tuple(f"task{task:03d}_run{run:03d}" for task in (1, 2) for run in (1, 2, 3))

SCALES = MappingProxyType(
    {
        "sleep": {
            "tiny": Scale(
                "tiny", 3, 250.0, (20, 20, 10), rest_epochs=8, sleep_epochs=12, lead_in=(4.0, 8.0), tail=(2.0, 4.0)
            ),
            "small": Scale("small", 8, 250.0, (32, 32, 16), (80, 96, 80)),
            "medium": Scale("medium", 23, 250.0, (32, 32, 16), (80, 96, 80)),
            "full": Scale(
                "full", 33, 5000.0, (80, 80, 35), (176, 256, 256), True,
                n_rest=2, n_sleep=6, lead_in=(15.0, 50.0), tail=(5.0, 20.0),
            ),
        },
        "oddball": {
            "tiny": Scale("tiny", 3, 250.0, (20, 20, 10), n_volumes=60),
            "small": Scale("small", 8, 250.0, (32, 32, 16), (80, 96, 80), n_volumes=170),
            "medium": Scale("medium", 16, 250.0, (32, 32, 16), (80, 96, 80), n_volumes=170),
            "full": Scale(
                "full", 17, 1000.0, (64, 64, 32), (176, 256, 256),
                runs=_ODDBALL_RUNS, n_volumes=170, raw_sfreq=1000.0, raw_subjects=17,
            ),
        },
        "rest": {
            "tiny": Scale("tiny", 3, 250.0, (20, 20, 10), n_volumes=60, raw_sfreq=1000.0, raw_subjects=1),
            "small": Scale(
                "small", 8, 250.0, (32, 32, 16), (80, 96, 80), n_volumes=300, raw_sfreq=1000.0, raw_subjects=1
            ),
            "medium": Scale(
                "medium", 16, 250.0, (32, 32, 16), (80, 96, 80), n_volumes=300, raw_sfreq=1000.0, raw_subjects=1
            ),
            "full": Scale(
                "full", 16, 250.0, (64, 64, 30), (176, 256, 256), n_volumes=300, raw_sfreq=5000.0, raw_subjects=16
            ),
        },
    }
)  # fmt: skip


#: Quirks of the real files that every simulated dataset of that kind has.
DEFAULT_QUIRKS = MappingProxyType(
    {
        "sleep": (
            "subject_column",
            "renamed_header",
            "doubtful_labels",
            "blank_for_tab",
            "marked_sidecars",
        ),
        "oddball": ("nested_folder",),
        "rest": ("scan_start", "toggle_marker", "renamed_header", "inherited_sidecar"),
    }
)

#: Quirks planted on request only; each gets a run of its own, so they need as many subjects as there are quirks.
OTHER_QUIRKS = MappingProxyType(
    {
        "sleep": (
            "wrong_sidecar_rate",
            "truncated_eeg",
            "missing_channel",
            "odd_channel_names",
            "rare_labels",
            "lost_triggers",
            "no_trigger",
            "missing_bold",
            "missing_eeg",
            "annex_pointer",
            "truncated_bold",
            "labels_only",
            "no_sleep_run",
            "extra_sourcedata",
            "hidden_files",
            "labels_in_utf16",
            "blanks_in_header",
            "latin1_markers",
            "padded_gzip",
            "text_repetition_time",
            "gzip_members",
            "reversed_slices",
            "milliseconds",
            "greek_unit",
            "rounded_quaternion",
            "latin1_header",
            "empty_sform",
            "nan_background",
            "undecodable_sidecar",
            "blank_volume",
        ),
        "oddball": (
            "bad_run",
            "missing_eeg",
            "missing_bold",
            "missing_behaviour",
            "only_bipolar",
            "short_eeg",
            "truncated_bold",
            "wrong_image_rate",
            "twice",
            "bids_events",
            "hidden_files",
            "padded_gzip",
            "gzip_members",
            "missing_reaction_times",
            "rounded_quaternion",
            "array_on_its_side",
            "empty_sform",
            "nan_background",
            "blank_volume",
            "lost_onsets",
            "gap_in_array",
        ),
        "rest": (
            "no_marker",
            "missing_eeg",
            "missing_bold",
            "truncated_eeg",
            "truncated_bold",
            "zero_affine",
            "wrong_image_rate",
            "broken_raw",
            "second_montage",
            "hidden_files",
            "blanks_in_header",
            "latin1_markers",
            "padded_gzip",
            "milliseconds",
            "greek_unit",
            "rounded_quaternion",
            "latin1_header",
            "empty_sform",
            "gzip_members",
            "nan_background",
            "blank_volume",
        ),
    }
)


def get_preset(preset: str | Preset) -> Preset:
    """Return a preset by name, or the given one; `RequestError` for an unknown name."""
    if isinstance(preset, Preset):
        return preset
    if preset not in PRESETS:
        raise RequestError(f"No preset {preset!r} of the simulator: choose {', '.join(PRESETS)}.")
    return PRESETS[preset]


def get_scale(scale: str | Scale, dataset: str) -> Scale:
    """Return a dataset's scale by name, or the given one; `RequestError` for an unknown name."""
    if isinstance(scale, Scale):
        return scale
    if scale not in SCALES[dataset]:
        raise RequestError(f"No scale {scale!r} of the simulator: choose {', '.join(SCALES[dataset])}.")
    return SCALES[dataset][scale]


def parameter_table(preset: str | Preset = "realistic") -> list[dict]:
    """List every parameter of a preset: ``name``, ``value``, ``reason``, ``sources`` (BibTeX keys)."""
    preset = get_preset(preset)
    changes = CALIBRATED if preset.name in ("realistic", "uncoupled") else {}
    rows = []
    for entry in fields(Preset):
        if entry.name == "name":
            continue
        change = changes.get(entry.name)
        rows.append(
            {
                "name": entry.name,
                "value": asdict(preset)[entry.name],
                "reason": change.reason if change else entry.metadata["reason"],
                "sources": change.sources if change else entry.metadata["sources"],
            }
        )
    return rows
